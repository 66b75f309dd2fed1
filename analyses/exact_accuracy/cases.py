"""Random small posteriors that strain integrals over supports: made by seed, in plain NumPy."""

from typing import NamedTuple

import numpy as np
import numpyro.distributions as dist

import probrev as pr

# n_visible, n_hidden, max_active, by the last: few, so that few programs are compiled.
SHAPES = {
    2: ((12, 3, 2), (4, 4, 2), (7, 3, 2)),
    3: ((10, 3, 3), (4, 3, 3)),
    4: ((8, 4, 4),),
}
SLABS = ("half_normal", "exponential", "truncated_normal")
KINDS = ("gaussian", "correlated", "repeated", "negative", "negative_correlated")


class Case(NamedTuple):
    """One model of one ReLU layer and one observation, as plain numbers.

    Attributes:
        weights: W, (visible, hidden).
        keep_prob: rho in [.05, 1].
        noise_std: sigma in [.05, 5].
        gain: alpha in [.01, 100].
        inclusion_prob: of each unit, (hidden,).
        slab: one of SLABS.
        loc: of the normal that is cut at 0, (hidden,); 0 where there is none.
        scale: of the normal, or 1 / rate, (hidden,).
        max_active: most active units.
        x: (visible,).
    """

    weights: np.ndarray
    keep_prob: float
    noise_std: float
    gain: float
    inclusion_prob: np.ndarray
    slab: str
    loc: np.ndarray
    scale: np.ndarray
    max_active: int
    x: np.ndarray


def draw_case(seed: int, shape: tuple[int, int, int]) -> Case:
    """A case of a shape, everything else random."""
    n_visible, n_hidden, max_active = shape
    rng = np.random.default_rng([seed, *shape])
    slab = SLABS[rng.integers(3)]
    own = rng.uniform(size=n_hidden) if rng.uniform() < 0.5 else np.full(n_hidden, rng.uniform())
    scale = 0.2 * 15**own
    loc = scale * rng.uniform(-2, 2) if slab == "truncated_normal" else np.zeros(n_hidden)
    keep_prob = 1.0 if rng.uniform() < 0.2 else _between(rng, 0.05, 1)
    noise_std, gain = _between(rng, 0.05, 5), _between(rng, 0.01, 100)
    weights = draw_weights(rng, n_visible, n_hidden)
    active = rng.choice(n_hidden, rng.integers(max_active + 1), replace=False)
    h = np.zeros(n_hidden)
    h[active] = scale[active] * rng.exponential(size=len(active))
    x = gain * _draw_y(rng, weights @ h, noise_std, keep_prob)
    inclusion_prob = rng.uniform(0.05, 0.6, n_hidden)
    return Case(
        weights, keep_prob, noise_std, gain, inclusion_prob, slab, loc, scale, max_active, x
    )


def draw_weights(rng: np.random.Generator, n_visible: int, n_hidden: int) -> np.ndarray:
    """Columns that are independent, alike, multiples of one another or negative; or badly scaled.

    A quarter of the matrices have columns of scales between 1e-3 and 1e3.
    """
    kind = KINDS[rng.integers(len(KINDS))]
    weights = rng.normal(size=(n_visible, n_hidden))
    if "correlated" in kind:
        weights = weights[:, :1] + _between(rng, 1e-3, 0.5) * weights
    if kind == "repeated":
        weights[:, 1] = weights[:, 0] * rng.choice([1.0, 0.5, 2.0])
    if "negative" in kind:
        weights = -np.abs(weights)
    if rng.uniform() < 0.25:
        weights = weights * 10 ** rng.uniform(-3, 3, n_hidden)
    return weights


def _draw_y(
    rng: np.random.Generator, z: np.ndarray, noise_std: float, keep_prob: float
) -> np.ndarray:
    """What is seen, over the gain: from the model, all 0, one row alone or all of them."""
    noisy = z + noise_std * rng.normal(size=len(z))
    way = rng.uniform()
    if way < 0.5:
        return np.maximum(noisy, 0) * (rng.uniform(size=len(z)) < keep_prob)
    if way < 0.65:
        return np.zeros(len(z))
    if way < 0.85:
        row = rng.integers(len(z))
        return np.where(np.arange(len(z)) == row, np.abs(noisy) + 1e-3, 0.0)
    return np.abs(noisy) + 1e-3


def _between(rng: np.random.Generator, low: float, high: float) -> float:
    """A number whose logarithm is uniform."""
    return float(low * (high / low) ** rng.uniform())


def make_model(case: Case) -> pr.LayeredModel:
    """The case as a model."""
    slabs = {
        "half_normal": lambda: dist.HalfNormal(case.scale),
        "exponential": lambda: dist.Exponential(1 / case.scale),
        "truncated_normal": lambda: dist.TruncatedNormal(case.loc, case.scale, low=0.0),
    }
    n_hidden = case.weights.shape[1]
    prior = pr.SpikeAndSlab(n_hidden, case.inclusion_prob, slabs[case.slab](), case.max_active)
    layer = pr.Layer(case.weights, case.keep_prob, case.noise_std, case.gain)
    return pr.LayeredModel(prior, [layer])
