"""One cell of a sweep: simulate, infer, hold the inverses against the posterior."""

import time
from functools import cache
from typing import Any

import numpy as np

from probrev.comparison.metrics.case import Case, make_case
from probrev.comparison.metrics.risk import ratio_terms, squared_errors
from probrev.inference.choice import infer
from probrev.inverses.estimates import estimate
from probrev.plumbing.streams import stream
from probrev.runs import registry
from probrev.runs.built_model import build_model
from probrev.runs.fault import cause
from probrev.runs.sweeps.grid import Cell, Grid

FAILED = "failed"
# Only moments are kept, so that methods which know them are spared their draws.
FEW_DRAWS = {"exact": {"num_draws": 4}, "message_passing": {"num_draws": 4}}
Row = dict[str, Any]


def compute_batch(grid: Grid, batch: int) -> list[Row]:
    """The rows of a batch, in order; see `compute_cell`."""
    return [compute_cell(grid, number) for number in grid.cells_of(batch)]


def lost_batch(grid: Grid, batch: int, reason: str) -> list[Row]:
    """The rows of a batch that nobody could compute."""
    return [failure(reason)] * len(grid.cells_of(batch))


def compute_cell(grid: Grid, number: int) -> Row:
    """One comparison, as values by the names of `store.VARIABLES`; what is absent is left out.

    Its numbers depend on the grid and its own place in it alone, whoever computes it. Whatever goes
    wrong is its result: `status` is then "failed" and `reason` says what.
    """
    start = time.perf_counter()
    try:
        row = _measure(grid, grid.cell(number))
    except (Exception, SystemExit) as error:  # a model file may call sys.exit
        row = failure(cause(error, typed=True))
    return {**row, "cell_seconds": time.perf_counter() - start}


def failure(reason: str) -> Row:
    """The row of a cell that has no result."""
    return {"status": FAILED, "reason": reason}


def _measure(grid: Grid, cell: Cell) -> Row:
    built = build_model(_load(grid.model), cell.parameters)
    model = built.model
    obs = built.observe(stream(cell.seed, "simulate"), grid.num_obs)
    inverses = built.inverses(stream(cell.seed, "ladder"), grid.inverses)
    settings = {**FEW_DRAWS.get(cell.method, {}), **grid.settings.get(cell.method, {})}
    posterior = infer(cell.method, stream(cell.seed, cell.method), model, obs, **settings)
    case = make_case(model, obs, estimate(model, obs, inverses), posterior, cell.seed)
    return {
        **_risks(case),
        "status": posterior.status,
        "reason": posterior.status_reason,
        "run_seconds": posterior.tree.attrs["run_seconds"],
        "compile_seconds": posterior.tree.attrs["compile_seconds"],
    }


def _risks(case: Case) -> Row:
    """Squared errors, averaged over observations, and their pooled ratios."""
    arrays = squared_errors(case)
    mean = {name: values.mean("obs").to_numpy() for name, values in arrays.items()}
    terms = ratio_terms(case, arrays)
    row: Row = {name: mean[name] for name in ("excess_risk", "claimed_risk")}
    with np.errstate(divide="ignore", invalid="ignore"):
        row["risk_ratio"] = terms.numerator.sum(1) / terms.denominator.sum()
        if case.truth is None:
            return row
        energy = float((case.truth**2).sum("hidden").mean())
        errors = np.append(mean["squared_error"], mean["bayes_squared_error"])
        return {**row, "energy": energy, "squared_error": errors, "relative_risk": errors / energy}


@cache
def _load(model: str) -> registry.Build:
    """The model's `build`, its file run once per process."""
    return registry.load(model)
