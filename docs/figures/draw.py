"""Draws the figures of a saved run that the documentation shows.

uv run probrev compare one_layer --out runs/one-layer
uv run python docs/figures/draw.py runs/one-layer/run.nc
"""

import io
import sys
from pathlib import Path

from PIL import Image

import probrev as pr
from probrev.report import plots

FOLDER = Path(__file__).parent
NUM_COLOURS = 256


def draw(run: str) -> None:
    """Draws every figure of a run, in 256 colours: they are kept in the repository."""
    result = pr.load(run)
    figures = {
        "curve": plots.plot_curve(result, "exact"),
        "ladder": plots.plot_ladder(result, "exact"),
        "gap": plots.plot_gap(pr.split_gap(result, "exact"), "exact"),
        "observation": plots.plot_observation(result, "exact", 3),
        "support": plots.plot_support(result, "exact"),
        "calibration": plots.plot_calibration(result, "exact"),
        "pit": plots.plot_pit(result, "exact"),
        "predictive": plots.plot_predictive(result, "exact"),
        "ranks": plots.plot_ranks(result, "gibbs"),
    }
    for name, figure in figures.items():
        drawn = io.BytesIO()
        figure.savefig(drawn, dpi=110, facecolor="white")
        image = Image.open(drawn).convert("RGB").quantize(NUM_COLOURS, dither=0)
        image.save(FOLDER / f"{name}.png", optimize=True)


draw(sys.argv[1])
