"""The figure of the fitted layers."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from analyses.figure import bars
from analyses.table import Row
from probrev.report.plots.canvas import COLORS, MARKERS

# Kinds and sizes of their markers: the two controls often lie on each other.
RIVALS = {"model": ("the layer", 4), "gaussian": ("Gaussian W", 7), "shuffled": ("shuffled h", 4)}
# Ratios that are shown; the interval of one that an image decides has no upper end to speak of.
RATIOS = 0.5, 20.0


def draw(rows: Sequence[Row]) -> Figure:
    """Held-out likelihood of every layer, and net / Bayes of those that were judged."""
    figure = Figure(figsize=(9, 1.5 + 0.22 * len(rows)), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    place = np.arange(len(rows))[::-1]
    kinds = zip(RIVALS.items(), COLORS, MARKERS, strict=False)
    for (name, (label, size)), color, marker in kinds:
        gaps = [row[name] - row["null"] for row in rows]
        left.plot(gaps, place, marker, color=color, label=label, ms=size)
    left.axvline(0, color="0.7", lw=0.8)
    left.set_xscale("symlog", linthresh=0.1)
    left.set_xlabel("held-out nats a row above independent rows")
    left.legend(frameon=False, fontsize="small")
    left.set_yticks(place, [f"{row['net']} {row['layer']}" for row in rows], fontsize=7)
    at = [number for number, row in enumerate(rows) if np.isfinite(row["ratio"])]
    ratio, low, high = ([rows[n][name] for n in at] for name in ("ratio", "low", "high"))
    right.errorbar(ratio, place[at], xerr=bars(ratio, low, high), fmt="o", ms=4, color=COLORS[0])
    right.set_xscale("log")
    right.set_xlim(*RATIOS)
    right.set_xticks([0.5, 1, 2, 5, 10, 20], ["0.5", "1", "2", "5", "10", "20"], minor=False)
    right.minorticks_off()
    left.set_ylim(-1, len(rows))
    for bound in (1.0, 1.5):
        right.axvline(bound, color="0.7", lw=0.8, ls=":" if bound > 1 else "-")
    right.set_xlabel("net / Bayes, 95 %")
    return figure
