"""The page of a net's weights: every layer beside random weights, with a verdict in words."""

from collections import Counter
from collections.abc import Mapping
from itertools import chain, repeat
from pathlib import Path
from typing import Any

from probrev.nets.weights.random_like import (
    GAUSSIAN,
    SPECTRAL,
    THRESHOLDS,
    TRAINED,
    Measures,
    RandomLike,
)
from probrev.plumbing import door
from probrev.plumbing.refusal import Refusal
from probrev.report.blocks import Section, Table, image
from probrev.report.numbers import ABSENT, percent, plain
from probrev.report.plots.weights import plot_weights
from probrev.report.writing import write_page

LEGEND = (
    "Left: the entries (points) on a Gaussian with their mean and standard deviation (line); "
    "dashed, the entries of the control that has the same singular values between random "
    "singular vectors. Right: the singular values (filled) with those of a Gaussian matrix of the "
    "same shape, mean and standard deviation (green outline), the law of Marchenko and Pastur at "
    "the variance of the entries, and the same law at the scale of the bulk, where they differ."
)
READING = (
    "Each layer, and below it its controls. Kurtosis: excess, 0 for a Gaussian and −1.2 for a "
    "uniform law. Distances are Kolmogorov-Smirnov's: of the entries from a Gaussian, of the "
    "squared singular values from Marchenko-Pastur, and of those in the bulk from that law at the "
    "bulk's own scale. Above: singular values above the bulk's upper edge. Energy outside: share "
    "of the sum of squares outside the edges of the bulk. Top 1 %: share of it in the largest "
    "hundredth of the singular values. ‖WᵀW/n − I‖ and the root mean square of its entries off the "
    "diagonal: over what Gaussian weights have, 2√(m/n) + m/n and 1/√n; above 1 is further from "
    "the identity."
)
HEADER = (
    "layer", "kurtosis", "entries' distance", "M.-P. distance", "bulk's distance",
    "above", "energy outside", "top 1 %", "‖WᵀW/n−I‖", "off-diag.",
)  # fmt: skip
CONTROLS = {GAUSSIAN: "· Gaussian", SPECTRAL: "· same singular values"}


@door.guard(
    layers=door.by_name(door.instance_of(RandomLike, "what pr.random_like returns")), path=door.path
)
def write_weights_report(
    layers: Mapping[str, RandomLike],
    path: str | Path,
    *,
    title: str = "weights",
    provenance: Mapping[str, Any] | None = None,
) -> None:
    """Writes the page of a net's weights: one HTML file that asks for no other.

    Args:
        layers: what `random_like` found, by the name of the layer.
        path: the HTML file; replaced if it is there.
        title: of the page, such as the name of the file.
        provenance: where the weights and the page come from, to be listed at its end; `created`
            is shown at its top.

    Raises:
        ValueError: there are no layers.
        FileNotFoundError: the folder does not exist.
    """
    if not layers:
        raise Refusal("layers is empty: give at least one RandomLike by name")
    write_page("weights.html", lambda: _describe(layers, title, dict(provenance or {})), path)


def _describe(
    layers: Mapping[str, RandomLike], title: str, provenance: Mapping[str, Any]
) -> dict[str, Any]:
    captions = chain([LEGEND], repeat(""))
    sections = [
        _section(name, layer, caption)
        for (name, layer), caption in zip(layers.items(), captions, strict=False)
    ]
    if provenance:
        rows = [[name, str(value)] for name, value in provenance.items()]
        sections.append(Section("Provenance", tables=[Table(["what", "value"], rows)]))
    answer = {
        "lead": summarize(layers),
        "lines": [THRESHOLDS],
        "tables": [verdicts(layers), Table(HEADER, _rows(layers), READING)],
    }
    created = str(provenance.get("created", ""))
    return {"title": title, "created": created, "answer": answer, "sections": sections}


def summarize(layers: Mapping[str, RandomLike]) -> str:
    """How many layers got which verdict; the whole sentence if there is one only."""
    if len(layers) == 1:
        return next(iter(layers.values())).sentence
    counts = Counter(layer.word for layer in layers.values())
    said = "; ".join(f"{count} {word}" for word, count in counts.most_common())
    return f"Of {len(layers)} layers: {said}."


def verdicts(layers: Mapping[str, RandomLike]) -> Table:
    """The verdict of each layer."""
    rows = [
        [
            name,
            layer.word,
            f"{layer.n_visible} × {layer.n_hidden}",
            ABSENT if layer.init_share is None else percent(layer.init_share),
        ]
        for name, layer in layers.items()
    ]
    caption = (
        "Initialisation: the share of the variance that it alone would give, where it is known. A "
        "barely trained layer looks random because it is."
    )
    return Table(["layer", "verdict", "shape", "initialisation"], rows, caption)


def _rows(layers: Mapping[str, RandomLike]) -> list[list[str]]:
    rows = []
    for name, layer in layers.items():
        for which, said in {TRAINED: name, **CONTROLS}.items():
            rows.append([said, *_cells(layer, layer.measures[which])])
    return rows


def _cells(layer: RandomLike, measures: Measures) -> list[str]:
    entries, spectrum = measures.entries, measures.spectrum
    norm, off_diagonal = layer.expected_gram
    return [
        f"{entries.excess_kurtosis:z.2f}",
        f"{entries.ks:.3f}",
        f"{spectrum.mp_ks:.3f}",
        f"{spectrum.bulk_ks:.3f}",
        str(spectrum.bulk_num_above),
        percent(spectrum.bulk_energy_outside),
        percent(spectrum.top_energy),
        plain(spectrum.gram_norm / norm, 2),
        plain(spectrum.gram_off_diagonal / off_diagonal, 2),
    ]


def _section(name: str, layer: RandomLike, caption: str) -> Section:
    section = Section(name, [layer.sentence])
    gaussian = layer.measures[GAUSSIAN].spectrum
    if gaussian.bulk_num_above:
        section.lines.append(
            "The Gaussian control has the mean of the weights, and that alone puts "
            f"{gaussian.bulk_num_above} singular value{'s' * (gaussian.bulk_num_above > 1)} above "
            f"the edge, with {percent(gaussian.bulk_energy_outside)} of the energy."
        )
    section.images.append(
        image(plot_weights(layer), f"Entries and singular values of {name}", caption)
    )
    return section
