"""One layer, in both directions: x = gain * act(W h + noise) * dropout down, W^T x up."""

from dataclasses import dataclass
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from probrev.model.distributions import LinearDropout, RectifiedDropout, log_silence_prob
from probrev.plumbing.arrays import check_real
from probrev.plumbing.pytree import is_concrete, pytree

Activation = Literal["relu", "identity"]

# 1 / E[w act(w + xi)] for Gaussian w and symmetric xi: where the 2 of the gain is from.
STEIN_FACTOR = {"relu": 2.0, "identity": 1.0}


@pytree(data=("weights", "keep_prob", "noise_std", "gain"), meta=("activation",))
@dataclass(frozen=True, init=False)
class Layer:
    """A layer of the generative model, with its transposed direction.

    Down: x = gain * act(W h + noise_std * eps) * d, eps ~ N(0, 1), d ~ Bernoulli(keep_prob).
    Up: the readout u = W^T x, scaled so that E[u | h] = h over Gaussian weights.

    Attributes:
        weights: W, (n_visible, n_hidden), finite.
        keep_prob: probability that a visible unit survives dropout, in (0, 1].
        noise_std: standard deviation of the noise on W h, at least 0, in units of W h.
        gain: positive; by default 2 / (keep_prob * mean_i ||W_i||^2) for "relu", half of it for
            "identity". For N(0, 1) weights this is the paper's 2 / (keep_prob * n_visible).
        activation: "relu" or "identity".

    Source: Arora, Liang and Ma 2015 (arXiv:1511.05653), section 2; the noise is ours.
    """

    weights: Float[Array, "visible hidden"]
    keep_prob: Float[Array, ""]
    noise_std: Float[Array, ""]
    gain: Float[Array, ""]
    activation: Activation

    def __init__(
        self,
        weights: ArrayLike,
        keep_prob: ArrayLike = 1.0,
        noise_std: ArrayLike = 0.0,
        gain: ArrayLike | None = None,
        activation: Activation = "relu",
    ):
        numbers = {"weights": weights, "keep_prob": keep_prob, "noise_std": noise_std, "gain": gain}
        for name, value in numbers.items():
            if value is not None:
                check_real(name, value)
        if is_concrete((weights, keep_prob, noise_std, gain)):
            _check(weights, keep_prob, noise_std, gain, activation)
        weights, keep_prob = jnp.asarray(weights, float), jnp.asarray(keep_prob, float)
        if gain is None:
            energy = keep_prob * _mean_square(weights) * weights.shape[0]
            gain = STEIN_FACTOR[activation] / energy
        object.__setattr__(self, "weights", weights)
        object.__setattr__(self, "keep_prob", keep_prob)
        object.__setattr__(self, "noise_std", jnp.asarray(noise_std, float))
        object.__setattr__(self, "gain", jnp.asarray(gain, float))
        object.__setattr__(self, "activation", activation)

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

    def activate(self, pre_activation: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """r(z), or z for an identity layer."""
        return jax.nn.relu(pre_activation) if self.activation == "relu" else pre_activation

    # Down

    def pre_activation(self, h: Float[Array, "*batch hidden"]) -> Float[Array, "*batch visible"]:
        """The pre-activation z = W h."""
        # not h @ W.T: for a single h XLA would write out a transposed W
        return jnp.einsum("...i,ji->...j", h, self.weights)

    def distribution(
        self, pre_activation: Float[Array, "*batch visible"], keep_prob: ArrayLike | None = None
    ) -> RectifiedDropout | LinearDropout:
        """Law of each visible unit given z = W h, noise and dropout summed out.

        Args:
            pre_activation: z.
            keep_prob: instead of the layer's own; a 0/1 mask gives the law with the mask known.
        """
        family = RectifiedDropout if self.activation == "relu" else LinearDropout
        keep_prob = self.keep_prob if keep_prob is None else keep_prob
        return family(pre_activation, self.noise_std, keep_prob, self.gain)

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

    def log_likelihood_table(
        self, h: Float[Array, "state hidden"], x: Float[Array, "obs visible"]
    ) -> Float[Array, "state obs"]:
        """Log p(x | h) of every state under every observation.

        The terms of silent rows depend on the state alone, and those of active rows are quadratic,
        so three matrix products replace a likelihood per pair. `log_likelihood` is the oracle.
        """
        z = self.pre_activation(h)
        silent = x == 0
        if self.activation == "identity":
            silent &= jnp.asarray(self.keep_prob) < 1
        seen = (~silent).astype(z.dtype)
        y = x / self.gain * seen
        distance = (y**2).sum(-1)[None, :] - 2 * z @ y.T + (z**2) @ seen.T
        log_scale = jnp.log(self.keep_prob / (self.gain * self.noise_std * jnp.sqrt(2 * jnp.pi)))
        log_density = (seen.sum(-1) * log_scale)[None, :] - 0.5 * distance / self.noise_std**2
        table = log_density + self._log_silence_table(z, silent)
        possible = (x >= 0).all(-1) if self.activation == "relu" else True
        return jnp.where(jnp.broadcast_to(possible, table.shape), table, -jnp.inf)

    def log_silence(
        self, pre_activation: Float[Array, "*batch visible"]
    ) -> Float[Array, "*batch visible"]:
        """Log f(z) = log[(1 - rho) + rho Phi(-z / noise_std)], the mass of x_j = 0 (ReLU)."""
        return log_silence_prob(pre_activation / self.noise_std, self.keep_prob)

    def _log_silence_table(
        self, z: Float[Array, "state visible"], silent: Bool[Array, "obs visible"]
    ) -> Float[Array, "#state obs"]:
        """Log mass of the rows that are 0, per state and observation."""
        if self.activation == "relu":
            log_mass = self.log_silence(z)
            return log_mass @ silent.astype(z.dtype).T
        count = silent.sum(-1)[None, :]
        return jnp.where(count > 0, count * jnp.log1p(-jnp.asarray(self.keep_prob)), 0.0)

    # Up

    @property
    def readout_scale(self) -> Float[Array, ""]:
        """What makes W^T x unbiased for h over Gaussian weights; 1 at the default gain."""
        energy = _mean_square(self.weights) * self.n_visible
        return STEIN_FACTOR[self.activation] / (self.gain * self.keep_prob * energy)

    def readout(self, x: Float[Array, "*batch visible"]) -> Float[Array, "*batch hidden"]:
        """U = W^T x, scaled so that E[u_i | h] = h_i (theory: Stein's identity)."""
        return self.readout_scale * (x @ self.weights)

    def readout_std(self, x: Float[Array, "*batch visible"]) -> Float[Array, "*batch 1"]:
        """Standard deviation of u_i given x where h_i = 0: ||x||_2 for N(0, 1) weights."""
        norm = jnp.linalg.norm(x, axis=-1, keepdims=True)
        return self.readout_scale * self.weight_std * norm

    def prior_readout_std(self, h_energy: ArrayLike) -> Float[Array, ""]:
        """The same before x is seen: sqrt(2 s^2 / (keep_prob n)), s^2 = E||h||^2 + noise_var.

        Args:
            h_energy: E||h||^2.
        """
        variance = h_energy + (self.noise_std / self.weight_std) ** 2
        return jnp.sqrt(
            STEIN_FACTOR[self.activation] * variance / (self.keep_prob * self.n_visible)
        )


@jax.jit
def _mean_square(weights: Float[Array, "visible hidden"]) -> Float[Array, ""]:
    """Mean of W_ji^2: compiled, so that no array of squares is made."""
    return (weights**2).mean()


def _check(weights, keep_prob, noise_std, gain, activation) -> None:
    weights = np.asarray(weights)
    if weights.ndim != 2 or not weights.size:
        raise ValueError(
            f"weights must have shape (n_visible, n_hidden); got shape {weights.shape}"
        )
    if not np.all(np.isfinite(weights)):
        raise ValueError("weights must be finite; got NaN or infinity")
    if not 0 < np.asarray(keep_prob) <= 1:
        raise ValueError(
            "keep_prob must lie in (0, 1]: it is the probability that a unit survives dropout; "
            f"got {keep_prob}"
        )
    if not 0 <= np.asarray(noise_std) < np.inf:
        raise ValueError(f"noise_std must be a finite number, at least 0; got {noise_std}")
    if activation not in STEIN_FACTOR:
        raise ValueError(f'activation must be "relu" or "identity"; got {activation!r}')
    if gain is None and not np.any(weights):
        raise ValueError("weights are all 0, so gain has no default: give one")
    if gain is not None and not 0 < np.asarray(gain) < np.inf:
        raise ValueError(f"gain must be positive and finite; got {gain}")
