"""The technical lemma and the moments of the readout, by simulation, as z-scores.

    uv run python -m analyses.theorems.technical_lemma compute runs/technical-lemma --size full
    uv run python -m analyses.theorems.technical_lemma plot runs/technical-lemma

For independent symmetric w and xi with E w^2 = 1, E[w r(wh + xi)] = h / 2, which is where the 2 of
the gain comes from, and E[w^2 r(wh + xi)^2] = (E[w^4] h^2 + Var xi) / 2. Sums over rows of these
make the mean and the variance of a readout over fresh weights,
E[u_i] = h_i and Var[u_i] = 2 (s^2 + 2 h_i^2) / (rho q n) - h_i^2 / n.

Source: Arora, Liang and Ma 2015 (arXiv:1511.05653), the lemma behind lemma 2.5; it is stated there
up to constants.
"""

from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax.typing import ArrayLike
from jaxtyping import Array, Float, PRNGKeyArray
from matplotlib.figure import Figure
from scipy.stats import norm

from analyses.figure import show
from analyses.script import load, run, save
from analyses.theorems.readouts import readout_var, simulate_readouts

# Symmetric laws of variance 1: E[w^4] of each.
FOURTH_MOMENTS = {"normal": 3.0, "Rademacher": 1.0, "uniform": 9 / 5, "Laplace": 6.0}
NOISE_STD = 0.7
VALUES = (0.3, 1.0, 2.5)
H = (0.0, 0.4, 1.0, 1.8)
MOMENTS = ("mean", "variance")
WORST = 4.0
SIZES: dict[str, dict[str, Any]] = {
    "quick": {
        "num_lemma_draws": 200_000,
        "num_readout_draws": 10_000,
        "n_visible": (50, 200),
        "keep_probs": (0.3, 1.0),
    },
    "full": {
        "num_lemma_draws": 4_000_000,
        "num_readout_draws": 100_000,
        "n_visible": (50, 200, 800),
        "keep_probs": (0.3, 0.6, 1.0),
    },
}


def compute(
    out: Path,
    *,
    num_lemma_draws: int,
    num_readout_draws: int,
    n_visible: tuple[int, ...],
    keep_probs: tuple[float, ...],
    noise_stds: tuple[float, ...] = (0.0, 1.5),
    net_keep_prob: float = 0.5,
) -> None:
    """Measures the lemma over laws and the readout over a grid, and what theory expects.

    Args:
        out: folder to write in.
        num_lemma_draws: draws of (w, xi) per pair of laws and value of h.
        num_readout_draws: draws of W, and of all else, per point of the grid.
        n_visible: values of n.
        keep_probs: values of rho.
        noise_stds: values of sigma.
        net_keep_prob: q of the net with dropout, beside the net without.
    """
    key_lemma, key_readout = jax.random.split(jax.random.key(0))
    lemma = measure_lemma(key_lemma, num_lemma_draws)
    grid = (n_visible, keep_probs, noise_stds)
    readout = measure_readouts(key_readout, num_readout_draws, *grid, net_keep_prob)
    attrs = {"num_lemma_draws": num_lemma_draws, "num_readout_draws": num_readout_draws}
    save(out, "technical_lemma", xr.merge([lemma, readout]).assign_attrs(attrs))


def measure_lemma(key: PRNGKeyArray, num_draws: int) -> xr.Dataset:
    """Both sides of the lemma, dims (weight_law, noise_law, h, moment)."""
    laws = tuple(FOURTH_MOMENTS)
    cells = []
    for number, (w_law, xi_law, h) in enumerate(product(laws, laws, VALUES)):
        terms = lemma_terms(jax.random.fold_in(key, number), h, w_law, xi_law, num_draws)
        expected = h / 2, (FOURTH_MOMENTS[w_law] * h**2 + NOISE_STD**2) / 2
        std_errors = [term.std(ddof=1) / np.sqrt(num_draws) for term in terms]
        cells.append(([term.mean() for term in terms], std_errors, expected))
    shape = (len(laws), len(laws), len(VALUES), 3, 2)
    table = np.moveaxis(np.asarray(cells, float).reshape(shape), 3, 0)
    dims = ("weight_law", "noise_law", "h", "lemma_moment")
    names = ("lemma", "lemma_std_error", "lemma_expected")
    return xr.Dataset(
        {name: (dims, values) for name, values in zip(names, table, strict=True)},
        {dims[0]: list(laws), dims[1]: list(laws), "h": list(VALUES), dims[3]: ["first", "second"]},
    )


@partial(jax.jit, static_argnames=("w_law", "xi_law", "num_draws"))
def lemma_terms(
    key: PRNGKeyArray, h: ArrayLike, w_law: str, xi_law: str, num_draws: int
) -> tuple[Float[Array, " draw"], Float[Array, " draw"]]:
    """W r(wh + xi) and its square, over draws of w and xi."""
    key_w, key_xi = jax.random.split(key)
    w = draw_symmetric(key_w, w_law, num_draws)
    xi = NOISE_STD * draw_symmetric(key_xi, xi_law, num_draws)
    term = w * jax.nn.relu(w * h + xi)
    return term, jnp.square(term)


def draw_symmetric(key: PRNGKeyArray, law: str, num_draws: int) -> Float[Array, " draw"]:
    """Draws from one of the laws of `FOURTH_MOMENTS`."""
    shape = (num_draws,)
    if law == "normal":
        return jax.random.normal(key, shape)
    if law == "Rademacher":
        return jax.random.rademacher(key, shape, float)
    if law == "uniform":
        return np.sqrt(3) * jax.random.uniform(key, shape, minval=-1.0)
    assert law == "Laplace"
    return jax.random.laplace(key, shape) / np.sqrt(2)


def measure_readouts(
    key: PRNGKeyArray,
    num_draws: int,
    n_visible: tuple[int, ...],
    keep_probs: tuple[float, ...],
    noise_stds: tuple[float, ...],
    net_keep_prob: float,
) -> xr.Dataset:
    """Mean and variance of each readout, dims (n_visible, ..., net_keep_prob, unit, moment)."""
    grid = list(product(n_visible, keep_probs, noise_stds))
    unit = jnp.array(H)
    h = jnp.broadcast_to(unit, (num_draws, unit.size))
    cells = []
    for number, (n, rho, sigma) in enumerate(grid):
        key_cell = jax.random.fold_in(key, number)
        readouts = simulate_readouts(
            key_cell, h, n, keep_prob=rho, noise_std=sigma, net_keep_prob=net_keep_prob
        )
        spread = jnp.square(unit).sum() + sigma**2
        for q, u in zip((1.0, net_keep_prob), readouts, strict=True):
            var = readout_var(unit, spread, n, keep_prob=rho, net_keep_prob=q)
            expected = np.stack([unit, var], axis=-1)
            cells.append((*sample_moments(np.asarray(u)), expected))
    shape = (len(n_visible), len(keep_probs), len(noise_stds), 2, 3, unit.size, 2)
    table = np.moveaxis(np.asarray(cells).reshape(shape), 4, 0)
    dims = ("n_visible", "keep_prob", "noise_std", "net_keep_prob", "unit", "moment")
    names = ("readout", "readout_std_error", "readout_expected")
    coords = (n_visible, keep_probs, noise_stds, (1.0, net_keep_prob), H, MOMENTS)
    return xr.Dataset(
        {name: (dims, values) for name, values in zip(names, table, strict=True)},
        {dim: list(values) for dim, values in zip(dims, coords, strict=True)},
    )


def sample_moments(
    u: Float[np.ndarray, "draw unit"],
) -> tuple[Float[np.ndarray, "unit moment"], Float[np.ndarray, "unit moment"]]:
    """Mean and variance of each column, and their standard errors.

    That of a variance is sqrt((mu_4 - var^2) / N), mu_4 the fourth central moment of the sample.
    """
    mean, var = u.mean(0), u.var(0, ddof=1)
    fourth = ((u - mean) ** 4).mean(0)
    errors = np.sqrt(var / len(u)), np.sqrt((fourth - var**2) / len(u))
    return np.stack([mean, var], axis=-1), np.stack(errors, axis=-1)


def z_scores(data: xr.Dataset, name: str) -> xr.DataArray:
    """(measured - expected) / standard error."""
    return (data[name] - data[f"{name}_expected"]) / data[f"{name}_std_error"]


def find(data: xr.Dataset) -> str:
    """What was found, in words."""
    lemma, readout = z_scores(data, "lemma"), z_scores(data, "readout")
    worst = [float(abs(z).max()) for z in (lemma, readout)]
    holds = "hold" if max(worst) < WORST else "do NOT hold"
    by_moment = ", ".join(
        f"{float(abs(readout.sel(moment=moment)).max()):.2f} of a {moment}" for moment in MOMENTS
    )
    return (
        f"Both moments of the technical lemma and both of the readout {holds} within {WORST:g} "
        f"standard errors: the largest |z| is {worst[0]:.2f} of {lemma.size} for the lemma (normal "
        f"and three other laws) and {worst[1]:.2f} of {readout.size} for the readout with fresh "
        f"weights ({by_moment}); as many normal variables have a largest |z| of "
        f"{typical_largest(lemma.size):.2f} and {typical_largest(readout.size):.2f} (median)."
    )


def typical_largest(number: int) -> float:
    """Median of the largest |Z| of so many independent standard normal variables."""
    return float(norm.isf((1 - 0.5 ** (1 / number)) / 2))


def plot(out: Path) -> Path:
    """Draws the z-scores beside the normal law, and measured over expected variances."""
    data = load(out, "technical_lemma")
    figure = Figure(figsize=(10, 4.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    scores = {name: z_scores(data, name).values.ravel() for name in ("readout", "lemma")}
    far = max(WORST, *(abs(z).max() for z in scores.values()))
    edges = np.linspace(-far, far, 33)
    for color, (name, z) in zip(("C0", "C1"), scores.items(), strict=True):
        left.hist(z, edges, density=True, histtype="step", color=color, label=f"{name}, {z.size}")
    left.plot(edges, norm.pdf(edges), "k", linewidth=0.8, label="N(0, 1)")
    left.set(xlabel="z-score", ylabel="density")
    left.legend(frameon=False)
    var = data.sel(moment="variance")
    ratio = var.readout / var.readout_expected
    error = var.readout_std_error / var.readout_expected
    number = np.arange(ratio.size)
    right.errorbar(
        number, ratio.values.ravel(), error.values.ravel(),
        fmt=".", markersize=3, linewidth=0.6, color="C0",
    )  # fmt: skip
    right.axhline(1, color="black", linewidth=0.8)
    right.margins(y=0.12)
    per_size = ratio.size / data.n_visible.size
    for index, n in enumerate(data.n_visible.values):
        right.axvline(index * per_size - 0.5, color="grey", linewidth=0.5)
        right.annotate(
            f"n = {n}", (index * per_size + 0.5, 0.97), xycoords=("data", "axes fraction")
        )
    right.set(
        xlabel="setting (n, ρ, σ, q, h_i)", ylabel="variance of the readout, measured / theory"
    )
    return show(figure, find(data), out / "technical_lemma.png")


if __name__ == "__main__":
    run(__doc__, compute, plot, SIZES)
