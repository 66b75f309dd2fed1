"""The part of `probrev check` that needs JAX."""

import json
import math
from collections.abc import Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpyro
import pandas as pd
from rich.table import Table

import probrev as pr
from probrev.calibration.simulations import Subject
from probrev.cli.console import Console
from probrev.cli.display import Stages
from probrev.cli.output import REPORT, RUN
from probrev.cli.programs import keep_programs
from probrev.cli.run_folder import write_run
from probrev.inference.choice import choose_methods, estimate_seconds
from probrev.inference.starts import started_at_truth
from probrev.inverses.ladder import build_samplers
from probrev.model.protocol import method_of
from probrev.plumbing.streams import stream
from probrev.runs import registry
from probrev.runs.built_model import build_model
from probrev.runs.checks.check import (
    BATCH_SIZE,
    SETTINGS,
    Check,
    key_numbers,
    named_method,
    run_check,
)
from probrev.runs.fault import refusing, refusing_late
from probrev.runs.provenance import provenance

# Rows of the table that the terminal shows.
MOST_ROWS = 8
# Folder of a run for what is done on the way.
BATCHES = "batches"
DEFAULT_METHOD = "gibbs"


class Request(NamedTuple):
    """What was asked for.

    Attributes:
        info: the model file.
        assignments: --set, as typed.
        settings: the same, as arguments of `build`.
        method: name of a method; "" for the default.
        num_simulations: how many.
        seed: of everything random but the model's own parameters.
        workers: worker processes; None for this one.
    """

    info: registry.ModelInfo
    assignments: Sequence[str]
    settings: dict[str, Any]
    method: str
    num_simulations: int
    seed: int
    workers: int | None

    def command(self, method: str) -> list[str]:
        """Words of the command that repeats it, but not the folder."""
        words = ["probrev", "check", self.info.name]
        for assignment in self.assignments:
            words += ["--set", assignment]
        words += ["--method", method, "--num-simulations", str(self.num_simulations)]
        return [*words, "--seed", str(self.seed)]


def run(request: Request, folder: Path, stage: Stages) -> pr.Calibration:
    """Builds the model, says about how long it takes, and checks it.

    Raises:
        ValueError: the model or the method is refused, or the folder holds another check.
    """
    numpyro.enable_x64()
    keep_programs()
    if request.method:
        named_method(request.method)
    with refusing(request.info.name, request.info.path):
        built = build_model(registry.load(request.info.name), request.settings)
        method_of(built.model, "simulate")
    method, reason = _choose(request, built.model)
    _announce(request, method, built.model, stage)
    root = stream(request.seed, "check")
    subject_of = partial(_subject, request.info.name, _frozen(request.settings), method)
    check = Check(subject_of, key_numbers(root), request.num_simulations, BATCH_SIZE)
    known = provenance(
        model=request.info.name, source=request.info.source, parameters=built.arguments,
        seed=request.seed, command=request.command(method), methods={method: reason},
    )  # fmt: skip
    decisive = ("model", "model_source", "parameters", "seed")
    identity = {name: known[name] for name in decisive}
    identity |= {"method": method, "num_simulations": request.num_simulations}
    about = f"{method}: batches of {check.batch_size} simulations"
    with refusing_late(request.info.name, request.info.path):
        return run_check(
            check,
            identity,
            known,
            store=folder / BATCHES,
            workers=request.workers,
            progress=stage(about),
        )


def _choose(request: Request, model: pr.Model) -> tuple[str, str]:
    """The method, and why."""
    if request.method:
        return request.method, "it was asked for"
    try:
        estimate_seconds(DEFAULT_METHOD, model)
    except ValueError:
        chosen = choose_methods(model)
        method = next(iter(chosen))
        return method, chosen[method]
    return DEFAULT_METHOD, "it is the model's sampler"


def _announce(request: Request, method: str, model: pr.Model, stage: Stages) -> None:
    """Says what comes, and about how long it takes; what the method refuses is refused here."""
    seconds = estimate_seconds(method, model) * request.num_simulations / (request.workers or 1)
    about = f", about {max(1, math.ceil(seconds / 60))} min" if math.isfinite(seconds) else ""
    stage.say(f"{request.num_simulations} simulations, posteriors by {method}{about}")


def _subject(name: str, settings: tuple[tuple[str, Any], ...], method: str) -> Subject:
    """What is checked, built anew where it is computed: workers cannot be sent a file's classes."""
    built = build_model(_load(name), dict(settings))
    model = built.model
    samplers = build_samplers(stream(0, "dropout"), model)
    starts = started_at_truth(method, **SETTINGS.get(method, {}))
    return Subject(model, named_method(method), model, starts, {}, samplers)


@cache
def _load(name: str) -> registry.Build:
    return registry.load(name)


def _frozen(settings: dict[str, Any]) -> tuple[tuple[str, Any], ...]:
    return tuple(settings.items())


def write(result: pr.Calibration, folder: Path) -> None:
    """Writes the run and its report; neither is ever half-written.

    Raises:
        ValueError: the folder cannot be written.
    """
    page = lambda path: pr.write_calibration_report(result, path)  # noqa: E731
    write_run(folder, RUN, REPORT, result.save, page)


def print_calibration(result: pr.Calibration, folder: Path) -> None:
    """Prints the verdict, what is worst, and the files."""
    console = Console(highlight=False)
    console.print(result.sentence, soft_wrap=True, markup=False)
    console.print()
    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("quantity")
    for name in ("p", "location", "spread"):
        table.add_column(name, justify="right")
    table.add_column("")
    rows = result.table()
    for row in rows.head(MOST_ROWS).to_dict(orient="records"):
        table.add_row(
            row["quantity"], f"{row['adjusted_p']:.2g}", f"{row['location']:+.2f}",
            f"{row['spread']:.2f}", row["how"],
        )  # fmt: skip
    console.print(table)
    legend = (
        "p: for all quantities together, rejected at .001; location and spread of the truth in "
        "its posterior: 0 and 1 if all is well"
    )
    if len(rows) > MOST_ROWS:
        legend = f"the {MOST_ROWS} smallest p of {len(rows)}; {legend}"
    value, low, high = result.claimed_over_actual
    risk = f"claimed over actual risk: {value:.2f} [{low:.2f}, {high:.2f}]"
    for line in (legend, "", risk, "", folder / RUN, folder / REPORT):
        console.print(str(line), soft_wrap=True, markup=False)


def print_json(result: pr.Calibration, folder: Path) -> None:
    """Prints one JSON object: the verdict, every quantity (NaN as null), and the files."""
    tables = {
        "quantities": result.table(),
        "inverses": result.tree["inverses"].to_dataset().to_dataframe(),
        "claimed_over_actual": pd.DataFrame(
            [result.claimed_over_actual], columns=["value", "low", "high"]
        ),
    }
    said = {
        "word": result.word,
        "sentence": result.sentence,
        "run": str(folder / RUN),
        "report": str(folder / REPORT),
        **{
            name: json.loads(str(table.to_json(orient="records", double_precision=15)))
            for name, table in tables.items()
        },
    }
    print(json.dumps(said, indent=2))
