"""The curve over noise_std: the setting decides the answer, so every verdict comes with it."""

from dataclasses import replace

import jax
import numpy as np
import xarray as xr
from jaxtyping import PRNGKeyArray

from probrev.inverses.feedforward import FeedforwardNet, bias_rules
from probrev.model.kinds import Question
from probrev.model.layered_model import LayeredModel
from probrev.model.priors import is_spike_and_slab
from probrev.model.protocol import NUM_SIMULATED, Model
from probrev.theory.state_evolution import evolve_state

FACTORS = 2.0 ** np.arange(-2, 3)


def noise_curve(key: PRNGKeyArray, model: Model) -> xr.Dataset | None:
    """Risk of the net and of Bayes over noise_std, around the model's own.

    The net's risk is measured on fresh draws; the Bayes risk is predicted by state evolution, so
    the curve costs seconds at any size. It assumes iid weights and many units: where they are few
    or correlated the predicted Bayes risk can be several times off. With several layers the noise
    of all is scaled by one factor, and `noise_std` is that of the top layer.

    Variables: `net_risk` (rule, noise_std), relative, with `net_risk_std_error`; `bayes_risk`, from
    the uninformed start; `bayes_risk_informed`, which is lower where finding h is hard; and
    `risk_ratio`. Attribute: `own_noise_std`, the model's.

    Args:
        key: random key.
        model: the model.

    Returns:
        The curve, or None where the model has none: it is no LayeredModel, and has no method
        `noise_curve`, or state evolution does not apply: a layer without noise, an intermediate one
        without a rectifier, or a prior without a spike and a slab of finite variance.
    """
    return curve_of(model, key)


@Question("noise_curve")
def curve_of(model: Model, key: PRNGKeyArray) -> xr.Dataset | None:
    """The curve that a model offers by its method `noise_curve`, or that of its class, or None."""
    del model, key


@curve_of.register
def _of_layers(model: LayeredModel, key: PRNGKeyArray) -> xr.Dataset | None:
    if not is_spike_and_slab(model.prior):
        return None
    prior, layers = model.sparse_prior, model.layers
    if any(layer.noise_std == 0 for layer in layers):
        return None
    if not all(layer.activation.is_rectifier for layer in layers[1:]):
        return None
    energy = float(prior.second_moment.sum())
    if not np.isfinite(energy):
        return None
    rules = [rule for rule in bias_rules(model) if rule != "theory"]
    net_risk, std_error, bayes_risk, informed_risk = [], [], [], []
    for index, factor in enumerate(FACTORS):
        noisy = LayeredModel(
            prior, [replace(layer, noise_std=layer.noise_std * factor) for layer in layers]
        )
        key_net, key_obs = jax.random.split(jax.random.fold_in(key, index))
        obs = noisy.simulate(key_obs, NUM_SIMULATED)
        nets = [FeedforwardNet.from_model(key_net, noisy, rule) for rule in rules]
        assert obs.h is not None
        errors = np.stack([((net(obs.x) - obs.h) ** 2).sum(-1) for net in nets]) / energy
        net_risk.append(errors.mean(1))
        std_error.append(errors.std(1) / np.sqrt(NUM_SIMULATED))
        uninformed = evolve_state(prior, noisy.layers)
        informed = evolve_state(prior, noisy.layers, start="informed")
        bayes_risk.append(float(uninformed.bayes_risk) / energy)
        informed_risk.append(float(informed.bayes_risk) / energy)
    curve = xr.Dataset(
        {
            "net_risk": (("noise_std", "rule"), np.stack(net_risk)),
            "net_risk_std_error": (("noise_std", "rule"), np.stack(std_error)),
            "bayes_risk": ("noise_std", np.asarray(bayes_risk)),
            "bayes_risk_informed": ("noise_std", np.asarray(informed_risk)),
        },
        coords={"noise_std": FACTORS * float(layers[-1].noise_std), "rule": rules},
    )
    curve = curve.assign_attrs(own_noise_std=float(layers[-1].noise_std))
    return curve.assign(risk_ratio=curve["net_risk"] / curve["bayes_risk"])
