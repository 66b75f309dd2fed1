"""Which models are fitted to x alone, and their parameters by name."""

from collections.abc import Collection
from typing import Any, cast

import numpy as np
import numpyro.distributions as dist
from jaxtyping import Array, Float
from scipy.special import logit

from probrev.inference.gibbs.layered_sweep import check_layered
from probrev.model.layer import Layer
from probrev.model.layered_model import LayeredModel
from probrev.model.priors import SpikeAndSlab, is_spike_and_slab
from probrev.nets.fitting.complete_data import SHARED, Point
from probrev.plumbing.refusal import Refusal

PARAMETERS = (*SHARED, "bias")


def parameters_of(model: LayeredModel) -> dict[str, Any]:
    """Parameters of a model by name; slab_scale is that of a half-normal, or 1 / rate."""
    layer, prior = model.layers[0], cast("Any", model.prior)
    slab = prior.slab
    scale = slab.scale if isinstance(slab, dist.HalfNormal) else 1 / slab.rate
    values = {
        "noise_std": layer.noise_std,
        "keep_prob": layer.keep_prob,
        "inclusion_prob": prior.inclusion_prob,
        "slab_scale": scale,
        "bias": layer.bias,
    }
    return {name: np.asarray(value, float) for name, value in values.items()}


def start_of(model: LayeredModel) -> Point:
    """Where a search starts."""
    values = parameters_of(model)
    noise_std, keep_prob, inclusion_prob, slab_scale = (values[name] for name in SHARED)
    shared = [-np.log(noise_std), logit(keep_prob), logit(inclusion_prob), np.log(slab_scale)]
    return Point(np.array(shared), values["bias"])


def with_parameters(
    model: LayeredModel, values: Float[Array, "4"], bias: Float[Array, " visible"]
) -> LayeredModel:
    """The model with other parameters."""
    noise_std, keep_prob, inclusion_prob, slab_scale = values
    is_normal = isinstance(cast("Any", model.prior).slab, dist.HalfNormal)
    slab = dist.HalfNormal(slab_scale) if is_normal else dist.Exponential(1 / slab_scale)
    layer = model.layers[0]
    layer = Layer(layer.weights, keep_prob, noise_std, layer.gain, layer.activation, bias)
    return LayeredModel(SpikeAndSlab(model.n_hidden, inclusion_prob, slab), [layer])


def check_model(model: LayeredModel) -> tuple[Layer, int]:
    """A model's layer, and the power of h in its slab's exponent, if it is one that is fitted."""
    if len(getattr(model, "layers", ())) != 1 or getattr(model, "law_changes", True):
        raise Refusal(
            "fit_marginal fits a LayeredModel of one layer: of several, and of laws of one's own, "
            "give fit_layer the activations on both sides"
        )
    prior: Any = model.prior
    if (
        not is_spike_and_slab(prior)
        or prior.active_range != (0, model.n_hidden)
        or np.ndim(prior.inclusion_prob)
        or not isinstance(prior.slab, dist.HalfNormal | dist.Exponential)
        or prior.slab.batch_shape
    ):
        raise Refusal(
            "fit_marginal fits a SpikeAndSlab of one inclusion_prob and one HalfNormal or "
            "Exponential for all units, without max_active: any other prior is fitted to h, by "
            "fit_prior"
        )
    check_layered(model, "fit_marginal")
    return model.layers[0], 2 if isinstance(prior.slab, dist.HalfNormal) else 1


def check_free(free: Collection[str], model: LayeredModel) -> frozenset[str]:
    """What is to be fitted, checked against where the search starts."""
    if "gain" in free:
        raise Refusal(
            "gain cannot be fitted to x alone: (gain, slab_scale, noise_std, bias) and (c gain, "
            "slab_scale / c, noise_std / c, bias / c) make the same x, which tells only gain times "
            "slab_scale: give the gain in the layer, and have slab_scale fitted"
        )
    if isinstance(free, str) or not free or not set(free) <= set(PARAMETERS):
        raise Refusal(f"free must name some of {', '.join(PARAMETERS)}; got {free!r}")
    values = parameters_of(model)
    for name in ("keep_prob", "inclusion_prob"):
        if name in free and not 0 < values[name] < 1:
            raise Refusal(
                f"{name} is free and starts at {values[name]:g}, an end of its range, which no "
                "step leads away from: start between 0 and 1"
            )
    return frozenset(free)
