"""One layer, in both directions: x = gain * act(W h + bias + noise) * dropout down, W^T x up."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from probrev.model.activations import Activation, Location, as_activation
from probrev.model.distributions import LayerUnit
from probrev.model.silence import SilenceTable
from probrev.plumbing import door
from probrev.plumbing.arrays import as_floats, check_real
from probrev.plumbing.pytree import is_concrete, pytree
from probrev.plumbing.refusal import Refusal

# Weights from so many on are looked at by a program of their own, which makes no array beside them.
FEWEST_STREAMED = 2**22


@pytree(
    data=("weights", "keep_prob", "noise_std", "bias", "given_gain", "_gain"), meta=("activation",)
)
@dataclass(frozen=True, init=False)
class Layer:
    """A layer of the generative model, with its transposed direction.

    Down: x = gain * act(W h + bias + noise_std * eps) * d, eps ~ N(0, 1), d ~ Bernoulli(keep_prob).
    Up: the readout u = W^T x, scaled so that E[u | h] = h over Gaussian weights.

    Attributes:
        weights: W, (n_visible, n_hidden), finite.
        keep_prob: probability that a visible unit survives dropout, in (0, 1].
        noise_std: standard deviation of the noise on W h + bias, at least 0, in units of W h.
        bias: a, (n_visible,), finite; 0 by default.
        given_gain: the gain that was asked for, or None.
        gain: positive; by default what makes W^T x unbiased for h over Gaussian weights:
            2 / ((1 + s) keep_prob * mean_i ||W_i||^2), s the activation's slope below 0: 0 of ReLU,
            1 of the identity. For N(0, 1) weights and ReLU this is the paper's
            2 / (keep_prob * n_visible). A gain that was given stays in `dataclasses.replace`, a
            default one follows.
        activation: "relu", "identity", "threshold", or an `Activation`.

    Source: Arora, Liang and Ma 2015 (arXiv:1511.05653), section 2; noise and bias are ours.
    """

    weights: Float[Array, "visible hidden"]
    keep_prob: Float[Array, ""]
    noise_std: Float[Array, ""]
    activation: Activation
    bias: Float[Array, " visible"]
    given_gain: Float[Array, ""] | None

    def __init__(
        self,
        weights: ArrayLike,
        keep_prob: ArrayLike = 1.0,
        noise_std: ArrayLike = 0.0,
        gain: ArrayLike | None = None,
        activation: str | Activation = "relu",
        bias: ArrayLike | None = None,
        *,
        given_gain: ArrayLike | None = None,
    ):
        activation = as_activation(activation)
        gain = given_gain if gain is None else gain
        numbers = {
            "weights": weights, "keep_prob": keep_prob, "noise_std": noise_std, "gain": gain,
            "bias": bias,
        }  # fmt: skip
        for name, value in numbers.items():
            if name in _RULES:
                _RULES[name](name, value)
            elif name == "weights" or value is not None:
                check_real(name, value)
        is_known = is_concrete(tuple(numbers.values()))
        if is_known:
            _check(weights, bias)
        weights, keep_prob = as_floats(weights), as_floats(keep_prob)
        if is_known:
            _check_entries(weights, gain)
        gain = None if gain is None else as_floats(gain)
        fields = {
            "weights": weights,
            "keep_prob": keep_prob,
            "noise_std": as_floats(noise_std),
            "activation": activation,
            "bias": jnp.zeros(len(weights)) if bias is None else as_floats(bias),
            "given_gain": gain,
            "_gain": _default_gain(activation, weights, keep_prob) if gain is None else gain,
        }
        for name, value in fields.items():
            object.__setattr__(self, name, value)

    @property
    def gain(self) -> Float[Array, ""]:
        """What an activated unit is multiplied by: as given, or the default."""
        return self._gain  # pyright: ignore[reportAttributeAccessIssue]

    @property
    def n_visible(self) -> int:
        """Units of x, or of the layer below."""
        return self.weights.shape[0]

    @property
    def n_hidden(self) -> int:
        """Units of h, or of the layer above."""
        return self.weights.shape[1]

    @property
    def weight_std(self) -> Float[Array, ""]:
        """Root mean square of the weights: 1 in the theory."""
        return jnp.sqrt(_mean_square(self.weights))

    # Down

    def pre_activation(self, h: Float[Array, "*batch hidden"]) -> Float[Array, "*batch visible"]:
        """The pre-activation z = W h + bias."""
        # not h @ W.T: for a single h XLA would write out a transposed W
        z = jnp.einsum("...i,ji->...j", h, self.weights)
        return z + jnp.broadcast_to(self.bias, z.shape)

    def distribution(
        self, pre_activation: Float[Array, "*batch visible"], keep_prob: ArrayLike | None = None
    ) -> LayerUnit:
        """Law of each visible unit given z = W h + bias, noise and dropout summed out.

        Args:
            pre_activation: z.
            keep_prob: instead of the layer's own; a 0/1 mask gives the law with the mask known.
        """
        keep_prob = self.keep_prob if keep_prob is None else keep_prob
        return LayerUnit(self.activation, pre_activation, self.noise_std, keep_prob, self.gain)

    def generate(
        self, key: PRNGKeyArray, h: Float[Array, "*batch hidden"]
    ) -> tuple[Float[Array, "*batch visible"], Bool[Array, "*batch visible"]]:
        """Draws x given h, and the dropout mask that was used (True: the unit survived)."""
        key_mask, key_noise = jax.random.split(key)
        z = self.pre_activation(h)
        mask = jax.random.bernoulli(key_mask, self.keep_prob, z.shape)
        x = self.distribution(z, mask.astype(z.dtype)).sample(key_noise)
        return x, mask

    def log_likelihood(
        self, h: Float[Array, "*batch hidden"], x: Float[Array, "*batch visible"]
    ) -> Float[Array, "*batch"]:
        """Log p(x | h), noise and dropout summed out; a mixed density, mass at x_j = 0."""
        return self.distribution(self.pre_activation(h)).log_prob(x).sum(-1)

    def log_likelihood_quick(
        self,
        h: Float[Array, "*batch hidden"],
        x: Float[Array, "*#batch visible"],
        table: SilenceTable | None = None,
    ) -> Float[Array, "*batch"]:
        """The same at a third of the cost; not to be differentiated. noise_std > 0.

        Args:
            h: hidden vectors.
            x: what is below them.
            table: of `keep_prob`, if there is one.
        """
        z, place = self.pre_activation(h), self.locate(x)
        distance = (self.seen_pre_activation(x) - z) / self.noise_std
        seen = jnp.where(place.seen, -0.5 * distance**2, 0.0).sum(-1) + self.log_seen_scale(x)
        count = place.dropped.sum(-1)
        dropped = jnp.where(count > 0, count * jnp.log1p(-self.keep_prob), 0.0)
        total = seen + self.sum_log_censored(x, z, table) + dropped
        return jnp.where(place.possible.all(-1), total, -jnp.inf)

    def score(
        self,
        x: Float[Array, "*shape visible"],
        pre_activation: Float[Array, "*shape visible"],
        table: SilenceTable | None = None,
    ) -> Float[Array, "*shape visible"]:
        """Derivative of log p(x | h) in each row's pre-activation. noise_std > 0.

        Args:
            x: what is below.
            pre_activation: z.
            table: of `keep_prob`, if there is one.
        """
        z, place = pre_activation, self.locate(x)
        score = jnp.where(place.seen, (self.seen_pre_activation(x) - z) / self.noise_std**2, 0.0)
        for flat, is_on in zip(self.activation.flats, place.on, strict=True):
            slope = flat.log_mass_slope(z, self.noise_std, self.keep_prob, table)
            score = jnp.where(is_on, slope, score)
        return score

    def log_likelihood_table(
        self, h: Float[Array, "state hidden"], x: Float[Array, "obs visible"]
    ) -> Float[Array, "state obs"]:
        """Log p(x | h) of every state under every observation.

        What a row says depends on the state alone, whether it is seen or on a flat, but for the
        cross term of rows that are seen, which needs no z. So all rows are taken to be seen, and
        one matrix product for each flat, or for dropout, puts right those that are not.
        `log_likelihood` is the oracle.
        """
        z, place = self.pre_activation(h), self.locate(x)
        precision = self.noise_std**-2.0
        y = self.seen_pre_activation(x) * place.seen.astype(z.dtype)
        cross = h @ (y @ self.weights).T + (y @ self.bias)[None, :]
        energy = 0.5 * precision * z**2
        count = place.dropped.sum(-1)
        per_obs = self.log_seen_scale(x) - 0.5 * precision * (y**2).sum(-1)
        per_obs += jnp.where(count > 0, count * jnp.log1p(-self.keep_prob), 0.0)
        table = per_obs[None, :] + precision * cross - energy.sum(-1)[:, None]
        for flat, is_on in zip(self.activation.flats, place.on, strict=True):
            log_mass = flat.log_mass_quick(z, self.noise_std, self.keep_prob)
            table = table + (log_mass + energy) @ is_on.astype(z.dtype).T
        if not self.activation.rests_at_zero:
            table = table + energy @ place.dropped.astype(z.dtype).T
        return jnp.where(place.possible.all(-1)[None, :], table, -jnp.inf)

    def locate(self, x: Float[Array, "*shape"]) -> Location:
        """Where rows of x lie: seen, on which flat of the activation, or dropped."""
        return self.activation.locate(x / self.gain, self.keep_prob)

    def seen_pre_activation(self, x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """The noisy pre-activations that rows which are seen had; anything finite elsewhere."""
        return self.activation.inverse(x / self.gain)

    def log_seen_scale(self, x: Float[Array, "*batch visible"]) -> Float[Array, "*batch"]:
        """Log density of the rows that are seen, had each the pre-activation that is expected."""
        seen = self.locate(x).seen
        scale = self.keep_prob / (self.gain * self.noise_std * jnp.sqrt(2 * jnp.pi))
        log_slopes = jnp.where(seen, self.activation.log_inverse_slope(x / self.gain), 0.0)
        return seen.sum(-1) * jnp.log(scale) + log_slopes.sum(-1)

    def sum_log_censored(
        self,
        x: Float[Array, "*shape visible"],
        pre_activation: Float[Array, "*shape visible"],
        table: SilenceTable | None = None,
    ) -> Float[Array, "*shape"]:
        """Log mass of all rows on flats; not meant for differentiation.

        Args:
            x: what is below.
            pre_activation: z.
            table: of `keep_prob`, if there is one.
        """
        z, total = pre_activation, jnp.zeros(pre_activation.shape[:-1], pre_activation.dtype)
        for flat, is_on in zip(self.activation.flats, self.locate(x).on, strict=True):
            total += flat.sum_log_mass(z, self.noise_std, self.keep_prob, is_on, table)
        return total

    # Up

    @property
    def has_readout(self) -> bool:
        """Whether a multiple of W^T x is unbiased for every h, over Gaussian weights.

        Of a bias that is traced this is not known, and taken to be so.
        """
        biased = is_concrete(self.bias) and np.any(np.asarray(self.bias))
        return self.activation.stein_factor is not None and not biased

    @property
    def readout_scale(self) -> Float[Array, ""]:
        """What makes W^T x unbiased for h over Gaussian weights; 1 at the default gain.

        Raises:
            ValueError: there is none, see `has_readout`.
        """
        energy = _mean_square(self.weights) * self.n_visible
        return self._stein_factor / (self.gain * self.keep_prob * energy)

    @property
    def _stein_factor(self) -> float:
        """1 / E[w act(w + xi)], where a multiple of W^T x is unbiased."""
        factor = self.activation.stein_factor
        if factor is None or not self.has_readout:
            why = f"activation {self.activation}" if factor is None else "a bias"
            raise Refusal(
                f"no multiple of W^T x is unbiased for every h in a layer with {why}: the mean "
                "slope of its activation depends on how far W h + noise reaches, and from where; "
                'use bias rule "calibrated", which fits a scale'
            )
        return factor

    def readout(
        self, x: Float[Array, "*batch visible"], scale: Array | float | None = None
    ) -> Float[Array, "*batch hidden"]:
        """U = W^T x, scaled so that E[u_i | h] = h_i (theory: Stein's identity).

        Args:
            x: what is below.
            scale: instead of `readout_scale`.
        """
        return (self.readout_scale if scale is None else scale) * (x @ self.weights)

    def readout_std(
        self, x: Float[Array, "*batch visible"], scale: Array | float | None = None
    ) -> Float[Array, "*batch 1"]:
        """Standard deviation of u_i given x where h_i = 0: ||x||_2 for N(0, 1) weights.

        Args:
            x: what is below.
            scale: instead of `readout_scale`.
        """
        norm = jnp.linalg.norm(x, axis=-1, keepdims=True)
        return (self.readout_scale if scale is None else scale) * self.weight_std * norm

    def prior_readout_std(self, h_energy: ArrayLike) -> Float[Array, ""]:
        """The same before x is seen: sqrt(2 s^2 / (keep_prob n)) for ReLU, s^2 = E||h||^2 + noise.

        Args:
            h_energy: E||h||^2.
        """
        factor, slope = self._stein_factor, self.activation.negative_slope
        assert slope is not None
        variance = h_energy + (self.noise_std / self.weight_std) ** 2
        factor = factor**2 * (1.0 + slope**2) / 2.0
        return jnp.sqrt(factor * variance / (self.keep_prob * self.n_visible))


@jax.jit
def _mean_square(weights: Float[Array, "visible hidden"]) -> Float[Array, ""]:
    """Mean of W_ji^2: compiled, so that no array of squares is made."""
    return (weights**2).mean()


def _default_gain(
    activation: Activation, weights: Float[Array, "visible hidden"], keep_prob: Float[Array, ""]
) -> Float[Array, ""]:
    """What makes W^T x itself unbiased."""
    if activation.stein_factor is None:
        raise Refusal(
            f"gain has no default under activation {activation}, whose mean slope depends on how "
            "far W h + noise reaches: give one, such as gain=1.0"
        )
    energy = keep_prob * _mean_square(weights) * weights.shape[0]
    return activation.stein_factor / energy


_RULES = {
    "keep_prob": door.number(
        "lie in (0, 1]: it is the probability that a unit survives dropout",
        lambda value: 0 < value <= 1,
    ),
    "noise_std": door.nonnegative,
    "gain": door.optional(door.positive),
}


def _check(weights, bias) -> None:
    shape = np.shape(weights)
    if len(shape) != 2 or 0 in shape:
        raise Refusal(f"weights must have shape (n_visible, n_hidden); got shape {shape}")
    if bias is not None and np.shape(bias) != shape[:1]:
        raise Refusal(
            f"bias must have shape (n_visible,) = ({shape[0]},); got shape {np.shape(bias)}"
        )
    if bias is not None and not np.all(np.isfinite(np.asarray(bias))):
        raise Refusal("bias must be finite; got NaN or infinity")


def _check_entries(weights: Float[Array, "visible hidden"], gain: ArrayLike | None) -> None:
    few = weights.size < FEWEST_STREAMED
    largest = float(np.abs(np.asarray(weights)).max() if few else _largest(weights))
    if not np.isfinite(largest):
        raise Refusal("weights must be finite; got NaN or infinity")
    if gain is None and not largest:
        raise Refusal("weights are all 0, so gain has no default: give one")


@jax.jit
def _largest(weights: Float[Array, "visible hidden"]) -> Float[Array, ""]:
    """Largest |W_ji|: compiled, so that no array of them is made."""
    return jnp.abs(weights).max()
