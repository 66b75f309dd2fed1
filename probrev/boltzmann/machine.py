"""Boltzmann machines: layers of binary units, the reversible model and the one that is not."""

from collections.abc import Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from jax.typing import ArrayLike
from jaxtyping import Array, Float, PRNGKeyArray

from probrev.boltzmann.binary_draws import simulate
from probrev.boltzmann.binary_layers import BinaryLayers, binary_states, draw_units
from probrev.model.kinds import check_one_law, law_of, overridden
from probrev.model.observations import Observations, Origin
from probrev.model.protocol import DENSITIES, check_shape
from probrev.model.states import FiniteStates
from probrev.plumbing import door
from probrev.plumbing.arrays import as_floats, check_real
from probrev.plumbing.pytree import check_registered, is_concrete, pytree
from probrev.plumbing.refusal import Refusal

# What says nothing of the law of x and h.
_ASIDE = (
    "check", "check_draws", "setting", "num_weights", "observe_from", "visible_mean",
    "sampled_program", "law_changes",
)  # fmt: skip


@pytree()
@dataclass(frozen=True, init=False)
class BoltzmannMachine(BinaryLayers):
    """Binary layers x = s_0, h^1 = s_1, h^2 = s_2, ..., each coupled with its neighbours only.

    p(x, h) = exp(-E) / Z,  E = -sum_l b_l^T s_l - sum_l s_l^T W_l s_{l+1},  s in {0, 1}.

    This is the one place where the energy's sign is stated; the notes' A is -W. One matrix is a
    restricted machine, whose p(h | x) factorises: the sigmoid pass up is its mean. Two or more are
    a deep machine, whose p(h | x) does not. h is all hidden units in one vector, the layer next to
    x first. `log_joint` is -E: it leaves out log Z (see `log_partition`).

    Attributes:
        weights: W_0 (n_visible, width of h^1), W_1 (width of h^1, width of h^2), ...
        biases: b_0 of x, b_1 of h^1, ...; a vector or one number each.

    Raises:
        ValueError: the layers do not fit together, or the energy can overflow.

    Source: Smolensky 1986; Salakhutdinov and Hinton 2009, Deep Boltzmann machines.
    """

    def __init__(self, weights: Sequence[ArrayLike], biases: Sequence[ArrayLike]):
        for name, arrays in (("weights", weights), ("biases", biases)):
            door.sequence(name, arrays)
            for level, array in enumerate(arrays):
                check_real(f"{name}[{level}]", array)
        _check(weights, biases)
        weights = tuple(as_floats(matrix) for matrix in weights)
        widths = (weights[0].shape[0], *(matrix.shape[1] for matrix in weights))
        biases = tuple(
            jnp.broadcast_to(as_floats(bias), (width,))
            for bias, width in zip(biases, widths, strict=True)
        )
        object.__setattr__(self, "weights", weights)
        object.__setattr__(self, "biases", biases)
        check_registered("the machine", self)

    @property
    def n_visible(self) -> int:
        """Length of x."""
        return self.widths[0]

    @property
    def n_hidden(self) -> int:
        """Length of h: the units of all hidden layers together."""
        return sum(self.widths[1:])

    @property
    def num_weights(self) -> int:
        """Number of couplings."""
        return sum(matrix.size for matrix in self.weights)

    @property
    def law_changes(self) -> tuple[str, ...]:
        """What a subclass overrides of the law: nothing is assumed of such a one.

        One that writes the same law in another way says so by giving () itself.
        """
        return overridden(self, law_of(BoltzmannMachine, _ASIDE), BoltzmannMachine)

    @property
    def setting(self) -> str:
        """What a verdict holds for: the couplings' root mean square, layer by layer."""
        sizes = [f"{float(jnp.sqrt(jnp.square(matrix).mean())):.3g}" for matrix in self.weights]
        return "rms coupling " + ", ".join(sizes)

    def check(self, obs: Observations) -> None:
        """Raises ValueError for observations that are not binary, or of another width."""
        check_shape(self, obs)
        for name, value in (("x", obs.x), ("h", obs.h)):
            if value is None:
                continue
            value = np.asarray(value)
            bad = np.argwhere((value != 0) & (value != 1))
            if bad.size:
                row, column = bad[0]
                raise Refusal(
                    f"{name} must be binary, 0 or 1; got {value[row, column]:g} in observation "
                    f"{row}: make it binary first, as in ({name} > threshold).astype(float)"
                )

    def split(self, h: Float[Array, "*batch hidden"]) -> tuple[Array, ...]:
        """The hidden layers of h, the one next to x first."""
        ends = np.cumsum(self.widths[1:])[:-1]
        return tuple(jnp.split(h, ends, axis=-1))

    def check_draws(self, h: Float[np.ndarray, "*batch hidden"]) -> str:
        """Raises ValueError for draws of h that are not binary; nothing else is odd about any."""
        bad = h[(h != 0) & (h != 1)]
        if bad.size:
            raise Refusal(f"h of a Boltzmann machine is 0 or 1; got {bad[0]:g} among the draws")
        return ""

    # Densities and draws

    def log_joint(
        self, h: Float[Array, "*#batch hidden"], x: Float[Array, "*#batch visible"]
    ) -> Float[Array, "*batch"]:
        """-E(x, h): log p(h, x) up to log Z, the same for all h and x."""
        return self.log_weight(dict(enumerate((x, *self.split(h)))))

    def log_joint_table(
        self, h: Float[Array, "state hidden"], x: Float[Array, "obs visible"]
    ) -> Float[Array, "state obs"]:
        """`log_joint` of every state with every observation, as matrix products."""
        own = self.log_joint(h, jnp.zeros((1, self.n_visible)))
        return own[:, None] + self.log_coupling_table(self.split(h)[0], x)

    def log_coupling_table(
        self, first: Float[Array, "state unit"], x: Float[Array, "obs visible"]
    ) -> Float[Array, "state obs"]:
        """What x has to do with -E: x^T W_0 h^1 + b_0^T x, of every h^1 with every x."""
        return first @ (x @ self.weights[0]).T + (x @ self.biases[0])[None, :]

    def log_likelihood(
        self, h: Float[Array, "*#batch hidden"], x: Float[Array, "*#batch visible"]
    ) -> Float[Array, "*batch"]:
        """Log p(x | h), normalised; of h only the layer next to x matters."""
        return self.pointwise_log_likelihood(h, x).sum(-1)

    def pointwise_log_likelihood(
        self, h: Float[Array, "*#batch hidden"], x: Float[Array, "*#batch visible"]
    ) -> Float[Array, "*batch visible"]:
        """Log p(x_j | h) of every unit of x."""
        field = self.field(0, {1: self.split(h)[0]})
        return x * field - jax.nn.softplus(field)

    def visible_mean(self, h: Float[Array, "*batch hidden"]) -> Float[Array, "*batch visible"]:
        """E[x | h]."""
        return jax.nn.sigmoid(self.field(0, {1: self.split(h)[0]}))

    def generate(
        self, key: PRNGKeyArray, h: Float[Array, "*batch hidden"]
    ) -> Float[Array, "*batch visible"]:
        """Draws x given h."""
        return draw_units(key, self.field(0, {1: self.split(h)[0]}))

    @door.guard(key=door.random_key, num_obs=door.count())
    def simulate(self, key: PRNGKeyArray, num_obs: int) -> Observations:
        """Draws x and h: exactly where the units of one parity can be enumerated, else by Gibbs.

        Warns where its chains have not converged; see `binary_draws.simulate`.

        Raises:
            ValueError: a subclass overrides a density, but not this.
        """
        check_one_law(self, uses=("simulate",), others=DENSITIES)
        x, *hidden = simulate(key, self, num_obs)
        return Observations(x, jnp.concatenate(hidden, axis=-1)).made_by(self)

    @door.guard(key=door.random_key, h=door.finite_array("num_obs", "n_hidden"))
    def observe_from(self, key: PRNGKeyArray, h: ArrayLike) -> Observations:
        """Observations x drawn given an h from elsewhere, (num_obs, n_hidden)."""
        h = jnp.asarray(h, dtype=float)
        return Observations(self.generate(key, h), h).made_by(self, Origin.LAYERS)

    def states(self) -> FiniteStates:
        """All 2^n_hidden values of h."""
        return binary_states(self.n_hidden)

    def program(self, x: Float[Array, " visible"] | None = None) -> Float[Array, " visible"]:
        """The machine as a NumPyro program for one observation: fair coins and a factor of -E.

        Sites `h` and `x`; its log density is `log_joint`. A factor weighs but does not draw, so
        that the program can be conditioned on x and sampled by MCMC, not run forward: forward is
        `simulate`.
        """
        coin = dist.Bernoulli(0.5)
        with numpyro.plate("hidden", self.n_hidden):
            h = jnp.asarray(numpyro.sample("h", coin), float)
        with numpyro.plate("visible", self.n_visible):
            x = jnp.asarray(numpyro.sample("x", coin, obs=x), float)
        coins = (self.n_hidden + self.n_visible) * jnp.log(2.0)
        numpyro.factor("energy", self.log_joint(h, x) + coins)
        return x


def _check(weights: Sequence[ArrayLike], biases: Sequence[ArrayLike]) -> None:
    """Raises ValueError unless the layers fit together and no energy can overflow."""
    if not len(weights):
        raise Refusal("weights must hold at least one matrix; got none")
    if len(biases) != len(weights) + 1:
        raise Refusal(
            f"{len(weights)} matrices join {len(weights) + 1} layers, so biases must have as many "
            f"entries, that of x first; got {len(biases)}"
        )
    for level, bias in enumerate(biases):
        check_real(f"biases[{level}]", bias)
    for level, matrix in enumerate(weights):
        check_real(f"weights[{level}]", matrix)
        if np.ndim(matrix) != 2 or 0 in np.shape(matrix):
            raise Refusal(
                f"weights[{level}] must be a matrix (units below, units above); "
                f"got shape {np.shape(matrix)}"
            )
        if level and np.shape(weights[level - 1])[1] != np.shape(matrix)[0]:
            raise Refusal(
                f"weights[{level}] has {np.shape(matrix)[0]} rows, but weights[{level - 1}] below "
                f"it has {np.shape(weights[level - 1])[1]} columns; weights[0] is next to x"
            )
    widths = (np.shape(weights[0])[0], *(np.shape(matrix)[1] for matrix in weights))
    for level, (bias, width) in enumerate(zip(biases, widths, strict=True)):
        if np.shape(bias) not in ((), (width,)):
            raise Refusal(
                f"biases[{level}] must be one number or have shape ({width},), one entry per unit; "
                f"got shape {np.shape(bias)}"
            )
    if is_concrete((list(weights), list(biases))):
        _check_energy(weights, biases)


def _check_energy(weights: Sequence[ArrayLike], biases: Sequence[ArrayLike]) -> None:
    for name, arrays in (("weights", weights), ("biases", biases)):
        for level, array in enumerate(arrays):
            if not np.isfinite(np.asarray(array)).all():
                raise Refusal(f"{name}[{level}] must be finite; got NaN or infinity")
    dtype = jnp.asarray(0.0).dtype
    with np.errstate(over="ignore"):
        largest = sum(np.abs(np.asarray(a, dtype)).sum() for a in (*weights, *biases))
    if not np.isfinite(largest):
        raise Refusal(
            f"weights and biases are so large that the energy overflows {dtype}: their absolute "
            "values must have a finite sum; scale them down"
        )
