"""The equations of the active rows without noise, solved on one support or on many at once."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

# Relative, in float64: of ||y_S|| + ||a_S|| for what is left of the equations and for what a unit
# adds to them, of ||W_j|| ||h|| + |a_j| for a silent row's, of 1 for a singular value of unit
# columns.
TOLERANCE = 1e-8
BLOCK_ELEMENTS = 2**20


class Equations(NamedTuple):
    """W_S h = y_S - a_S on the active rows S = {x_j > 0} of one observation, columns unit vectors.

    Attributes:
        columns: W_S with each column over its norm; a column of zeros stays, (row, hidden).
        norms: the columns' norms, 1 where a column is zero, (hidden,).
        y: x_S / gain less the bias, (row,).
        scale: the tolerance on what is left of y.
    """

    columns: Float[np.ndarray, "row hidden"]
    norms: Float[np.ndarray, " hidden"]
    y: Float[np.ndarray, " row"]
    scale: float


class Solved(NamedTuple):
    """The supports, all of one size, on which the equations hold at a positive h.

    Attributes:
        supports: their units, (solution, active).
        h: (solution, hidden).
        log_volume: log sqrt det(W_SB^T W_SB), (solution,); log |det W_SB| where that is square.
        is_isolated: False if there is a support whose columns depend on each other and span y.
    """

    supports: Int[np.ndarray, "solution active"]
    h: Float[np.ndarray, "solution hidden"]
    log_volume: Float[np.ndarray, " solution"]
    is_isolated: bool


def make_equations(
    weights: Float[np.ndarray, "row hidden"],
    y: Float[np.ndarray, " row"],
    bias: Float[np.ndarray, " row"],
) -> Equations:
    """The equations of the active rows' weights, values x / gain, and biases."""
    norms = np.linalg.norm(weights, axis=0)
    norms = np.where(norms > 0, norms, 1.0)
    scale = TOLERANCE * float(np.linalg.norm(y) + np.linalg.norm(bias))
    return Equations(weights / norms, norms, y - bias, scale)


def find_support(equations: Equations) -> Int[np.ndarray, "1 active"] | None:
    """The only support that can solve the equations, or None where the columns are dependent.

    It is that of the least-squares solution over all units. Where this has a negative entry no
    h >= 0 solves the equations, and the support returned does not either.
    """
    columns, y = equations.columns, equations.y
    solution, _, rank, _ = np.linalg.lstsq(columns, y, rcond=TOLERANCE)
    if rank < columns.shape[1]:
        return None
    return np.flatnonzero(np.abs(solution) > equations.scale)[None, :]


def solve_supports(equations: Equations, supports: Int[np.ndarray, "support active"]) -> Solved:
    """Least squares on each of many supports of one size; those kept where nothing is left over.

    Args:
        equations: of one observation, with as many rows as the supports have units, or more.
        supports: distinct units in each row.
    """
    num_rows, n_hidden = equations.columns.shape
    size = supports.shape[1]
    step = max(1, BLOCK_ELEMENTS // max(1, num_rows * size))
    blocks = range(0, len(supports), step)
    parts = [_solve_block(equations, supports[start : start + step]) for start in blocks]
    found, values, log_volume = (
        np.concatenate([part[place] for part in parts]) for place in range(3)
    )
    h = np.zeros((len(found), n_hidden))
    np.put_along_axis(h, found, values, axis=1)
    return Solved(found, h, log_volume, all(part[3] for part in parts))


def _solve_block(
    equations: Equations, supports: Int[np.ndarray, "support active"]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, bool]:
    """Supports that solve the equations, their values, log volumes, and whether all is isolated."""
    columns = equations.columns.T[supports].swapaxes(1, 2)
    left, singular, right = np.linalg.svd(columns, full_matrices=False)
    independent = singular > TOLERANCE
    inner = np.einsum("bri,r->bi", left, equations.y) * independent
    rest = np.linalg.norm(equations.y - np.einsum("bri,bi->br", left, inner), axis=1)
    fits, full = rest <= equations.scale, independent.all(1)
    share = np.einsum("bij,bi->bj", right, inner / np.where(independent, singular, 1.0))
    solves: Bool[np.ndarray, " support"] = fits & full & (share > equations.scale).all(1)
    norms = equations.norms[supports[solves]]
    log_volume = np.log(singular[solves]).sum(1) + np.log(norms).sum(1)
    return supports[solves], share[solves] / norms, log_volume, not (fits & ~full).any()


def spans_another(equations: Equations, support: Int[np.ndarray, " active"]) -> bool:
    """Whether the column of a unit outside a support lies in the span of those inside.

    Then that unit can rise from 0 while the others make up for it: a continuous piece.
    """
    basis = np.linalg.qr(equations.columns[:, support]).Q
    others = np.delete(equations.columns, support, axis=1)
    rest = np.linalg.norm(others - basis @ (basis.T @ others), axis=0)
    return bool((rest <= TOLERANCE).any())
