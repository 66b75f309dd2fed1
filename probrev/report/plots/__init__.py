"""Figures of a saved comparison: each takes a `Comparison` and returns a Matplotlib `Figure`.

No figure is registered with pyplot, and none changes Matplotlib's settings for others.
"""

from probrev.report.plots.calibration import plot_calibration, plot_pit
from probrev.report.plots.gap import plot_gap
from probrev.report.plots.observation import plot_observation
from probrev.report.plots.predictive import plot_predictive
from probrev.report.plots.ranks import plot_ranks
from probrev.report.plots.risks import plot_curve, plot_ladder
from probrev.report.plots.spreads import plot_spreads
from probrev.report.plots.support import plot_support

__all__ = [
    "plot_calibration",
    "plot_curve",
    "plot_gap",
    "plot_ladder",
    "plot_observation",
    "plot_pit",
    "plot_predictive",
    "plot_ranks",
    "plot_spreads",
    "plot_support",
]
