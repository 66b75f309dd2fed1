"""The part of `probrev weights` that needs JAX."""

import hashlib
import json
import math
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpyro
from rich.console import Console
from rich.table import Table

import probrev as pr
from probrev.cli.output import REPORT, check_folder
from probrev.nets.weights.layers import label_layers
from probrev.plumbing.progress import Progress
from probrev.plumbing.refusal import Refusal
from probrev.report.weights import summarize
from probrev.runs.provenance import surroundings

Layers = Mapping[str, pr.RandomLike]


def weigh(
    path: Path, tensor: str | None, initializer: str, unfolded: bool, seed: int, progress: Progress
) -> dict[str, pr.RandomLike]:
    """Reads a file and holds each of its layers against random weights.

    Raises:
        ValueError: what `read_layers` and `random_like` refuse.
    """
    numpyro.enable_x64()
    layers = pr.read_layers(path, tensor, initializer)
    keys = jax.random.split(jax.random.key(seed), len(layers))
    found = {}
    for index, (key, layer, label) in enumerate(
        zip(keys, layers, label_layers(layers), strict=True)
    ):
        progress(index, len(layers))
        matrix = layer.kernel if unfolded else layer.weights
        found[label] = pr.random_like(key, matrix, init_share=layer.init_share)
    progress(len(layers), len(layers))
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


def print_layers(layers: Layers, page: Path) -> None:
    """Prints a row a layer, the counts, and the page."""
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
    for line in ("", legend, "", summarize(layers), "", page):
        console.print(str(line), soft_wrap=True, markup=False)


def as_json_text(layers: Layers, page: Path) -> str:
    """One JSON object: every measure of every layer and its controls, and the page."""
    said = {
        "layers": [
            {
                "name": name,
                "n_visible": layer.n_visible,
                "n_hidden": layer.n_hidden,
                "word": layer.word,
                "sentence": layer.sentence,
                "init_share": layer.init_share,
                **{which: _numbers(measures) for which, measures in layer.measures.items()},
            }
            for name, layer in layers.items()
        ],
        "report": str(page),
    }
    return json.dumps(said, indent=2, allow_nan=False)


def _numbers(measures: Any) -> dict[str, float | None]:
    numbers = measures.entries._asdict() | measures.spectrum._asdict()
    return {name: value if math.isfinite(value) else None for name, value in numbers.items()}
