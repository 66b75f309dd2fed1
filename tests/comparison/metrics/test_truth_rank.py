"""The rank test: its p-value by enumeration, its level, and what it convicts."""

import dataclasses
import itertools

import jax
import numpy as np
import pytest
import xarray as xr

import probrev as pr
from probrev.comparison.metrics import Case
from probrev.comparison.metrics.truth_rank import rank_truth, truth_rank
from probrev.posterior.posterior import from_draws
from tests.small_case import LAYER, MODEL

NUM_OBS = 40


def make_case(posterior, obs, estimates, seed=0):
    coords = {"obs": posterior.obs}
    names = [f"inverse_{index}" for index in range(len(estimates))]
    return Case(
        posterior=posterior,
        estimates=xr.DataArray(
            np.stack(estimates), {"inverse": names, **coords}, ("inverse", "obs", "hidden")
        ),
        truth=xr.DataArray(np.asarray(obs.h), coords, ("obs", "hidden")),
        x=xr.DataArray(np.asarray(obs.x), coords, ("obs", "visible")),
        model=MODEL,
        seed=seed,
    )


def estimate(obs, mean):
    """A plain net, and one that all but is the posterior mean."""
    net = np.maximum(np.asarray(LAYER.readout(obs.x)) - 0.3, 0)
    return [net, mean + 0.02 * (net - mean)]


def p_of(posterior, obs, seed=0):
    case = make_case(posterior, obs, estimate(obs, posterior.mean.to_numpy()), seed)
    (row,) = truth_rank(case).rows
    assert (row.metric, row.subject) == ("truth_rank_p", "posterior")
    return row.value


def test_p_value_is_the_share_of_all_assignments():
    """Three observations with four candidates each: every assignment of one of them as h."""
    rng = np.random.default_rng(0)
    projections = [rng.normal(size=(2, 4)) + (np.arange(4) == 0) for _ in range(3)]
    centered = [one - one.mean(1, keepdims=True) for one in projections]
    scale = np.sqrt(sum((one**2).mean(1) for one in centered))
    largest = {
        picks: (np.abs(sum(one[:, at] for one, at in zip(centered, picks, strict=True)))
                / scale).max()
        for picks in itertools.product(range(4), repeat=3)
    }  # fmt: skip
    exact = np.mean([one >= largest[0, 0, 0] - 1e-12 for one in largest.values()])
    found = rank_truth(projections, np.random.default_rng(1))
    assert abs(found - exact) < 4 * np.sqrt(exact * (1 - exact) / 9999) + 1e-4


@pytest.mark.slow
def test_the_right_posterior_is_as_likely_anywhere():
    """60 data sets, exact posteriors: p-values are uniform, and none is at most 1e-3."""
    every = MODEL.simulate(jax.random.key(5), 60 * NUM_OBS)
    exact = pr.exact(MODEL, every, num_draws=400)
    p = []
    for index in range(60):
        rows = slice(index * NUM_OBS, (index + 1) * NUM_OBS)
        draws = exact.draws.isel(obs=rows)
        tree = exact.tree.map_over_datasets(
            lambda group, rows=rows: group.isel(obs=rows, missing_dims="ignore")
        )
        tree.attrs = exact.tree.attrs
        assert draws.sizes["obs"] == NUM_OBS
        p.append(p_of(dataclasses.replace(exact, tree=tree), every[rows], index))
    p = np.sort(p)
    assert p[0] > 1e-3
    # Kolmogorov's distance of 60 uniform values is below .25 but once in a thousand times.
    assert np.abs(p - (np.arange(60) + 0.5) / 60).max() < 0.25


@pytest.mark.slow
def test_a_sampled_posterior_is_split_by_chains():
    """mu from two chains and draws from the others."""
    obs = MODEL.simulate(jax.random.key(6), NUM_OBS)
    draws = pr.exact(MODEL, obs, num_draws=4000).draws.to_numpy()
    assert p_of(from_draws("sampler", draws, obs.x, model=MODEL), obs) > 0.01


@pytest.mark.slow
@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param(dataclasses.replace(LAYER, gain=2 * LAYER.gain), marks=pytest.mark.slow),
        dataclasses.replace(LAYER, noise_std=2.5 * LAYER.noise_std),
    ],
)
def test_another_posterior_is_convicted(wrong):
    obs = MODEL.simulate(jax.random.key(12), 400)
    model = pr.LayeredModel(MODEL.prior, [wrong])
    assert p_of(pr.exact(model, obs, num_draws=400), obs) <= 1e-3
    assert p_of(pr.exact(MODEL, obs, num_draws=400), obs) > 1e-3


@pytest.mark.slow
def test_nothing_is_said_where_nothing_can_be():
    obs = MODEL.simulate(jax.random.key(7), 5)
    exact = pr.exact(MODEL, obs)
    case = make_case(exact, obs, [exact.mean.to_numpy()])
    assert not truth_rank(case).rows
    assert not truth_rank(dataclasses.replace(case, truth=None)).rows
