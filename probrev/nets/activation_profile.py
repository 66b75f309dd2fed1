"""Real activations beside the paper's D_h: how sparse, how flat, and how many units ever fire."""

from typing import NamedTuple

import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Bool, Float, Int

from probrev.plumbing import door
from probrev.plumbing.arrays import check_real
from probrev.plumbing.readable import readable
from probrev.plumbing.refusal import Refusal


@readable
class ActivationProfile(NamedTuple):
    """Sparsity and flatness of h, observation by observation; k is the number of active units.

    Attributes:
        num_active: k = ||h||_0, (obs,).
        peak: ||h||_inf / ||h||_2, in [1 / sqrt(k), 1]; NaN where h = 0.
        flatness: sqrt(log k / k), what the paper asks peak to be within a constant of; NaN where
            k < 2, where it would be 0.
        live: units that fire for at least one observation, (hidden,).

    Source: Arora, Liang and Ma 2015 (arXiv:1511.05653), section 2, assumptions on D_h.
    """

    num_active: Int[np.ndarray, " obs"]
    peak: Float[np.ndarray, " obs"]
    flatness: Float[np.ndarray, " obs"]
    live: Bool[np.ndarray, " hidden"]

    @property
    def active_share(self) -> float:
        """Mean share of all units that is active."""
        return float(self.num_active.mean() / self.live.size)

    @property
    def live_active_share(self) -> float:
        """Mean share of the live units that is active."""
        return float(self.num_active.mean() / max(self.live.sum(), 1))

    @property
    def constant(self) -> Float[np.ndarray, " obs"]:
        """The C of ||h||_inf = C sqrt(log k / k) ||h||_2: the paper wants it bounded."""
        return self.peak / self.flatness


@door.guard(h=door.finite_array("num_obs", "n_hidden"))
def profile_activations(h: ArrayLike) -> ActivationProfile:
    """Profiles activations.

    Args:
        h: (obs, hidden), nonnegative.

    Raises:
        ValueError: not a matrix, negative, NaN or infinite.
    """
    check_real("h", h)
    h = np.asarray(h, dtype=float)
    if h.ndim != 2 or not h.size:
        raise Refusal(f"h must have shape (num_obs, n_hidden); got {h.shape}")
    if not np.isfinite(h).all() or (h < 0).any():
        raise Refusal("h must be finite and nonnegative, as ReLU activations are")
    k = (h > 0).sum(1)
    norm = np.linalg.norm(h, axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        peak = np.where(k > 0, h.max(1) / norm, np.nan)
        flatness = np.where(k > 1, np.sqrt(np.log(k) / k), np.nan)
    return ActivationProfile(k, peak, flatness, (h > 0).any(0))
