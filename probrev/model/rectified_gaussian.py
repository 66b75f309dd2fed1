"""The rectified Gaussian prior: h = max(v, 0) with v a correlated normal vector.

A linear layer with a Gaussian above it. With v = mean + loadings g + sqrt(noise_var) eps, standard
normal g and eps, units are independent given the factor g: each is 0 where v_i would be negative.
"""

# NumPyro's own distributions narrow the signatures of the base class in the same way.
# pyright: reportIncompatibleMethodOverride=false, reportIncompatibleVariableOverride=false

from dataclasses import dataclass
from typing import override

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from jax.typing import ArrayLike
from jaxtyping import Array, Float, PRNGKeyArray

from probrev.model.conditional_prior import Auxiliary, ConditionalPrior
from probrev.model.priors import SparsePrior, internal
from probrev.model.slabs import truncated_normal_slab
from probrev.numerics.orthant import orthant_log_density
from probrev.numerics.truncated_normal import (
    excess_from_uniform,
    log_scaled_ndtr,
    open_uniform,
    upper_tail,
)
from probrev.plumbing.arrays import as_floats, check_real
from probrev.plumbing.pytree import is_concrete, pytree
from probrev.plumbing.refusal import Refusal

# A symmetric matrix may differ from its transpose, and have negative eigenvalues, by so much of its
# largest entry: rounding.
ROUNDING = 1e-8


@pytree(data=("mean_before", "std_before", "slab", "tilting_slab"), meta=("n_hidden",))
@dataclass(frozen=True)
class RectifiedNormal(SparsePrior):
    """Independent units h_i = max(v_i, 0), v_i ~ N(mean_before_i, std_before_i^2).

    Attributes:
        mean_before: mean of each v_i, (n_hidden,).
        std_before: its standard deviation, > 0, alike.
    """

    mean_before: Float[Array, " hidden"]
    std_before: Float[Array, " hidden"]

    def __post_init__(self):
        object.__setattr__(self, "n_hidden", self.mean_before.shape[-1])
        law = dist.TruncatedNormal(self.mean_before, self.std_before, low=0.0)
        object.__setattr__(self, "slab", law)
        # Written out: inside jit NumPyro's law does not show that it ends at 0.
        slab = truncated_normal_slab(self.mean_before, self.std_before)
        object.__setattr__(self, "tilting_slab", slab)

    @property
    @override
    def active_range(self) -> tuple[int, int]:
        return 0, self.n_hidden

    @property
    @override
    def inclusion_logit(self) -> Float[Array, " hidden"]:
        return _log_odds_above_zero(self.mean_before / self.std_before)


@jax.jit
def _log_odds_above_zero(t: Float[Array, "..."]) -> Float[Array, "..."]:
    """Log odds of Z + t > 0, Z standard normal."""
    above, below = (log_scaled_ndtr(one) for one in (t, -t))
    return above - below + 0.5 * t * jnp.abs(t)


@pytree(data=("mean", "loadings", "noise_var", "projection", "factor_std"), meta=("n_hidden",))
@dataclass(frozen=True, init=False)
class RectifiedGaussian(ConditionalPrior):
    """h = max(v, 0), v ~ N(mean, covariance): correlated units, each 0 with positive probability.

    Site `factor` of its program is g, (num_factors,). A covariance matrix is split into
    loadings loadings' + diag(noise_var) with as much noise as it has, noise_var in proportion to
    the variance of each v_i given all others: exactly the same law.

    Args:
        mean: of v, (n_hidden,), any real numbers.
        covariance: of v, (n_hidden, n_hidden), symmetric and positive definite.

    Attributes:
        mean: of v.
        loadings: (n_hidden, num_factors).
        noise_var: variance of v_i given the factor, (n_hidden,), > 0.
        projection: E[factor | v] = projection (v - mean), (num_factors, n_hidden).
        factor_std: a square root of Cov[factor | v], (num_factors, num_factors).

    Raises:
        ValueError: shapes do not fit, or the covariance is not symmetric and positive definite.
    """

    auxiliary = ("factor",)
    mean: Float[Array, " hidden"]
    loadings: Float[Array, "hidden factor"]
    noise_var: Float[Array, " hidden"]
    projection: Float[Array, "factor hidden"]
    factor_std: Float[Array, "factor factor"]

    def __init__(self, mean: ArrayLike, covariance: ArrayLike):
        check_real("mean", mean)
        check_real("covariance", covariance)
        if not is_concrete((mean, covariance)):
            raise Refusal(
                "RectifiedGaussian needs mean and covariance as numbers, not traced: inside jit "
                "use RectifiedGaussian.from_factors"
            )
        mean, covariance = np.asarray(mean, float), np.asarray(covariance, float)
        _check_covariance(mean, covariance)
        self._keep(mean, *_split(covariance))

    @classmethod
    def from_factors(
        cls, mean: ArrayLike, loadings: ArrayLike, noise_var: ArrayLike
    ) -> "RectifiedGaussian":
        """The same law in factor form: covariance = loadings loadings' + diag(noise_var).

        Args:
            mean: of v, (n_hidden,).
            loadings: (n_hidden, num_factors), any number of factors.
            noise_var: > 0, a number or (n_hidden,).

        Raises:
            ValueError: shapes do not fit, or a variance is not positive.
        """
        for name, value in (("mean", mean), ("loadings", loadings), ("noise_var", noise_var)):
            check_real(name, value)
        if is_concrete((mean, loadings, noise_var)):
            _check_factors(*(np.asarray(a, float) for a in (mean, loadings, noise_var)))
        mean, loadings = as_floats(mean), as_floats(loadings)
        prior = object.__new__(cls)
        prior._keep(mean, loadings, jnp.broadcast_to(as_floats(noise_var), mean.shape))
        return prior

    def _keep(self, mean: ArrayLike, loadings: ArrayLike, noise_var: ArrayLike) -> None:
        mean, loadings, noise_var = map(as_floats, (mean, loadings, noise_var))
        precision = jnp.eye(loadings.shape[1]) + loadings.T @ (loadings / noise_var[:, None])
        root = jnp.linalg.cholesky(precision)
        solve = lambda right: jax.scipy.linalg.solve_triangular(root, right, lower=True)  # noqa: E731
        back = lambda right: jax.scipy.linalg.solve_triangular(root, right, lower=True, trans=1)  # noqa: E731
        values = {
            "n_hidden": mean.shape[0],
            "mean": mean,
            "loadings": loadings,
            "noise_var": noise_var,
            "projection": back(solve((loadings / noise_var[:, None]).T)),
            "factor_std": back(jnp.eye(loadings.shape[1])),
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @property
    def covariance(self) -> Float[Array, "hidden hidden"]:
        """Of v."""
        return self.loadings @ self.loadings.T + jnp.diag(self.noise_var)

    @property
    def precision(self) -> Float[Array, "hidden hidden"]:
        """Inverse of the covariance of v."""
        scaled = self.loadings / self.noise_var[:, None]
        return jnp.diag(1.0 / self.noise_var) - scaled @ self.projection

    @property
    @override
    def marginal(self) -> RectifiedNormal:
        """Every unit by itself."""
        var = jnp.square(self.loadings).sum(1) + self.noise_var
        return RectifiedNormal(self.mean, jnp.sqrt(var))

    def log_prob(self, h: Float[Array, "*batch hidden"]) -> Float[Array, "*batch"]:
        """Log density of h, a mass at 0 for each unit; see `log_prob_and_error`."""
        return self.log_prob_and_error(h)[0]

    def log_prob_and_error(
        self, h: Float[Array, "*batch hidden"]
    ) -> tuple[Float[Array, "*batch"], Float[Array, "*batch"]]:
        """Log density of h and its standard error, from a fixed set of points.

        The density of the active units is normal; that the others lie below 0 given those is an
        integral, by the simulator of Geweke, Hajivassiliou and Keane on 8 shifted lattices, whose
        spread is the error. With a hundred silent units that depend on each other it is large.

        Source: Genz 1992; Hajivassiliou, McFadden and Ruud 1996.
        """
        rows = h.reshape(-1, self.n_hidden)
        estimates = jax.lax.map(
            lambda row: orthant_log_density(row, self.mean, self.covariance), rows
        )
        value = jax.nn.logsumexp(estimates, axis=1) - jnp.log(estimates.shape[1])
        spread = jnp.exp(estimates - value[:, None]).std(1, ddof=1) / jnp.sqrt(estimates.shape[1])
        return value.reshape(h.shape[:-1]), spread.reshape(h.shape[:-1])

    @override
    def __call__(self) -> Float[Array, " hidden"]:
        """Sites: `factor`, and the noise beside it."""
        normal = lambda size: dist.Normal().expand([size]).to_event(1)  # noqa: E731
        factor = numpyro.sample("factor", normal(self.loadings.shape[1]))
        noise = numpyro.sample("factor_noise", normal(self.n_hidden), infer=internal())
        v = self.mean + self.loadings @ factor + jnp.sqrt(self.noise_var) * noise
        return jnp.maximum(v, 0.0)

    @override
    def given(self, u: Auxiliary) -> RectifiedNormal:
        return RectifiedNormal(self.mean + self.loadings @ u["factor"], jnp.sqrt(self.noise_var))

    @override
    def renew(self, key: PRNGKeyArray, u: Auxiliary, h: Float[Array, " hidden"]) -> Auxiliary:
        """The negative v of silent units given the factor, then the factor given v."""
        key_silent, key_factor = jax.random.split(key)
        return self.behind(key_factor, self.before(key_silent, u, h))

    @property
    @override
    def coupling(self) -> "RectifiedGaussian":
        return self

    def before(
        self, key: PRNGKeyArray, u: Auxiliary, h: Float[Array, " hidden"]
    ) -> Float[Array, " hidden"]:
        """A draw of v given the factor and h."""
        law = self.given(u)
        t = law.mean_before / law.std_before
        excess = excess_from_uniform(open_uniform(key, t.shape, t.dtype), t, upper_tail(t))
        return jnp.where(h > 0, h, -law.std_before * excess)

    def behind(self, key: PRNGKeyArray, v: Float[Array, " hidden"]) -> Auxiliary:
        """A draw of the factor given v."""
        noise = jax.random.normal(key, self.loadings.shape[1:], v.dtype)
        return {"factor": self.projection @ (v - self.mean) + self.factor_std @ noise}


def _split(covariance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Loadings and noise_var of a covariance matrix."""
    scale = 1.0 / np.sqrt(np.diag(np.linalg.inv(covariance)))  # of each v_i given all others
    values, vectors = np.linalg.eigh(covariance / np.outer(scale, scale))
    share = values[0]
    kept = values > share * (1 + ROUNDING)
    loadings = scale[:, None] * vectors[:, kept] * np.sqrt(values[kept] - share)
    return loadings, share * scale**2


def _check_covariance(mean: np.ndarray, covariance: np.ndarray) -> None:
    if mean.ndim != 1 or covariance.shape != (mean.size, mean.size) or not mean.size:
        raise Refusal(
            "mean must have shape (n_hidden,) and covariance (n_hidden, n_hidden); got shapes "
            f"{mean.shape} and {covariance.shape}"
        )
    if not (np.all(np.isfinite(mean)) and np.all(np.isfinite(covariance))):
        raise Refusal("mean and covariance must be finite; got NaN or infinity")
    scale = np.sqrt(np.abs(np.diag(covariance)))
    if not np.all(scale > 0) or not np.all(np.diag(covariance) > 0):
        raise Refusal("covariance must have positive variances on its diagonal")
    correlation = covariance / np.outer(scale, scale)
    if np.abs(correlation - correlation.T).max() > ROUNDING:
        raise Refusal("covariance must be symmetric")
    smallest = np.linalg.eigvalsh(correlation)[0]
    if smallest < ROUNDING:
        raise Refusal(
            f"covariance must be positive definite; its correlations have the eigenvalue "
            f"{smallest:.3g}: shrink it, as pr.fit_prior does, or use from_factors with some noise"
        )


def _check_factors(mean: np.ndarray, loadings: np.ndarray, noise_var: np.ndarray) -> None:
    if mean.ndim != 1 or not mean.size or loadings.ndim != 2 or len(loadings) != mean.size:
        raise Refusal(
            "mean must have shape (n_hidden,) and loadings (n_hidden, num_factors); got shapes "
            f"{mean.shape} and {loadings.shape}"
        )
    if noise_var.shape not in ((), mean.shape):
        raise Refusal(f"noise_var must be a number or (n_hidden,); got shape {noise_var.shape}")
    if not all(np.all(np.isfinite(part)) for part in (mean, loadings, noise_var)):
        raise Refusal("mean, loadings and noise_var must be finite; got NaN or infinity")
    if not np.all(noise_var > 0):
        raise Refusal(f"noise_var must be positive; got {noise_var.min():.3g}")
