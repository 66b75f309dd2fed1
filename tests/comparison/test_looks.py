"""Looks: what is kept from one to the next, when they end, and what is refused."""

from typing import NamedTuple

import jax
import numpy as np
import pandas as pd
import pytest
from numpyro.distributions import HalfNormal

import probrev as pr
from probrev.comparison import agreements
from probrev.nets.fitting.checks import Check
from probrev.posterior.joined import join_posteriors
from probrev.posterior.posterior import from_draws
from probrev.posterior.status import Status
from tests.small_case import LAYER, MODEL

LOOKS = (16, 24, 40)
MIDDLE = MODEL.simulate(jax.random.key(3), 40)


@pytest.fixture(autouse=True)
def no_curve(monkeypatch):
    monkeypatch.setattr("probrev.comparison.compare.noise_curve", lambda key, model: None)


def exact(key, model, obs):
    return pr.exact(model, obs, num_draws=4000, seed=int(jax.random.bits(key) >> 1))


def read_out(x):
    return np.maximum(np.asarray(LAYER.readout(x)) - 0.3, 0)


def far(x):
    return np.full((len(x), 4), 9.0)


def near_the_limit(x):
    """R is 1.5 in expectation: an excess risk of 0 to 1 times the posterior variance, by x."""
    exact = pr.exact(MODEL, pr.Observations(x), num_draws=4)
    share = (1000 * np.asarray(x).sum(1, keepdims=True)) % 1
    claimed = exact.var.to_numpy().sum(1, keepdims=True)
    return exact.mean.to_numpy() + np.sqrt(share * claimed) / 2


@pytest.mark.slow
def test_it_ends_with_the_first_look_that_decides():
    begun = []
    result = pr.compare_until(
        jax.random.key(0), MODEL, {"far": far}, {"exact": exact}, looks=LOOKS, begin=begun.append
    )
    assert [look.num_obs for look in begun] == [16]
    assert result.tree["data"].sizes["obs"] == 16
    verdict = result.verdicts[0]
    assert (verdict.word, verdict.num_obs) == ("far", 16)
    assert verdict.interval_prob == pytest.approx(1 - 0.05 / 3)
    assert "1 of 1 inverses decided against exact (far: far)." in result.headline
    assert result.tree.attrs["looks"] == '{"planned": [16, 24, 40], "taken": 1}'


@pytest.mark.slow
def test_later_looks_keep_observations_and_draws():
    seen, begun = [], []

    def remember(key, model, obs):
        seen.append(exact(key, model, obs))
        return seen[-1]

    calls = []

    def check(key, model, obs):
        calls.append(obs.num_obs)
        return from_draws("sampler", exact(key, model, obs).draws, obs.x, model=model)

    inverses = {"far": far, "limit": near_the_limit}
    result = pr.compare_until(
        jax.random.key(0), MODEL, inverses, {"exact": remember, "check": check}, looks=LOOKS,
        begin=begun.append,
    )  # fmt: skip
    assert [look.num_obs for look in begun] == list(LOOKS)
    assert np.isnan(begun[0].seconds)
    assert all(look.seconds > 0 for look in begun[1:])
    assert [len(one.obs) for one in seen] == [16, 8, 16]
    assert calls == [16]
    found = result.posteriors["exact"]
    np.testing.assert_array_equal(found.obs, np.arange(40))
    np.testing.assert_array_equal(found.draws[:, :, :16], seen[0].draws)
    np.testing.assert_array_equal(found.mean[16:24], seen[1].mean)
    # Batches do not share the random numbers of their draws.
    assert not np.array_equal(seen[0].draws[:, :, :8] > 0, seen[1].draws > 0)
    words = {(v.inverse, v.posterior): (v.word, v.num_obs, v.planned) for v in result.verdicts}
    assert words["limit", "exact"] == ("undecided", 40, True)
    assert words["limit", "check"][1:] == (16, False)


@pytest.mark.slow
def test_what_a_look_keeps_is_what_it_would_measure(monkeypatch):
    """The check is measured at the first of three looks only, and all as if at the last."""
    measured = []
    original = agreements.measure_agreement
    monkeypatch.setattr(
        agreements, "measure_agreement",
        lambda *args, **kwargs: measured.append(args) or original(*args, **kwargs),
    )  # fmt: skip

    def check(key, model, obs):
        return from_draws("sampler", exact(key, model, obs).draws, obs.x, model=model)

    inverses = {"far": far, "limit": near_the_limit}
    found = pr.compare_until(
        jax.random.key(0), MODEL, inverses, {"exact": exact, "check": check}, looks=LOOKS
    )
    assert len(measured) == 1
    data = found.tree["data"], found.tree["truth"]
    obs = pr.Observations(data[0]["x"].to_numpy(), data[1]["h"].to_numpy(), origin="model")
    whole = pr.compare(
        MODEL, obs, inverses, found.posteriors, interval_prob=1 - 0.05 / len(LOOKS)
    )  # fmt: skip
    assert len(measured) == 2
    kept, anew = (one.table().query("metric != 'seconds_per_obs'") for one in (found, whole))
    pd.testing.assert_frame_equal(kept, anew)
    assert found.verdicts == whole.verdicts


@pytest.mark.slow
def test_only_planned_verdicts_keep_it_going():
    result = pr.compare_until(
        jax.random.key(0), MODEL, {"far": far, "limit": near_the_limit}, {"exact": exact},
        looks=LOOKS, planned=["far"],
    )  # fmt: skip
    assert result.verdicts[0].num_obs == 16
    assert [verdict.planned for verdict in result.verdicts] == [True, False]


@pytest.mark.slow
def test_a_posterior_that_may_not_judge_ends_it():
    def short(key, model, obs):
        return from_draws("sampler", exact(key, model, obs).draws[:, :9], obs.x, model=model)

    result = pr.compare_until(
        jax.random.key(0), MODEL, {"limit": near_the_limit}, {"short": short}, looks=LOOKS
    )
    assert result.verdicts[0].num_obs == 16
    assert not result.conclusive
    assert result.headline.startswith("Inconclusive: short is unchecked (36 draws, wanted at ")


@pytest.mark.slow
def test_methods_by_name():
    result = pr.compare_until(jax.random.key(0), MODEL, {"far": far}, ["exact"], looks=[16])
    assert list(result.posteriors) == ["exact"]
    assert result.verdicts[0].interval_prob == pytest.approx(0.95)


class Own(NamedTuple):
    """A model of the user's own, which marks nothing that it simulates."""

    inner: pr.LayeredModel

    def simulate(self, key, num_obs):
        drawn = self.inner.simulate(key, num_obs)
        return pr.Observations(drawn.x, drawn.h)

    def __getattr__(self, name):
        return getattr(self.inner, name)


@pytest.mark.slow
def test_what_a_users_own_model_simulates_is_its_own():
    found = pr.compare_until(jax.random.key(0), Own(MODEL), {"far": far}, ["exact"], looks=[16])
    assert found.verdicts[0].word == "far"
    assert found.tree["data"].attrs["origin"] == "model"


@pytest.mark.parametrize("looks", [(), (0, 3), (8, 8), (16, 4)])
def test_looks_must_increase(looks):
    with pytest.raises(ValueError, match="looks must be positive and increase"):
        pr.compare_until(jax.random.key(0), MODEL, {"far": far}, ["exact"], looks=looks)


def test_too_few_observations_are_refused():
    few = MODEL.simulate(jax.random.key(0), 20)
    with pytest.raises(ValueError, match="observe was asked for 40 observations; it gave 20"):
        pr.compare_until(
            jax.random.key(0), MODEL, {"far": far}, ["exact"], looks=LOOKS,
            observe=lambda key, num_obs: few,
        )  # fmt: skip


# Posteriors of batches


def halves(posterior_of):
    return [posterior_of(MIDDLE[:16]), posterior_of(MIDDLE[16:])]


@pytest.mark.slow
def test_an_exact_posterior_is_the_same_in_batches():
    whole = pr.exact(MODEL, MIDDLE)
    joined = join_posteriors(halves(lambda obs: pr.exact(MODEL, obs)), [0, 16])
    assert joined.kind is whole.kind
    for name in ("mean", "var", "inclusion_prob", "obs"):
        np.testing.assert_allclose(getattr(joined, name), getattr(whole, name), rtol=1e-12)
    np.testing.assert_array_equal(joined.tree["observed_data/x"], MIDDLE.x)
    np.testing.assert_allclose(
        joined.tree["exact/top_log_prob"], whole.tree["exact/top_log_prob"], atol=1e-12
    )
    assert joined.tree["exact/top_states"].dims == whole.tree["exact/top_states"].dims


@pytest.mark.slow
def test_a_sampled_posterior_is_diagnosed_anew():
    draws = pr.exact(MODEL, MIDDLE, num_draws=4000).draws.to_numpy()

    def sampled(rows, step=1):
        return from_draws("sampler", draws[:, ::step, rows], MIDDLE.x[rows], model=MODEL)

    whole = sampled(slice(0, 40), 2)
    joined = join_posteriors([sampled(slice(0, 16)), sampled(slice(16, 40), 2)], [0, 16])
    assert joined.draws.sizes == whole.draws.sizes
    np.testing.assert_array_equal(joined.draws[:, :, 16:], whole.draws[:, :, 16:])
    assert joined.status is Status.OK
    assert set(joined.tree.children) == set(whole.tree.children)
    assert joined.tree["diagnostics/ess_bulk"].shape == (40, 4)
    assert not joined.tree["diagnostics/behaviour"].isnull().any()


@pytest.mark.slow
def test_the_worst_status_of_a_batch_stands_for_all():
    one, two = halves(lambda obs: pr.exact(MODEL, obs))
    two.tree.attrs |= {"status": "inaccurate", "status_reason": "integrals"}
    joined = join_posteriors([one, two], [0, 16])
    assert (joined.status, joined.status_reason) == (Status.INACCURATE, "integrals")
    assert joined.tree.attrs["run_seconds"] == pytest.approx(
        one.tree.attrs["run_seconds"] + two.tree.attrs["run_seconds"]
    )


@pytest.mark.slow
def test_batches_may_be_covered_in_part():
    """As hmc does, which takes minutes for each observation."""
    exact = pr.exact(MODEL, MIDDLE)
    joined = join_posteriors(halves(lambda obs: pr.exact(MODEL, obs[:2])), [0, 16])
    np.testing.assert_array_equal(joined.obs, [0, 1, 16, 17])
    np.testing.assert_allclose(joined.mean, exact.mean[[0, 1, 16, 17]], rtol=1e-12)
    np.testing.assert_array_equal(joined.tree["observed_data/x"], MIDDLE.x[np.array(joined.obs)])


FITS = (Check("zeros", 0.002, float("nan"), "within 0.01", True, "Zeros are as they are."),)


def too_low(key, model, obs):
    """Chains that have converged, to something else."""
    posterior = pr.gibbs(key, model, obs, num_samples=1000)
    return from_draws("gibbs", 0.7 * posterior.draws, obs.x, model=model)


@pytest.mark.slow
def test_under_a_fitted_model_chains_from_the_truth_must_end_in_the_same_posterior():
    rng = np.random.default_rng(0)
    layer = pr.Layer(rng.normal(size=(30, 4)), keep_prob=0.9, noise_std=1.0)
    model = pr.LayeredModel(pr.SpikeAndSlab(4, 0.5, HalfNormal(1.0)), [layer])

    def reason(method, checks=FITS):
        result = pr.compare_until(
            jax.random.key(0), model, {"far": far}, {"gibbs": method}, looks=(16,), checks=checks
        )
        return result, result.verdicts[0].reason

    result, said = reason(too_low)
    assert result.verdicts[0].word == "inconclusive"
    assert "gibbs from the h that made x: its chains end elsewhere (" in said
    assert result.tree["checks"].attrs["starts"] == "disagrees"
    sound, _ = reason(pr.gibbs)
    assert sound.verdicts[0].word == "far"
    assert sound.tree["checks"].attrs["starts"] == "agrees"
    _, unasked = reason(too_low, checks=None)
    assert "from the h that made x" not in unasked
