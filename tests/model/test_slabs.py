"""Slabs: checks at the door, canonical forms, slabs per unit."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
import scipy.stats

from probrev.model.slabs import FiniteSlab, LogQuadraticSlab, canonical_slab, check_slab, unit_slab

VALUES, PROBS = np.array([0.3, 0.9, 2.2]), np.array([0.5, 0.2, 0.3])


def test_finite_slab_is_the_discrete_law():
    slab = FiniteSlab(VALUES, PROBS)
    assert slab.support.is_discrete
    np.testing.assert_allclose(jnp.exp(slab.log_prob(VALUES)), PROBS)
    np.testing.assert_allclose(slab.mean, PROBS @ VALUES)
    np.testing.assert_allclose(slab.variance, PROBS @ VALUES**2 - (PROBS @ VALUES) ** 2)
    draws = np.asarray(slab.sample(jax.random.key(1), (40_000,)))
    frequency = (draws[:, None] == VALUES).mean(0)
    assert np.all(np.abs(frequency - PROBS) < 4.5 * np.sqrt(PROBS * (1 - PROBS) / draws.size))
    with pytest.warns(UserWarning, match="Out-of-support"):
        assert slab.log_prob(0.3 + 1e-9) == -jnp.inf


def test_finite_slab_per_unit_draws_each_units_values():
    slab = FiniteSlab([[0.3, 0.9], [1.1, 4.0]], [0.25, 0.75])
    assert slab.batch_shape == (2,)
    np.testing.assert_allclose(slab.mean, [0.75, 3.275])
    draws = np.asarray(slab.sample(jax.random.key(0), (300,)))
    assert [set(column) for column in draws.T] == [{0.3, 0.9}, {1.1, 4.0}]
    assert jax.jit(lambda s: s.log_prob(jnp.array([0.9, 1.1])))(slab).shape == (2,)


@pytest.mark.parametrize(
    ("match", "values", "probs"),
    [
        ("must be positive and finite", [0.0, 1.0], [0.5, 0.5]),
        ("must be positive and finite", [-0.5, 1.0], [0.5, 0.5]),
        ("must be positive and finite", [np.nan, 1.0], [0.5, 0.5]),
        ("must be distinct", [1.0, 0.4, 1.0], [0.2, 0.3, 0.5]),
        ("sum to 1", [0.4, 1.0], [0.5, 0.6]),
        ("sum to 1", [0.4, 1.0], [-0.5, 1.5]),
        ("same last dimension", [0.4, 1.0], [0.3, 0.3, 0.4]),
        ("must be arrays", 0.4, 1.0),
    ],
)
def test_bad_finite_slabs_are_refused(match, values, probs):
    with pytest.raises(ValueError, match=match):
        FiniteSlab(values, probs)


@pytest.mark.parametrize(
    ("slab", "reference"),
    [
        (dist.HalfNormal(0.7), scipy.stats.halfnorm(scale=0.7)),
        (dist.Exponential(1.7), scipy.stats.expon(scale=1 / 1.7)),
        (dist.TruncatedNormal(0.8, 0.6, low=0.0), scipy.stats.truncnorm(-4 / 3, np.inf, 0.8, 0.6)),
        (dist.TruncatedNormal(-6.0, 0.5, low=0.0), scipy.stats.truncnorm(12, np.inf, -6.0, 0.5)),
    ],
)
def test_canonical_form_has_the_same_density(slab, reference):
    canonical = canonical_slab(slab)
    assert isinstance(canonical, LogQuadraticSlab)
    log_density, slope, curvature = canonical
    h = np.array([0.01, 0.4, 1.3])
    density = log_density + slope * h - 0.5 * curvature * h**2
    np.testing.assert_allclose(density, reference.logpdf(h), rtol=1e-11)


@pytest.mark.parametrize(
    "slab",
    [FiniteSlab(VALUES, PROBS), dist.Gamma(2.0, 1.0), dist.TruncatedNormal(0.3, 1.0, low=0.2)],
)
def test_other_slabs_are_canonical_already(slab):
    assert canonical_slab(slab) is slab
    check_slab(slab)


def test_unit_slab_picks_a_traced_unit():
    scales = jnp.array([0.4, 1.1, 2.0])
    pick = jax.jit(lambda slab, unit: unit_slab(slab, unit))
    half_normal = pick(canonical_slab(dist.HalfNormal(scales)), 2)
    expected = [np.log(2 / (2.0 * np.sqrt(2 * np.pi))), 0.0, 0.25]
    np.testing.assert_allclose(list(half_normal), expected, rtol=1e-14)
    mixed = LogQuadraticSlab(jnp.zeros(()), -scales, jnp.ones(()))
    np.testing.assert_array_equal(list(pick(mixed, 1)), [0.0, -1.1, 1.0])
    finite = pick(FiniteSlab(np.stack([VALUES, 2 * VALUES]), PROBS), 1)
    np.testing.assert_array_equal(finite.values, 2 * VALUES)
    assert finite.batch_shape == ()


def test_unit_slab_of_a_common_slab_is_that_slab():
    slab = dist.Gamma(2.0, 1.0)
    assert unit_slab(slab, 3) is slab


@pytest.mark.parametrize(
    ("error", "match", "slab"),
    [
        (TypeError, "slab must be a NumPyro distribution", 0.7),
        (ValueError, "slab Normal has support", dist.Normal(0.0, 1.0)),
        (ValueError, r"inside \(0, inf\)", dist.Uniform(-0.1, 1.0)),
        (ValueError, r"inside \(0, inf\)", dist.TruncatedNormal(1.0, 1.0, low=-0.1)),
        (ValueError, "FiniteSlab", dist.Poisson(2.0)),
        (ValueError, "scalar", dist.Dirichlet(jnp.ones(3))),
        (ValueError, "slab Gamma has batch_shape", dist.Gamma(jnp.ones(3), 1.0)),
        (ValueError, r"batch_shape \(\) or", dist.HalfNormal(jnp.ones((2, 3)))),
    ],
)
def test_what_cannot_be_a_slab_is_refused(error, match, slab):
    with pytest.raises(error, match=match):
        check_slab(slab)


def test_slab_per_unit_without_closed_form_is_refused():
    with pytest.raises(ValueError, match="slab Gamma has batch_shape"):
        unit_slab(dist.Gamma(jnp.ones(3), 1.0), 0)
