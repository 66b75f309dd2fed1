"""The gap between the net and Bayes, split into what each rung of the ladder takes off it."""

import numpy as np
import xarray as xr

from probrev.comparison.comparison import Comparison
from probrev.comparison.metrics.case import POSTERIOR, Row, row_of_ratio
from probrev.plumbing import door

# Rungs from the paper's net to message passing, and the part of the gap that lies below each. The
# paper's bias is -delta ||h||, which no inverse can know; "universal" reads it off each x, so that
# it stands for the paper's net, and "theory" for what is known of ||h|| before x is seen.
CHAIN = {
    "universal": "bias",
    "calibrated": "activation",
    "scalar": "silence",
    "first_step": "iteration",
    "converged": "rest",
}
# Differences that are no part of the sum.
BESIDE = {"weights": ("calibrated", "trained")}


@door.guard(result=door.instance_of(Comparison, "what pr.compare returns"), posterior=door.text)
def split_gap(result: Comparison, posterior: str) -> xr.Dataset | None:
    """Splits risk(net) - risk(Bayes) along the rungs that a comparison has.

    See `split_errors`, which this calls with the errors saved in the comparison.

    Args:
        result: a comparison.
        posterior: name of the posterior that stands for Bayes.

    Returns:
        The parts, or None where there is no truth, or none of the rungs.
    """
    measured = result.tree[f"metrics/{posterior}"].to_dataset()
    if "squared_error" not in measured:
        return None
    truth = result.tree["truth/h"].to_numpy()[measured["obs"].to_numpy()]
    energy = xr.DataArray((truth**2).sum(1), dims="obs")
    return split_errors(measured["squared_error"], measured["bayes_squared_error"], energy)


def split_errors(
    squared_error: xr.DataArray,
    bayes_squared_error: xr.DataArray,
    energy: xr.DataArray,
    *,
    seed: int = 0,
) -> xr.Dataset | None:
    """Splits risk(net) - risk(Bayes), in units of relative risk, into what each rung takes off.

    bias = universal - calibrated, activation = calibrated - scalar, silence = scalar - first_step,
    iteration = first_step - converged, rest = converged - Bayes. They add up to universal - Bayes.
    Where a rung is missing the parts on either side of it are one, "activation + silence", so that
    the sum still holds from the first rung there is. Beside them, and no part of the sum, stands
    weights = calibrated - trained. A part may be negative: the rungs need not be ordered.

    Args:
        squared_error: of each inverse, (inverse, obs).
        bayes_squared_error: of the posterior mean, (obs).
        energy: ||h||^2, (obs).
        seed: of the bootstrap over observations.

    Returns:
        Dims (part); variables `value`, and where an interval can be had `std_error`, `low` and
        `high`, by a paired bootstrap over observations (95 %); coordinates `start` and `end`, the
        rungs between which a part lies, `start_risk`, the relative risk there, and `in_sum`. None
        where there is none of the rungs, or nothing but h = 0.
    """
    present = [name for name in CHAIN if name in squared_error["inverse"]]
    total = float(energy.sum())
    if not present or not total > 0:
        return None
    errors = {name: squared_error.sel(inverse=name).to_numpy() for name in present}
    errors[POSTERIOR] = bayes_squared_error.to_numpy()
    pairs = _name_parts(present)
    for part, (start, end) in BESIDE.items():
        if start in present and end in squared_error["inverse"]:
            errors[end] = squared_error.sel(inverse=end).to_numpy()
            pairs[part] = start, end
    weight = energy.to_numpy()
    rows = [
        row_of_ratio("gap", part, errors[start] - errors[end], weight, seed)
        for part, (start, end) in pairs.items()
    ]
    starts, ends = zip(*pairs.values(), strict=True)
    coords = {
        "part": list(pairs),
        "start": ("part", list(starts)),
        "end": ("part", list(ends)),
        "start_risk": ("part", [errors[start].sum() / total for start in starts]),
        "in_sum": ("part", [part not in BESIDE for part in pairs]),
    }
    return xr.Dataset(_known_figures(rows), coords)


def _name_parts(present: list[str]) -> dict[str, tuple[str, str]]:
    """The chain's parts, those around missing rungs joined: name -> the rungs on either side."""
    names, pairs = list(CHAIN), {}
    for start, end in zip(present, [*present[1:], POSTERIOR], strict=True):
        last = len(names) if end == POSTERIOR else names.index(end)
        pairs[" + ".join(CHAIN[name] for name in names[names.index(start) : last])] = start, end
    return pairs


def _known_figures(rows: list[Row]) -> dict[str, tuple[str, np.ndarray]]:
    """The columns of the rows that have a number in every row."""
    columns = {
        name: np.array([getattr(row, name) for row in rows])
        for name in ("value", "std_error", "low", "high")
    }
    return {name: ("part", v) for name, v in columns.items() if np.isfinite(v).all()}
