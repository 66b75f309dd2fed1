"""A layer and its prior fitted to x alone, h drawn along."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jax.typing import ArrayLike
from jaxtyping import Array, Float, PRNGKeyArray

from probrev.inference.gibbs.layered_sweep import LayeredState, init_layered, layered_step
from probrev.model.layer import Layer
from probrev.model.layered_model import LayeredModel
from probrev.nets.fitting.complete_data import SHARED, Point, differentiate_complete
from probrev.nets.fitting.likelihood import LayerData, read_pairs
from probrev.nets.fitting.marginal_model import (
    PARAMETERS,
    check_free,
    check_model,
    parameters_of,
    start_of,
    with_parameters,
)
from probrev.nets.fitting.marginal_search import MarginalSearch
from probrev.plumbing import door
from probrev.plumbing.arrays import check_real
from probrev.plumbing.readable import Table, readable
from probrev.plumbing.refusal import Refusal

# Warm-up of the Gibbs sweep, which has no end here: what it would learn is for fixed parameters.
NO_END = 2**31 - 1
FEWEST_OBS = 16


@readable
class MarginalErrors(NamedTuple):
    """Standard errors of what was fitted; 0 for what was held, NaN where there is none.

    Attributes:
        noise_std: see `Layer`.
        keep_prob: see `Layer`; NaN at 1, the end of its range.
        inclusion_prob: see `SpikeAndSlab`; NaN at 1.
        slab_scale: of the slab's scale, 1 / rate of an exponential one.
        bias: see `Layer`, of each row.
    """

    noise_std: float
    keep_prob: float
    inclusion_prob: float
    slab_scale: float
    bias: Float[np.ndarray, " visible"]


@readable
@dataclass(frozen=True)
class MarginalFit:
    """A layer and its prior as x alone has them likeliest.

    Attributes:
        model: the fitted model.
        std_errors: standard errors of its parameters, if the model is right.
        trace: the parameters after every sweep, by name.
        num_warmup: sweeps of the trace that are in no average.
        num_obs: observations.
    """

    model: LayeredModel
    std_errors: MarginalErrors
    trace: Mapping[str, Float[np.ndarray, "sweep *rows"]]
    num_warmup: int
    num_obs: int

    @property
    def values(self) -> dict[str, Float[np.ndarray, "*rows"]]:
        """The fitted parameters, by name."""
        return parameters_of(self.model)

    @property
    def drift(self) -> float:
        """Standard errors between averages over both halves of the sweeps, of what moved most.

        Large: the search has not arrived; give it more sweeps, of warm-up above all.
        """
        gaps = [0.0]
        for name, error in self.std_errors._asdict().items():
            first, second = np.array_split(self.trace[name][self.num_warmup :], 2)
            gap = np.abs(first.mean(0) - second.mean(0))
            gaps.append(np.max(gap / np.where(error > 0, error, np.inf)))
        return float(max(gaps))

    def __repr__(self) -> str:
        layer, values = self.model.layers[0], self.values
        numbers = ", ".join(
            f"{name} {float(values[name]):.4g} ± {getattr(self.std_errors, name):.1g}"
            for name in SHARED
        )
        return (
            f"MarginalFit of {layer.n_visible} x {layer.n_hidden}, {self.num_obs} observations: "
            f"{numbers}; halves of the search {self.drift:.2f} standard errors apart"
        )

    def _table(self) -> Table:
        errors = {name: getattr(self.std_errors, name) for name in SHARED}
        rows = [(name, float(self.values[name]), error) for name, error in errors.items()]
        return Table(repr(self), pd.DataFrame(rows, columns=["parameter", "value", "std_error"]))


def _free(name: str, value: Any) -> None:
    """Some of the parameters, by name."""
    if isinstance(value, str) or not isinstance(value, Collection):
        raise Refusal(f"{name} must name some of {', '.join(PARAMETERS)}; got {door.shown(value)}")


@door.guard(
    key=door.random_key,
    model=door.instance_of(LayeredModel, "a probrev.LayeredModel"),
    free=_free,
    x=door.finite_array("num_obs", "n_visible"),
    num_warmup=door.count(),
    num_samples=door.count(),
    num_chains=door.count(),
)
def fit_marginal(
    key: PRNGKeyArray,
    model: LayeredModel,
    x: Float[ArrayLike, "obs visible"],
    *,
    free: Collection[str] = PARAMETERS,
    num_warmup: int = 300,
    num_samples: int = 700,
    num_chains: int = 2,
) -> MarginalFit:
    """Fits a layer and its prior to x alone, by maximum likelihood.

    Stochastic approximation: each Gibbs sweep draws h given x and is followed by a Newton step of
    log p(x, h), of length 1 in warm-up and then shrinking; the average of the parameters over the
    sweeps after warm-up is the estimate. Standard errors by Louis' identity from the same draws:
    the information in x is E[-d2 log p(x, h)] - Var(d log p(x, h)), both given x, summed over
    observations. They hold if the model is right: the sandwich of `fit_layer` they are not.

    The gain is held: (gain, slab_scale, noise_std, bias) and (c gain, slab_scale / c,
    noise_std / c, bias / c) make the same x, of which only gain times slab_scale is known.

    Args:
        key: random key.
        model: one layer with noise, z above 0 and a multiple of z below, under a `SpikeAndSlab` of
            one inclusion probability and one HalfNormal or Exponential. The search starts there,
            and what is not free stays as it is.
        x: observations.
        free: what is fitted, of noise_std, keep_prob, inclusion_prob, slab_scale and bias.
        num_warmup: sweeps on the way to the maximum, at least 1.
        num_samples: sweeps there, at least 2.
        num_chains: of each observation.

    Raises:
        ValueError: another model, x that it cannot give, fewer than 16 observations, the gain among
            what is free, a free bias of a row that never fires, or a free probability that starts
            at an end of its range.

    Source: Gu and Kong 1998; Polyak and Juditsky 1992; Louis 1982.
    """
    layer, power = check_model(model)
    free = check_free(free, model)
    _check_counts(
        num_warmup=(num_warmup, 1), num_samples=(num_samples, 2), num_chains=(num_chains, 1)
    )
    x = _check_x(x, layer, free)
    weights, gain = np.asarray(layer.weights, float), float(layer.gain)
    data = _read(layer, weights, np.tile(x, (num_chains, 1)), free)
    search = MarginalSearch(start_of(model), _mask(free, layer.n_visible))
    state = init_layered(key, model, jnp.asarray(x), num_chains, NO_END)
    points = []
    for sweep in range(num_warmup + num_samples):
        at = search.at
        state = _advance(state, model, jnp.asarray(x), jnp.asarray(at.values), jnp.asarray(at.bias))
        h = np.asarray(state.h, float).reshape(-1, layer.n_hidden)
        found = differentiate_complete(data, weights, h, gain, power, at)
        search.step(found, num_chains, averages=sweep >= num_warmup)
        points.append(search.at)
    numbers = np.stack([point.values for point in points], axis=1)
    trace = {"bias": np.stack([point.bias for point in points])}
    trace |= {str(name): row for name, row in zip(SHARED, numbers, strict=True)}
    best = search.average
    fitted = with_parameters(model, jnp.asarray(best.values), jnp.asarray(best.bias))
    errors = _errors(search.standard_errors(), best)
    return MarginalFit(fitted, errors, trace, num_warmup, len(x))


@jax.jit
def _advance(
    state: LayeredState,
    model: LayeredModel,
    x: Float[Array, "obs visible"],
    values: Float[Array, "4"],
    bias: Float[Array, " visible"],
) -> LayeredState:
    """One sweep at some parameters."""
    return layered_step(state, with_parameters(model, values, bias), x)


def _mask(free: Collection[str], n_visible: int) -> np.ndarray:
    return np.array([name in free for name in SHARED] + ["bias" in free] * n_visible)


def _errors(of_coordinates: np.ndarray, best: Point) -> MarginalErrors:
    """Standard errors of the parameters from those of their coordinates."""
    noise_std, keep_prob, inclusion_prob, slab_scale = best.values
    log_t, keep, inclusion, log_scale = map(float, of_coordinates[: len(SHARED)])
    return MarginalErrors(
        log_t * noise_std,
        keep * keep_prob * (1 - keep_prob),
        inclusion * inclusion_prob * (1 - inclusion_prob),
        log_scale * slab_scale,
        of_coordinates[len(SHARED) :],
    )


def _read(layer: Layer, weights: np.ndarray, x: np.ndarray, free: Collection[str]) -> LayerData:
    nowhere = np.zeros((len(x), layer.n_hidden))
    keep_prob = None if "keep_prob" in free else float(layer.keep_prob)
    return read_pairs(layer.activation, weights, x, nowhere, keep_prob)


def _check_counts(**counts: tuple[int, int]) -> None:
    for name, (given, least) in counts.items():
        if given < least:
            raise Refusal(f"{name} must be at least {least}; got {given}")


def _check_x(x: ArrayLike, layer: Layer, free: Collection[str]) -> np.ndarray:
    check_real("x", x)
    x = np.asarray(x, dtype=float)
    if x.ndim != 2 or x.shape[1] != layer.n_visible or len(x) < FEWEST_OBS:
        raise Refusal(
            f"x must have shape (num_obs, {layer.n_visible}) with at least {FEWEST_OBS} "
            f"observations; got {x.shape}"
        )
    if not np.isfinite(x).all():
        raise Refusal("x must be finite; got NaN or infinity")
    silent = np.flatnonzero(~x.any(0))
    if silent.size and "bias" in free:
        raise Refusal(
            f"{silent.size} rows of x are 0 throughout, the first of them row {silent[0]}, and the "
            "lower their bias the likelier they are: leave these rows out of x and of the weights"
        )
    if not x.any():
        raise Refusal("x is 0 throughout: no row fires, so there is nothing to fit")
    return x
