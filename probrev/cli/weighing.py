"""The part of `probrev weights` that needs JAX."""

import hashlib
import json
import math
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import numpyro
from rich.table import Table

import probrev as pr
from probrev.cli.console import Console
from probrev.cli.output import REPORT, check_folder
from probrev.cli.programs import keep_programs
from probrev.nets.weights.layers import label_layers
from probrev.plumbing.progress import Progress
from probrev.plumbing.refusal import Refusal
from probrev.plumbing.surroundings import surroundings
from probrev.report.weights import summarize

Layers = Mapping[str, pr.RandomLike]
# Names that a line about several shows.
MOST_NAMES = 3


def weigh(
    trained: pr.TrainedLayers, unfolded: bool, seed: int, progress: Progress
) -> dict[str, pr.RandomLike]:
    """Holds each layer against random weights, but those whose weights are all the same.

    Raises:
        ValueError: all layers are such.
    """
    numpyro.enable_x64()
    keep_programs()
    keys = jax.random.split(jax.random.key(seed), len(trained))
    found = {}
    for index, (key, layer, label) in enumerate(
        zip(keys, trained, label_layers(trained), strict=True)
    ):
        progress(index, len(trained))
        matrix = layer.kernel if unfolded else layer.weights
        if np.ptp(matrix):
            found[label] = pr.random_like(key, matrix, init_share=layer.init_share)
    progress(len(trained), len(trained))
    if not found:
        raise Refusal(f"{trained[0].name}: weights must not be constant; no other layer is there")
    return found


def write(
    layers: Layers,
    folder: Path,
    path: Path,
    file: str,
    initializer: str,
    unfolded: bool,
    seed: int,
) -> Path:
    """Writes the page; never half of it.

    Raises:
        ValueError: the folder cannot be written.
    """
    words = ["probrev", "weights", file, "--seed", str(seed)]
    words += ["--initializer", initializer] if initializer else []
    words += ["--unfolded"] if unfolded else []
    known = surroundings()
    provenance = {
        "created": known["created"],
        "command": shlex.join(words),
        "file": f"{path.name}, SHA-256 {hashlib.sha256(path.read_bytes()).hexdigest()}",
        "weights": "as trained" if unfolded else "batch normalisations folded in, where there are",
        **{f"version of {name}": value for name, value in known["versions"].items()},
    }
    check_folder(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        pr.write_weights_report(layers, folder / REPORT, title=path.name, provenance=provenance)
    except OSError as error:
        raise Refusal(f"--out {folder}: cannot write there: {error}") from error
    return folder / REPORT


def print_layers(layers: Layers, trained: pr.TrainedLayers, unfolded: bool, page: Path) -> None:
    """Prints a row a layer, what the file says and does not say, the counts, and the page."""
    console = Console(highlight=False)
    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("layer", overflow="fold")
    for name in ("shape", "kurtosis", "M.-P.", "above", "outside", "init."):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("verdict")
    for name, layer in layers.items():
        spectrum, share = layer.trained.spectrum, layer.init_share
        table.add_row(
            name, f"{layer.n_visible}×{layer.n_hidden}",
            f"{layer.trained.entries.excess_kurtosis:.2f}", f"{spectrum.mp_ks:.3f}",
            str(spectrum.bulk_num_above), f"{spectrum.bulk_energy_outside:.0%}",
            "" if share is None else f"{share:.0%}", layer.word,
        )  # fmt: skip
    console.print(table)
    legend = (
        "M.-P.: distance of the singular values from Marchenko-Pastur; above: how many lie above "
        "the bulk; outside: share of the energy outside it; init.: share of the variance that the "
        "initialisation alone would give"
    )
    said = describe(layers, trained, unfolded)
    for line in ("", legend, *(("", *said) if said else ()), "", summarize(layers), "", page):
        console.print(str(line), soft_wrap=True, markup=False)


def describe(layers: Layers, trained: pr.TrainedLayers, unfolded: bool) -> list[str]:
    """A line for each thing to know of how the file was read."""
    labels = label_layers(trained)
    named = [*zip(labels, trained, strict=True)]
    lines = [] if len(trained) < 2 else [f"order: {trained.order}"]
    folded = [] if unfolded else [(label, norm) for label, one in named for norm in one.norms]
    lines += _grouped(
        "folded in",
        [
            (
                f"{norm.name} {'before' if norm.is_before else 'into'} {label}",
                f"epsilon {norm.epsilon:g}"
                + (", a default that the file does not say" if norm.is_assumed else ""),
            )
            for label, norm in folded
        ],
    )
    lines += _grouped("assumed of", [(label, said) for label, one in named for said in one.assumed])
    constant = "all of its weights are the same: not judged"
    lines += _grouped("skipped", [(one, constant) for one in labels if one not in layers])
    return lines + _grouped("left out", [*trained.left_out.items()])


def _grouped(head: str, pairs: list[tuple[str, str]]) -> list[str]:
    """A line for each sentence, with the first of what it is said of."""
    lines = []
    for sentence in dict.fromkeys(sentence for _, sentence in pairs):
        names = [name for name, said in pairs if said == sentence]
        more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
        lines.append(f"{head}: {', '.join(names[:MOST_NAMES])}{more}: {sentence}")
    return lines


def as_json_text(layers: Layers, trained: pr.TrainedLayers, page: Path) -> str:
    """One JSON object: every measure of every layer and its controls, how it was read, the page."""
    read = dict(zip(label_layers(trained), trained, strict=True))
    said = {
        "layers": [
            {
                "name": name,
                "n_visible": layer.n_visible,
                "n_hidden": layer.n_hidden,
                "word": layer.word,
                "sentence": layer.sentence,
                "init_share": layer.init_share,
                "kind": read[name].kind,
                "activation": read[name].activation,
                "norms": [norm._asdict() for norm in read[name].norms],
                "assumed": read[name].assumed,
                **{which: _numbers(measures) for which, measures in layer.measures.items()},
            }
            for name, layer in layers.items()
        ],
        "left_out": dict(trained.left_out),
        "order": trained.order,
        "doubts": trained.doubts,
        "report": str(page),
    }
    return json.dumps(said, indent=2, allow_nan=False)


def _numbers(measures: Any) -> dict[str, float | None]:
    numbers = measures.entries._asdict() | measures.spectrum._asdict()
    return {name: value if math.isfinite(value) else None for name, value in numbers.items()}
