"""The layer next to a real net's classes: the net beside p(h | x~), under three priors."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jaxtyping import Float

import probrev as pr
from analyses.reversal.real_nets import RealNet
from probrev.model.priors import SparsePrior
from probrev.nets.fitting.priors import SlabKind
from probrev.posterior.posterior import Posterior

KEEP_PROB, RELATIVE_NOISE = 0.5, 0.4
# Kind of slab, and whether one prior serves all units: `pr.fit_prior`.
PRIORS: dict[str, tuple[SlabKind, bool]] = {
    "fitted": ("truncated_normal", False),
    "half-normal": ("half_normal", True),
    "exponential": ("exponential", False),
}
RUNGS = ["calibrated", "scalar"]
AS_TRAINED = "as_trained"


class RealLayer(NamedTuple):
    """A real net's top hidden layer, its live units only, as a generative layer.

    Attributes:
        models: by the name of the prior, all with the same layer.
        h: real activations that the priors have not seen, (obs, live).
        bias: the net's own, of the live units.
    """

    models: dict[str, pr.LayeredModel]
    h: Float[np.ndarray, "obs live"]
    bias: Float[np.ndarray, " live"]


class Study(NamedTuple):
    """What was found about one net.

    Attributes:
        table: relative risks, risk ratios and agreement, as `Comparison.table` has them, with the
            verdicts' words and each posterior's status.
        density: log density of held-out real h under each prior, (prior, image).
        evidence: log p(x~) under each prior, (prior, obs), and its standard error.
        evidence_error: the latter.
    """

    table: pd.DataFrame
    density: Float[np.ndarray, "prior image"]
    evidence: Float[np.ndarray, "prior obs"]
    evidence_error: Float[np.ndarray, "prior obs"]


def fit_real_layer(net: RealNet) -> RealLayer:
    """Fits noise, gain and three priors to the net's top hidden layer.

    Units that never fire on the inputs that are fitted to are left out: they are 0 in x~ as well.

    Args:
        net: the trained net with its inputs.
    """
    stack = net.stack(KEEP_PROB)
    *_, x_fit, h_fit = (np.asarray(level) for level in stack.activations(net.x_fit))
    live = (h_fit > 0).any(0)
    h_fit = h_fit[:, live]
    layer = pr.fit_layer(
        net.weights[-1][:, live], x_fit, h_fit, keep_prob=KEEP_PROB, relative_noise=RELATIVE_NOISE
    )
    models = {
        name: pr.LayeredModel(pr.fit_prior(h_fit, slab, shared=shared), [layer])
        for name, (slab, shared) in PRIORS.items()
    }
    return RealLayer(models, np.asarray(stack(jnp.asarray(net.x)))[:, live], net.biases[-1][live])


def study_posteriors(
    net: RealNet,
    num_obs: int,
    num_samples: int,
    num_evidence: int,
    num_chains: int,
    num_temperatures: int,
) -> Study:
    """Holds inverses against the posteriors under each prior, and the priors against each other.

    x~ is generated from real h, which no prior made. The priors are compared by the evidence of x~
    (sequential Monte Carlo) and by the density of real h itself. LOO is not used: rows of x~ that
    are 0 have the same likelihood in every draw, and it is undefined where that is so.

    Args:
        net: the trained net with its inputs.
        num_obs: observations.
        num_samples: draws of each Gibbs chain.
        num_evidence: observations whose evidence is estimated, at most `num_obs`.
        num_chains: see `pr.estimate_log_evidence`.
        num_temperatures: see there; the number of rows, if that is smaller.
    """
    real = fit_real_layer(net)
    model = real.models["fitted"]
    (layer,) = model.layers
    keys = jax.random.split(jax.random.key(0), 4)
    h = real.h[:num_obs]
    obs = model.observe_from(keys[0], h)
    weights = np.asarray(layer.weights)
    inverses = pr.build_ladder(keys[1], model, RUNGS)
    inverses[AS_TRAINED] = lambda x: np.maximum(np.asarray(x) @ weights + real.bias, 0)
    posteriors = {}
    for index, (prior, one) in enumerate(real.models.items()):
        key = jax.random.fold_in(keys[2], index)
        posteriors[f"gibbs_{prior}"] = pr.gibbs(
            key, one, obs, num_samples=num_samples, num_warmup=max(num_samples // 4, 1)
        )
        posteriors[f"messages_{prior}"] = pr.message_passing(one, obs, num_draws=400)
    result = pr.compare(model, obs, inverses, posteriors)
    found = [
        pr.estimate_log_evidence(
            keys[3], one, obs[:num_evidence], num_chains=num_chains,
            num_temperatures=min(num_temperatures, one.n_visible),
        )
        for one in real.models.values()
        if num_evidence
    ]  # fmt: skip
    nothing = np.empty((len(PRIORS), 0))
    return Study(
        tabulate(result, posteriors),
        np.stack([log_density(one.sparse_prior, real.h) for one in real.models.values()]),
        np.stack([one.value for one in found]) if found else nothing,
        np.stack([one.std_error for one in found]) if found else nothing,
    )


def log_density(
    prior: SparsePrior, h: Float[np.ndarray, "image live"]
) -> Float[np.ndarray, " image"]:
    """Log p(h) of every image."""
    return np.asarray(jax.vmap(prior.log_prob)(jnp.asarray(h)))


def tabulate(result: pr.Comparison, posteriors: dict[str, Posterior]) -> pd.DataFrame:
    """The rows about risk, with the status of each posterior and the word of each verdict."""
    table = result.table()
    table = table[table["metric"].isin(("relative_risk", "risk_ratio"))]
    words = {(one.inverse, one.posterior): str(one.word) for one in result.verdicts}
    rows = [
        {"word": words.get((subject, name), ""), "status": str(posteriors[name].status)}
        for subject, name in zip(table["subject"], table["posterior"], strict=True)
    ]
    return pd.concat([table.reset_index(drop=True), pd.DataFrame(rows)], axis=1)
