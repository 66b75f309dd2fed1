"""A model whose posterior is Gaussian, its exact draws by NumPy, and faults to plant in them."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

import probrev as pr


class Shifted(NamedTuple):
    """h_i = offset + shift + N(0, 1), shift ~ N(0, 1) a site of its own, x = h + N(0, noise²)."""

    noise_std: jax.Array
    offset: jax.Array
    n_visible = 2
    n_hidden = 2

    def simulate(self, key, num_obs):
        draws = jax.random.normal(key, (num_obs, 5))
        shift = draws[:, 0]
        h = self.offset + shift[:, None] + draws[:, 1:3]
        x = h + self.noise_std * draws[:, 3:]
        return pr.Observations(x, h, sites={"shift": shift})

    def log_likelihood(self, h, x):
        return dist.Normal(h, self.noise_std).log_prob(x).sum(-1)


MODEL = Shifted(jnp.asarray(0.8), jnp.asarray(0.3))


def draw(key, model, x, num_draws, *, widened=1.0, moved=0.0, ignores_x=False):
    """Exact draws of (shift, h | x), or wrong ones, (draw, obs, 3)."""
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    prior = np.array([[1.0, 1.0, 1.0], [1.0, 2.0, 1.0], [1.0, 1.0, 2.0]])
    noisy = prior[1:, 1:] + np.eye(2) * float(model.noise_std) ** 2
    pull = np.zeros((3, 2)) if ignores_x else prior[:, 1:] @ np.linalg.inv(noisy)
    spread = widened**2 * (prior - pull @ prior[1:])
    mean = (np.asarray(x) - float(model.offset)) @ pull.T + moved
    found = rng.multivariate_normal(np.zeros(3), spread, size=(num_draws, len(mean))) + mean
    found[..., 1:] += float(model.offset)
    return found


def infer(key, model, obs, *, num_draws=500, **faults):
    """The posterior by `draw`."""
    both = draw(key, model, obs.x, num_draws, **faults)[None]
    h = both[..., 1:]
    return pr.from_draws(
        "plain", h, obs.x, model=model, sampling="iid", sites={"shift": both[..., 0]}
    )
