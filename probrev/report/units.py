"""The units of many observations, as numbers for the page's script to show one at a time."""

from typing import Any

import numpy as np
import xarray as xr

from probrev.report.plots.canvas import marks
from probrev.report.plots.observation import MAX_UNITS, look_at
from probrev.report.summary import Summary

# The page has so many observations, or so many numbers of them.
MOST_OBS, MOST_NUMBERS = 128, 30_000
DIGITS = 3


def describe_units(summary: Summary) -> dict[str, Any]:
    """Intervals, means, estimates and truth of every unit that is worth showing, rounded.

    Of more observations than there is room for, those are taken that are evenly spaced in the
    order of the net's error, the best and the worst among them.
    """
    result = summary.result
    error = net_error(summary)
    order = error["obs"].to_numpy()[np.argsort(error.to_numpy(), kind="stable")]
    width = (len(result.inverses) + 4) * min(MAX_UNITS, result.tree["inverses"].sizes["hidden"])
    many = min(order.size, MOST_OBS, max(2, MOST_NUMBERS // width))
    chosen = order[np.unique(np.linspace(0, order.size - 1, many).round().astype(int))]
    looks = [_describe(summary, int(number), float(error.sel(obs=number))) for number in chosen]
    style = marks(result)
    return {
        "posterior": summary.judge, "error": str(error.name).replace("_", " "), "net": summary.net,
        "inverses": [{"name": name, "color": style[name].color} for name in result.inverses],
        "total": int(order.size), "looks": looks,
    }  # fmt: skip


def net_error(summary: Summary) -> xr.DataArray:
    """Squared error of the net on each observation; without a truth, its excess risk."""
    found = summary.result.tree[f"metrics/{summary.judge}"].to_dataset()
    name = "squared_error" if "squared_error" in found else "excess_risk"
    return found[name].sel(inverse=summary.net)


def _describe(summary: Summary, number: int, error: float) -> dict[str, Any]:
    """One observation."""
    one = look_at(summary.result, summary.judge, number)
    units = one.units
    return {
        "obs": number,
        "error": _round(error),
        "units": [int(unit) for unit in units.shown],
        "folded": units.line if len(units.folded) else "",
        "low": _list(one.low[units.shown]),
        "high": _list(one.high[units.shown]),
        "mean": _list(one.mean[units.shown]),
        "truth": None if one.truth is None else _list(one.truth[units.shown]),
        "estimates": [_list(values) for values in one.estimates[:, units.shown]],
    }


def _list(values: np.ndarray) -> list[float]:
    return [_round(value) for value in values]


def _round(value: float) -> float:
    """A number of few digits, 0 where it is next to nothing."""
    rounded = float(f"{value:.{DIGITS}g}")
    return 0 if abs(rounded) < 1e-4 else rounded
