"""Posteriors that another tool made (PyMC, Stan): aligned by their labels, and checked."""

from typing import Any

import numpy as np
import xarray as xr
from jax.typing import ArrayLike

from probrev.plumbing import door
from probrev.plumbing.arrays import check_real
from probrev.plumbing.refusal import Refusal
from probrev.posterior.diagnostics import H_DIMS, Sampling
from probrev.posterior.posterior import EXTERNAL, Posterior, from_draws

External = xr.DataTree | xr.Dataset | xr.DataArray | ArrayLike


@door.guard(sampling=door.one_of("mcmc", "iid"))
def from_datatree(
    tree: External,
    x: ArrayLike,
    *,
    model: Any = None,
    sampling: Sampling = "mcmc",
) -> Posterior:
    """A posterior that another tool made (PyMC, Stan), for `compare`.

    Args:
        tree: with `h` in its `posterior` group, dims (chain, draw, obs, hidden), in this order
            where they have other names; a tree for one observation may leave `obs` out. Or a
            Dataset with `h`, or h itself. Coordinates of `obs` and `hidden` are the numbers of the
            rows of x and of the units, from 0, and h is put in their order; without any, h is taken
            to be in it. With coordinates `obs` may be a part of the rows.
        x: all observations, (obs, visible), the ones that h is conditioned on among them.
        model: what it was computed under, where it is a probrev Model.
        sampling: "iid" declares that draws are independent of one another, as those of an exact
            method are: one chain of them will do. By default they are those of Markov chains.

    Raises:
        ValueError: no such `h`, labels or numbers that do not fit x, draws that are not finite real
            numbers or that the model cannot have, or an unknown `sampling`.
    """
    check_real("x", x)
    if np.ndim(x) != 2:
        raise Refusal(f"x must have shape (num_obs, n_visible); got shape {np.shape(x)}")
    h, num_obs = _in_order(_find_h(tree)), np.shape(x)[0]
    rows, units = (_places(h, dim, size) for dim, size in (("obs", num_obs), ("hidden", None)))
    if h.ndim == 3:
        h = h.expand_dims("obs", axis=2)
    if h.ndim != 4 or (rows is None and h.shape[2] != num_obs):
        raise Refusal(
            f"`h` must have dims {H_DIMS} with {num_obs} observations, as x has, or numbers of "
            f"those that it covers as coordinates of `obs`; got shape {h.shape}"
        )
    rows = np.arange(num_obs) if rows is None else rows
    order, numbers = np.argsort(rows), np.sort(rows)
    values = np.asarray(h.to_numpy(), float)[:, :, order]
    if units is not None:
        values = values[..., np.argsort(units)]
    values = np.ascontiguousarray(values)  # sums must not depend on the order that it came in
    if not np.all(np.isfinite(values)):
        raise Refusal("`h` must be finite; got NaN or infinity among the draws")
    posterior = from_draws(
        EXTERNAL, values, np.asarray(x)[numbers], model=model, sampling=sampling, obs=numbers,
        sample_stats=_divergences(tree, values.shape[:3], order),
    )  # fmt: skip
    if model is None:
        return posterior
    if values.shape[-1] != model.n_hidden:
        raise Refusal(f"`h` has {values.shape[-1]} units, but the model has {model.n_hidden}")
    return note_draws(posterior, model)


def note_draws(posterior: Posterior, model: Any) -> Posterior:
    """The posterior, with a note where its draws are odd under the model.

    Raises:
        ValueError: the model cannot have such draws.
    """
    check_draws = getattr(model, "check_draws", None)
    note = "" if check_draws is None else check_draws(posterior.draws.to_numpy())
    if not note:
        return posterior
    tree = posterior.tree.copy()
    tree.attrs["status_reason"] = f"{posterior.status_reason}; {note}"
    return Posterior(tree, posterior.model)


def _find_h(given: Any) -> xr.DataArray:
    """The variable h of whatever holds it, real numbers."""
    if isinstance(given, xr.DataTree):
        if "posterior" not in given.children or "h" not in given["posterior"]:
            raise Refusal(
                "a posterior from elsewhere needs a variable `h` in its `posterior` group, "
                f"dims {H_DIMS}; got groups {sorted(given.children)}"
            )
        given = given["posterior/h"]
    elif isinstance(given, xr.Dataset):
        if "h" not in given:
            raise Refusal(
                f"a Dataset from elsewhere needs a variable `h`, dims {H_DIMS}; "
                f"got {sorted(map(str, given.data_vars))}"
            )
        given = given["h"]
    elif not isinstance(given, list | tuple) and not hasattr(given, "__array__"):
        raise Refusal(
            "a posterior from elsewhere is a DataTree with `h` in its `posterior` group, a Dataset "
            f"with `h`, or an array of dims {H_DIMS}; got {type(given).__name__}"
        )
    if isinstance(given, xr.DataArray):
        check_real("`h`", given.data)
        return given
    check_real("`h`", given)
    values = np.asarray(given)
    if values.ndim != 4:
        raise Refusal(f"`h` must have dims {H_DIMS}; got shape {values.shape}")
    return xr.DataArray(values, dims=H_DIMS)


def _in_order(array: xr.DataArray) -> xr.DataArray:
    """With our names of dims in our order; dims of other names are taken by position."""
    named = [dim for dim in H_DIMS if dim in array.dims]
    return array.transpose(*named) if len(named) == array.ndim else array


def _places(h: xr.DataArray, dim: str, size: int | None) -> np.ndarray | None:
    """Which row of x, or which unit, each entry along a dimension is; None where nothing says so.

    Args:
        h: the draws, which may have lost the dimension but for a label.
        dim: "obs" or "hidden".
        size: how many there are; None where h has them all.
    """
    if dim not in h.coords:
        return None
    labels = np.atleast_1d(h[dim].to_numpy())
    size = len(labels) if size is None else size
    is_number = np.issubdtype(labels.dtype, np.integer) or (
        np.issubdtype(labels.dtype, np.floating) and bool((labels % 1 == 0).all())
    )
    if is_number and len(np.unique(labels)) == len(labels):
        places = labels.astype(int)
        if places.size and places.min() >= 0 and places.max() < size:
            return places
    raise Refusal(
        f"coordinates of `{dim}` must be numbers of 0 to {size - 1}, each once at most; got "
        f"{np.array2string(labels, threshold=8)}: number them so, or drop the coordinates if h is "
        "in order"
    )


def _divergences(
    given: Any, shape: tuple[int, ...], order: np.ndarray
) -> dict[str, np.ndarray] | None:
    """Which transitions diverged, (chain, draw, obs), where a tree says so."""
    stats = given.children.get("sample_stats") if isinstance(given, xr.DataTree) else None
    diverging = None if stats is None else stats.to_dataset().get("diverging")
    if diverging is None:
        return None
    values = _in_order(diverging).to_numpy()
    if values.ndim == 3:
        values = values[:, :, order]
    values = np.broadcast_to(values.reshape(*shape[:2], -1), shape)
    return {"diverging": values}
