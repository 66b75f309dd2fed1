"""The linear baby theorem: how fast W^T W h / n comes close to h, and which bound is tight.

    uv run python -m analyses.theorems.baby compute runs/baby-theorem --size full
    uv run python -m analyses.theorems.baby plot runs/baby-theorem

x = W h / n, and its inverse is W^T x. For h in {0, 1}^m the paper bounds the sup norm of the error
by a multiple of log(mn) sqrt(m / n). The sum behind an entry has k terms, so that with k active
units the typical size is sqrt(2 log m) sqrt(k / n): sparse h is far below the bound, dense h is
not.

Source: Arora, Liang and Ma 2015 (arXiv:1511.05653), section 2, linear case.
"""

from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, Float, PRNGKeyArray
from matplotlib.figure import Figure

from analyses.figure import finish, say_range, show
from analyses.script import load, run, save
from analyses.theorems.exponents import Exponent, fit_exponent

NAME = "baby_theorem"
SIZES: dict[str, dict[str, Any]] = {
    "quick": {"n_hidden": 200, "n_active": 10, "n_visible": (250, 1000, 4000), "num_draws": 60},
    "full": {
        "n_hidden": 500,
        "n_active": 20,
        "n_visible": (500, 1000, 2000, 4000, 8000, 16000),
        "num_draws": 200,
    },
}


def compute(
    out: Path, *, n_hidden: int, n_active: int, n_visible: tuple[int, ...], num_draws: int
) -> None:
    """Measures sup norms and spectral norms, with fresh weights for every draw.

    Args:
        out: folder to write in.
        n_hidden: m.
        n_active: k of the sparse h; the dense one has k = m.
        n_visible: values of n.
        num_draws: draws of W per n.
    """
    counts = (n_active, n_hidden)
    h = jnp.stack([(jnp.arange(n_hidden) < count).astype(float) for count in counts], axis=1)
    sups, spectral = [], []
    for n in n_visible:
        # The size itself seeds its draws, so that sizes are independent.
        found = measure(jax.random.key(n), h, n, num_draws)
        sups.append(found[0])
        spectral.append(found[1])
    data = xr.Dataset(coords={"n_visible": list(n_visible), "n_active": list(counts)})
    for name, values in (("sup_norm", np.stack(sups)), ("spectral_norm", np.stack(spectral))):
        dims = ("n_visible", "n_active")[: values.ndim - 1]
        data[name] = dims, values.mean(1)
        data[f"{name}_std_error"] = dims, values.std(1, ddof=1) / np.sqrt(num_draws)
    save(out, NAME, data.assign_attrs(n_hidden=n_hidden, num_draws=num_draws))


@partial(jax.jit, static_argnums=(2, 3))
def measure(
    key: PRNGKeyArray, h: Float[Array, "hidden kind"], n_visible: int, num_draws: int
) -> tuple[Float[Array, "draw kind"], Float[Array, " draw"]]:
    """||W^T W h / n - h||_inf of each column of h, and ||W^T W / n - I||."""

    def draw(key: PRNGKeyArray) -> tuple[Array, Array]:
        weights = jax.random.normal(key, (n_visible, h.shape[0]))
        gram = weights.T @ weights / n_visible
        error = weights.T @ (weights @ h) / n_visible - h
        return jnp.abs(error).max(0), jnp.abs(jnp.linalg.eigvalsh(gram) - 1).max()

    return jax.lax.map(draw, jax.random.split(key, num_draws))


def add_theory(data: xr.Dataset) -> xr.Dataset:
    """The paper's bound without its constant, the typical sizes, and the fitted exponents."""
    m, n, k = data.n_hidden, data.n_visible, data.n_active
    by_count = [data.sel(n_active=count) for count in k]
    fits = [fit_exponent(n, one.sup_norm, one.sup_norm_std_error) for one in by_count]
    return data.assign(
        bound=np.log(m * n) * np.sqrt(m / n),
        typical=np.sqrt(2 * np.log(m)) * np.sqrt(k / n),
        edge=2 * np.sqrt(m / n) + m / n,
        exponent=("n_active", [fit.value for fit in fits]),
        exponent_std_error=("n_active", [fit.std_error for fit in fits]),
    )


def find(data: xr.Dataset) -> str:
    """What was found, in words; takes what `add_theory` returns."""
    by_count = [data.sel(n_active=count) for count in data.n_active]
    exponents = " and ".join(
        f"{Exponent(one.exponent.values, one.exponent_std_error.values)} with {int(one.n_active)} "
        f"active units"
        for one in by_count
    )
    sparse, *_, dense = (data.bound / one.sup_norm for one in by_count)
    ratio = data.sup_norm / data.typical
    edge = data.spectral_norm / data.edge
    return (
        f"At m = {data.n_hidden} the sup norm of the error falls as n to the {exponents} (theory "
        f"-1/2); log(mn) sqrt(m/n) is {say_range(sparse, '.0f')} times too large for the "
        f"sparse h and {say_range(dense, '.1f')} times for the dense one, while "
        f"sqrt(2 log m) sqrt(k/n) is met within a factor {say_range(ratio, '.2f')}; "
        f"||W'W/n - I|| is {say_range(edge, '.3f')} times 2 sqrt(m/n) + m/n."
    )


def plot(out: Path) -> Path:
    """Draws measured norms over n beside the bounds."""
    data = add_theory(load(out, NAME))
    figure = Figure(figsize=(10, 4.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot(data.n_visible, data.bound, ":k", label="log(mn) √(m/n)")
    for color, count in zip(("C0", "C1"), data.n_active.values, strict=True):
        one = data.sel(n_active=count)
        left.plot(data.n_visible, one.typical, "--", color=color, label=f"√(2 log m) √({count}/n)")
        left.errorbar(
            data.n_visible, one.sup_norm, one.sup_norm_std_error,
            fmt="o", color=color, label=f"measured, k = {count}",
        )  # fmt: skip
    left.set(title=f"linear net, h in {{0, 1}}^{data.n_hidden}", ylabel="sup norm of the error")
    right.plot(data.n_visible, data.edge, "--", color="C2", label="2 √(m/n) + m/n")
    right.errorbar(
        data.n_visible, data.spectral_norm, data.spectral_norm_std_error,
        fmt="o", color="C2", label="measured",
    )  # fmt: skip
    right.set(title="distance of W'W/n from I", ylabel="spectral norm")
    for axes in (left, right):
        axes.set(xscale="log", yscale="log", xlabel="n")
        finish(axes, ncols=2)
    left.set_ylim(top=10 * float(data.bound.max()))
    return show(figure, find(data), out / f"{NAME}.png")


if __name__ == "__main__":
    run(__doc__, compute, plot, SIZES)
