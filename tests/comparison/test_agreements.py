"""Who is held against whom."""

import jax
import numpy as np
import pytest
import xarray as xr

from probrev.comparison import agreements
from probrev.posterior.posterior import Kind, Posterior, from_draws
from tests.small_case import MODEL, OTHER

OBS = MODEL.simulate(jax.random.key(0), 4)


@pytest.fixture
def held(monkeypatch):
    """Whom `measure_agreements` holds against whom, none of it measured."""
    monkeypatch.setattr(agreements, "measure_agreement", lambda own, reference, seed: reference)

    def held(posteriors, models=None):
        models = dict.fromkeys(posteriors, MODEL) | (models or {})
        return set(agreements.measure_agreements(posteriors, models, 0))

    return held


def sampled(rows=slice(0, 4)):
    draws = np.zeros((2, 5, 4, 4))[:, :, rows]
    return from_draws("sampler", draws, OBS.x[rows], model=MODEL)


def exact():
    """A posterior that says it is exact, which takes no more than the name of a group."""
    tree = sampled().tree.copy()
    tree["exact"] = xr.DataTree(xr.Dataset())
    return Posterior(tree, MODEL)


def test_samplers_are_held_against_what_is_exact_where_anything_is(held):
    assert exact().kind is Kind.EXACT
    samplers = {"one": sampled(), "two": sampled()}
    assert held({**samplers, "exact": exact()}) == {("one", "exact"), ("two", "exact")}
    assert held(samplers) == {("two", "one")}
    assert held({"exact": exact(), "again": exact()}) == set()


def test_posteriors_under_other_models_are_not(held):
    assert held({"exact": exact(), "one": sampled()}, {"one": OTHER}) == set()
