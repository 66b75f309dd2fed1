"""The rungs of a LayeredModel: from the paper's net towards Bayesian inference."""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from probrev.inference.messages.message_passing import MAX_ITERATIONS, TOLERANCE, check_model
from probrev.inference.messages.messages import find_meshes, init_messages, iterate_messages
from probrev.inverses.estimates import Inverse
from probrev.inverses.feedforward import BIAS_RULES, FeedforwardNet, bias_rules
from probrev.inverses.ladder.rungs import Rungs, Samplers, rungs_of, samplers_of
from probrev.inverses.rung_names import LAYERED as RUNGS
from probrev.inverses.trained_net import train_net
from probrev.model.channel import fisher_information, observed_score
from probrev.model.layer import Layer
from probrev.model.layered_model import LayeredModel
from probrev.model.prior_program import marginal_prior
from probrev.model.priors import SparsePrior, check_spike_and_slab
from probrev.plumbing.pytree import pytree

# Iterations of message passing in each rung that it has.
UNROLLED = {"two_steps": 2, "three_steps": 3, "converged": MAX_ITERATIONS}
# Dropout of the net at test time, as in theorem 2.4 of Arora, Liang and Ma.
DROPOUT_KEEP_PROB = 0.5
# Up to so many weights training takes seconds: 3 at 400 x 24, 7 at 1000 x 32, on 2 CPU cores.
MAX_TRAINED_WEIGHTS = 2**15


@rungs_of.register
def layered_rungs(model: LayeredModel) -> Rungs:
    """The rungs that a LayeredModel has, lowest first.

    "theory", "universal" and "calibrated" are feedforward nets with that bias rule, of any depth;
    the first two, and "scalar", need a top layer whose readout is unbiased (`Layer.has_readout`).
    "trained" (`train_net`) needs one layer, and is left out where training takes longer than
    seconds. "scalar" and "first_step" need one layer under a prior with a spike and a slab; of a
    `RectifiedGaussian` they take each unit's own, and know nothing of correlations.
    "two_steps", "three_steps" and "converged" need a model that `message_passing` can do.
    """
    names = {*bias_rules(model)}
    one_layer = len(model.layers) == 1
    if one_layer and model.layers[0].weights.size <= MAX_TRAINED_WEIGHTS:
        names.add("trained")
    if one_layer and marginal_prior(model.prior) is not None:
        names |= {"scalar", "first_step"} if model.layers[0].has_readout else {"first_step"}
    try:
        check_model(model)
        names |= {*UNROLLED}
    except ValueError:
        pass
    return {name: partial(build_rung, model=model, name=name) for name in RUNGS if name in names}


def build_rung(key: PRNGKeyArray, model: LayeredModel, name: str) -> Inverse:
    """A rung by name; see `layered_rungs`."""
    if name in BIAS_RULES:
        return FeedforwardNet.from_model(key, model, name)
    if name == "trained":
        return train_net(key, model)
    if name in UNROLLED:
        check_model(model)
        return UnrolledMessagePassing(model, UNROLLED[name])
    prior = marginal_prior(model.prior)
    if prior is None:
        check_spike_and_slab(f"rung {name!r}", model.prior)
    assert prior is not None
    denoiser = {"scalar": ScalarActivation, "first_step": FirstStep}[name]
    return denoiser(prior, model.layers[0])


@samplers_of.register
def layered_samplers(model: LayeredModel) -> Samplers:
    """The net that keeps its dropout at test time, as in theorem 2.4, calibrated under it.

    That gives dropout its best chance of being a posterior sampler: of all multiples of ||x|| the
    calibrated one has the least squared error of a single pass, while the universal one of the
    theorem shrinks what it keeps, so that the mean of its samples alone would tell it apart.
    """
    build = partial(
        FeedforwardNet.from_model, model=model, bias="calibrated", keep_prob=DROPOUT_KEEP_PROB
    )
    return {"dropout": build}


@pytree(data=("prior", "layer"))
@dataclass(frozen=True)
class ScalarActivation:
    """The net with its best activation: h_i = E[h_i | u_i], u_i ~ N(h_i, readout_std(x)^2).

    A large-n approximation: each unit is denoised as if its readout were all there is to know.
    A bound on the number of active units enters through each unit's marginal probability only.
    """

    prior: SparsePrior
    layer: Layer

    def __post_init__(self):
        _ = self.layer.readout_scale  # it refuses a layer that has none

    @jax.jit
    def __call__(self, x: Float[Array, "*batch visible"]) -> Float[Array, "*batch hidden"]:
        """The estimate of h."""
        readout = self.layer.readout(x)
        # x = 0 happens (h = 0 without noise), and says h = 0: the floor keeps 0 / 0 out.
        floor = jnp.finfo(readout.dtype).eps ** 2 * self.prior.second_moment.max()
        variance = jnp.maximum(self.layer.readout_std(x) ** 2, floor)
        return self.prior.tilt(readout, jnp.broadcast_to(variance, readout.shape)).mean


@pytree(data=("prior", "layer"))
@dataclass(frozen=True)
class FirstStep:
    """The first step of message passing from nothing: a readout that also hears silent rows.

    R = v W^T g with g_j the score of x_j about a pre-activation that is N(a_j, s^2) for all one
    knows, then the scalar posterior mean given R ~ N(h, v); s^2 = w^2 E||h||^2 + noise_var, w the
    weights' root mean square, a the bias, and 1 / v = w^2 sum_j E[g_j^2]. For ReLU without bias
    g_j = y_j / s^2 where x_j > 0 and -gamma / s where x_j = 0, gamma = rho phi(0) / f,
    f = 1 - rho / 2, and 1 / v = n w^2 rho / (2 s^2) (1 + rho / (pi f)).
    """

    prior: SparsePrior
    layer: Layer

    @jax.jit
    def __call__(self, x: Float[Array, "*batch visible"]) -> Float[Array, "*batch hidden"]:
        """The estimate of h."""
        layer, weight_var = self.layer, self.layer.weight_std**2
        spread = weight_var * self.prior.second_moment.sum()
        fisher = fisher_information(layer, layer.bias, spread + layer.noise_std**2)
        information = weight_var * fisher.sum()
        score = observed_score(layer, x, jnp.broadcast_to(layer.bias, x.shape), spread)
        readout = (score.g @ layer.weights) / information
        return self.prior.tilt(readout, jnp.full(readout.shape, 1 / information)).mean


@pytree(data=("model", "num_iterations"))
@dataclass(frozen=True)
class UnrolledMessagePassing:
    """The estimate after some iterations of message passing: a net of as many layers, W in each.

    Like `message_passing`, an observation is done once it has converged, and is left as it was
    where its messages grow beyond all bounds; with as many iterations as that has, the estimate is
    its mean. It starts from the prior's mean and variance and uses every W_ji^2, where `FirstStep`
    starts from 0 and averages them.

    Attributes:
        model: one that `message_passing` can do, of any depth.
        num_iterations: passes up through the layers.
    """

    model: LayeredModel
    num_iterations: Int[Array, ""] | int

    def __call__(self, x: Float[Array, "obs visible"]) -> Float[Array, "obs hidden"]:
        """The estimate of the top vector h."""
        x = jnp.asarray(x, dtype=float)
        state = init_messages(self.model, x)
        meshes = find_meshes(self.model)
        state = iterate_messages(state, self.model, x, self.num_iterations, TOLERANCE, meshes)
        return state.layers[-1].belief.mean
