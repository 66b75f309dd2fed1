"""State evolution: the Bayes risk of a layered model in the limit of large layers, in seconds."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from numpy.polynomial.hermite_e import hermegauss
from numpy.polynomial.legendre import leggauss

from probrev.model.channel import fisher_information, hidden_belief, hidden_score
from probrev.model.distributions import LayerUnit
from probrev.model.layer import Layer
from probrev.model.layer_law import check_layer_laws
from probrev.model.priors import SparsePrior, check_spike_and_slab
from probrev.model.slabs import Slab
from probrev.model.tilted import slab_moments, tilted
from probrev.numerics.truncated_normal import excess_from_uniform, upper_tail
from probrev.plumbing import door
from probrev.plumbing.pytree import is_concrete
from probrev.plumbing.readable import readable
from probrev.plumbing.refusal import Refusal

MAX_ITERATIONS = 500
TOLERANCE = 1e-7
NUM_NODES = 61
GRID_SIZE = 1001
TAIL = 9.0
# Nodes of the three Gaussian variables of an intermediate unit: pre-activation, noise, message.
UNIT_NODES = (31, 40, 17)
# Two fixed points are one if their risks differ by less than this, relative to the larger.
SAME_RISK = 1e-3

Start = Literal["uninformed", "informed"]


@readable
class StateEvolution(NamedTuple):
    """A fixed point of state evolution; level 0 is the hidden vector next to x, the last the top.

    Attributes:
        risks: predicted E||E[h^(l)|x] - h^(l)||^2 of each hidden vector.
        noise_vars: variance of the Gaussian channel that each of its units is effectively seen
            through.
    """

    risks: Float[Array, " level"]
    noise_vars: Float[Array, " level"]

    @property
    def bayes_risk(self) -> Float[Array, ""]:
        """Predicted E||E[h|x] - h||^2 of the top vector."""
        return self.risks[-1]

    @property
    def noise_var(self) -> Float[Array, ""]:
        """Variance of the Gaussian channel of a unit of the top vector."""
        return self.noise_vars[-1]


class Units(NamedTuple):
    """The units of a prior, alike ones counted together."""

    inclusion_logit: Float[Array, " kind"]
    slab: Slab
    number: Float[Array, " kind"]

    @property
    def energy(self) -> Float[Array, ""]:
        """E||h||^2."""
        active = jax.nn.sigmoid(self.inclusion_logit)
        return (self.number * active * slab_moments(self.slab)[1]).sum()


class _Rows(NamedTuple):
    """The rows of a layer, alike ones counted together: they differ by their bias alone."""

    layer: Layer  # with a row for each bias that occurs
    weight_var: Float[Array, ""]
    number: Float[Array, " kind"]


class _Level(NamedTuple):
    """The rows of a layer, and the energy of the vector above it."""

    rows: _Rows
    energy: Float[Array, ""]


@door.guard(
    layers=door.all_of(door.instance_of(Layer, "a probrev.Layer")),
    start=door.one_of("uninformed", "informed"),
)
def evolve_state(
    prior: SparsePrior, layers: Sequence[Layer], *, start: Start = "uninformed"
) -> StateEvolution:
    r"""Iterates state evolution to a fixed point.

    With V_l the risk of the vector above layer l, Q_l its energy, w^2 the variance of its weights
    and c^2 = noise_var + w^2 V_l, row j of the layer has omega ~ N(a_j, w^2 (Q_l - V_l)), a its
    bias, and a pre-activation ~ N(omega, c^2). Its score g makes the channel of the units above it,
    1 / tau_l = w^2 sum_j E[g_j^2]. For the layer next to x, E[g^2] is the Fisher information of a
    row of x about omega (`channel.fisher_information`); for ReLU without bias

        1 / tau = (n / c^2) E_t[rho (Phi(t) - t phi(t)) + rho^2 phi(t)^2 / ((1-rho) + rho Phi(-t))],

    w = 1 and t ~ N(0, (Q - V) / c^2), and n rho / c^2 for the identity. Above it g is that of
    `channel.hidden_score`, averaged over a unit and the message it gets from below, and so is the
    unit's variance, whose sum is the next V of that vector. The top vector has
    V <- sum_i E Var(h_i | h_i + sqrt(tau) xi).

    Weights are taken to be iid with each layer's root mean square, the limit to be n -> infinity
    at fixed ratios of the widths; a bound on the number of active units enters through each unit's
    marginal probability. From "uninformed" it ends where message passing does; from "informed",
    at risk 0, where message passing would end if it were told h. Where both agree that is the Bayes
    risk; where they do not, the lower may be the Bayes risk and the upper what can be reached in
    reasonable time (a hard phase): see `is_hard`.

    Args:
        prior: a spike and a slab with finite second moment.
        layers: layers[0] next to x, noise_std > 0 in each; all but layers[0] of ReLU.
        start: where to start from.

    Raises:
        ValueError: an unknown start, an intermediate layer that is not of ReLU, a layer with a law
            of its own, or a prior that is not what its spike and slab say.

    Source: Rangan 2011 (GAMP) and Manoel, Krzakala, Mezard and Zdeborova 2017 (several layers);
    the channels are those of `LayerUnit`.
    """
    if not layers:
        raise Refusal("layers must hold at least one Layer")
    check_layer_laws("evolve_state", layers)
    if not all(layer.activation.is_rectifier for layer in layers[1:]):
        raise Refusal("state evolution needs activation relu in every layer but layers[0]")
    start_share = 0.0 if start == "informed" else 1.0
    return _evolve(kinds_of_units(prior), [_kinds_of_rows(layer) for layer in layers], start_share)


def is_hard(informed: StateEvolution, uninformed: StateEvolution) -> bool:
    """Whether two fixed points differ, so that message passing may miss the Bayes risk."""
    low, high = float(informed.bayes_risk), float(uninformed.bayes_risk)
    return high - low > SAME_RISK * high


def kinds_of_units(prior: SparsePrior) -> Units:
    """Units with the same inclusion probability counted together, where that can be seen."""
    check_spike_and_slab("state evolution", prior)
    prob, slab = prior.marginal_inclusion_prob, prior.tilting_slab
    count = jnp.ones(prior.n_hidden)
    if slab.batch_shape == () and is_concrete(prob):
        rounded, number = np.unique(np.asarray(prob).round(12), return_counts=True)
        prob, count = jnp.asarray(rounded), jnp.asarray(number, count.dtype)
    return Units(jax.scipy.special.logit(prob), slab, count)


def _kinds_of_rows(layer: Layer) -> _Rows:
    """Rows with the same bias counted together, where that can be seen."""
    bias, number = layer.bias, jnp.ones(layer.n_visible)
    if is_concrete(layer):
        bias, number = np.unique(np.asarray(bias), return_counts=True)
    kinds = Layer(
        jnp.ones((len(bias), 1)), layer.keep_prob, layer.noise_std, layer.gain, layer.activation,
        bias,
    )  # fmt: skip
    return _Rows(kinds, layer.weight_std**2, jnp.asarray(number, float))


@jax.jit
def _evolve(units: Units, rows: list[_Rows], start: float) -> StateEvolution:
    levels = [_Level(rows[-1], units.energy)]
    for below in rows[-2::-1]:
        levels.insert(0, _Level(below, _energy_below(levels[0])))
    energies = jnp.stack([level.energy for level in levels])

    def update(risks):
        """New risks and noise variances of every level, from below."""
        found, noise_vars = [], []
        for index, level in enumerate(levels):
            if index == 0:
                information = _observed_information(level, risks[0])
            else:
                information, risk = _hidden_information(level, risks[index], noise_vars[-1])
                found.append(risk)
            noise_vars.append(1.0 / information)
        found.append(scalar_risk(units, noise_vars[-1]))
        return jnp.stack(found), jnp.stack(noise_vars)

    def moves(carry):
        risks, previous, iteration = carry
        far = (jnp.abs(risks - previous) > TOLERANCE * energies).any()
        return far & (iteration < MAX_ITERATIONS)

    def step(carry):
        risks, _, iteration = carry
        return update(risks)[0], risks, iteration + 1

    first = (start * energies, jnp.full_like(energies, jnp.inf), 0)
    risks, _, _ = jax.lax.while_loop(moves, step, first)
    return StateEvolution(risks, update(risks)[1])


def _energy_below(level: _Level) -> Float[Array, ""]:
    """E||h||^2 of the vector that a layer makes."""
    layer, weight_var, number = level.rows
    spread = jnp.sqrt(weight_var * level.energy + layer.noise_std**2)
    law = LayerUnit(layer.activation, layer.bias, spread, layer.keep_prob, layer.gain)
    return number @ (law.variance + jnp.square(law.mean))


def _omega(level: _Level, risk: Float[Array, ""], nodes: np.ndarray) -> Float[Array, "kind node"]:
    """Nodes of omega, of every kind of row."""
    layer, weight_var, _ = level.rows
    spread = jnp.sqrt(weight_var * jnp.maximum(level.energy - risk, 0.0))
    return layer.bias[:, None] + spread * jnp.asarray(nodes)[None, :]


def _observed_information(level: _Level, risk: Float[Array, ""]) -> Float[Array, ""]:
    """1 / tau of the units above the layer next to x."""
    layer, weight_var, number = level.rows
    nodes, weights = hermegauss(NUM_NODES)
    omega = _omega(level, risk, nodes)
    fisher = fisher_information(layer, omega, layer.noise_std**2 + weight_var * risk)
    return weight_var * (number @ (fisher @ (weights / weights.sum())))


def _hidden_information(
    level: _Level, risk: Float[Array, ""], tau: Float[Array, ""]
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """1 / tau of the units above an intermediate layer, and the risk of its own units.

    Args:
        level: the layer.
        risk: of the vector above it.
        tau: variance of the message that each of its units gets from below.
    """
    layer, weight_var, number = level.rows
    variance = weight_var * risk

    def of_rows(omega: Float[Array, " node"]) -> tuple[Array, Array]:
        """E[g^2] and the risk of the unit, for one kind of row."""
        at, value, weights = _unit_nodes(layer, omega, variance, tau)
        known = (at, jnp.full_like(at, variance))
        belief = hidden_belief(layer, value, jnp.full_like(at, tau), *known)
        score = hidden_score(layer, belief, *known)
        return (weights * jnp.square(score.g)).sum(), (weights * belief.var).sum()

    squares, risks = jax.lax.map(of_rows, _omega(level, risk, hermegauss(UNIT_NODES[0])[0]))
    return weight_var * (number @ squares), number @ risks


def _unit_nodes(
    layer: Layer, omega: Float[Array, " node"], variance: Float[Array, ""], tau: Float[Array, ""]
) -> tuple[Float[Array, " node"], Float[Array, " node"], Float[Array, " node"]]:
    """Nodes and weights for omega and the message R = h + sqrt(tau) xi of an intermediate unit.

    h is 0, or alpha c times a normal variable above a bound, which is written as a function of a
    uniform one: every integrand is smooth then, however narrow the message.
    """
    num_omega, num_h, num_message = UNIT_NODES
    x_weight = jnp.asarray(hermegauss(num_omega)[1])
    xi, xi_weight = (jnp.asarray(part) for part in hermegauss(num_message))
    x_weight, xi_weight = x_weight / x_weight.sum(), xi_weight / xi_weight.sum()
    uniform, u_weight = (jnp.asarray(part) / 2 for part in leggauss(num_h))
    c = jnp.sqrt(layer.noise_std**2 + variance)
    t = omega / c
    seen = layer.keep_prob * upper_tail(-t)
    shape = (num_omega, num_h)
    lower = jnp.broadcast_to(-t[:, None], shape)
    excess = excess_from_uniform(
        jnp.broadcast_to((uniform + 0.5)[None, :], shape), lower, upper_tail(lower)
    )
    # the value 0, and then the positive ones
    h = jnp.concatenate([jnp.zeros((num_omega, 1)), layer.gain * c * excess], axis=1)
    given = jnp.concatenate([(1 - seen)[:, None], seen[:, None] * u_weight[None, :]], axis=1)
    message = h[:, :, None] + jnp.sqrt(tau) * xi[None, None, :]
    weights = (x_weight[:, None] * given)[:, :, None] * xi_weight[None, None, :]
    omega = jnp.broadcast_to(omega[:, None, None], message.shape)
    return omega.reshape(-1), message.reshape(-1), weights.reshape(-1)


def scalar_risk(units: Units, tau: Float[Array, ""]) -> Float[Array, ""]:
    """sum_i E Var(h_i | r_i), r_i = h_i + sqrt(tau) xi: the risk of denoising each unit alone.

    The law of r_i is the evidence of the tilted prior, so the expectation is an integral over r.
    """
    spread = jnp.sqrt(tau)
    top = spread + jnp.sqrt(slab_moments(units.slab)[1].max())
    # Even steps of u are fine within the noise around 0 and coarse far out in the slab.
    u = jnp.linspace(-jnp.arcsinh(TAIL), jnp.arcsinh(TAIL * top / spread), GRID_SIZE)
    shape = (GRID_SIZE, units.number.size)
    r = jnp.broadcast_to(spread * jnp.sinh(u)[:, None], shape)
    logit = jnp.broadcast_to(units.inclusion_logit[None, :], shape)
    law = tilted(logit, units.slab, r, jnp.full(shape, tau))
    per_r = (units.number[None, :] * jnp.exp(law.log_evidence) * law.var).sum(1)
    return jnp.trapezoid(per_r * spread * jnp.cosh(u), u)
