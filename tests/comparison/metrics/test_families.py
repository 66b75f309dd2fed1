"""Each family of metrics against plain loops, with and without truth, atom and likelihood."""

import dataclasses

import jax
import numpy as np
import pytest
import xarray as xr
from scipy.stats import kstest, norm

import probrev as pr
from probrev.comparison.metrics import FAMILIES, Case
from probrev.comparison.metrics.likelihood import has_likelihood, likelihood, thin_pooled
from probrev.comparison.metrics.position import position, randomized_pit
from probrev.comparison.metrics.predictive import predictive
from probrev.comparison.metrics.risk import risk
from probrev.comparison.metrics.support import support
from probrev.posterior.posterior import Kind, from_draws
from tests import small_case
from tests.small_case import LAYER, MODEL, NUM_OBS


@pytest.fixture(params=["exact", "sampler"])
def case(request):
    return make_case(request.param)


def make_case(kind):
    obs = small_case.observe()
    rng = np.random.default_rng(8)
    net = np.maximum(np.asarray(LAYER.readout(obs.x)) - 0.3, 0)
    other = rng.gamma(1, 0.5, (NUM_OBS, 4)) * (rng.uniform(size=(NUM_OBS, 4)) < 0.5)
    coords = {"inverse": ["net", "other"], "obs": np.arange(NUM_OBS), "hidden": np.arange(4)}
    truth = xr.DataArray(np.asarray(obs.h), dims=("obs", "hidden"), coords={"obs": coords["obs"]})
    return Case(
        posterior=small_case.exact() if kind == "exact" else small_case.sampler(),
        estimates=xr.DataArray(np.stack([net, other]), coords=coords),
        truth=truth,
        x=xr.DataArray(np.asarray(obs.x), dims=("obs", "visible")),
        model=MODEL,
        seed=0,
    )


def without_atom(case):
    draws = np.random.default_rng(1).gamma(1.0, 0.5, (2, 300, NUM_OBS, 4))
    return dataclasses.replace(case, posterior=from_draws("s", draws, case.x))


def rows_of(measured):
    rows = {(row.metric, row.subject): row for row in measured.rows}
    assert len(rows) == len(measured.rows)
    return rows


def draws_of(case):
    return case.posterior.draws.to_numpy().reshape(-1, NUM_OBS, 4)


def test_risk_matches_loops(case):
    found, rows = risk(case), rows_of(risk(case))
    truth, mean = case.truth.to_numpy(), case.posterior.mean.to_numpy()
    noise = np.zeros((NUM_OBS, 4))
    if case.posterior.kind is Kind.SAMPLED:  # by the spread of its chains' means
        noise = case.posterior.mean_error_var.to_numpy()
        means = case.posterior.draws.to_numpy().mean(1)
        np.testing.assert_allclose(noise, means.var(0, ddof=1) / 4, rtol=1e-9, atol=1e-15)
        assert noise.sum() == pytest.approx(draws_of(case).var(0).sum() / 4000, rel=0.5)
    energy = sum(h @ h for h in truth)
    bayes = sum((m - h) @ (m - h) - e.sum() for m, h, e in zip(mean, truth, noise, strict=True))
    claimed = sum(one.sum() for one in case.posterior.var.to_numpy() + noise)
    assert rows["relative_risk", "posterior"].value == pytest.approx(bayes / energy)
    assert rows["claimed_relative_risk", "posterior"].value == pytest.approx(claimed / energy)
    for name, estimate in zip(("net", "other"), case.estimates.to_numpy(), strict=True):
        own = [(g - h) @ (g - h) for g, h in zip(estimate, truth, strict=True)]
        excess = [
            (g - m) @ (g - m) - e.sum() for g, m, e in zip(estimate, mean, noise, strict=True)
        ]
        assert rows["relative_risk", name].value == pytest.approx(sum(own) / energy)
        assert rows["risk_ratio", name].value == pytest.approx(sum(own) / bayes)
        assert rows["excess_risk", name].value == pytest.approx(np.mean(excess))
        np.testing.assert_allclose(found.arrays["excess_risk"].sel(inverse=name), excess)


def test_risk_without_truth(case):
    blind = dataclasses.replace(case, truth=None)
    found, rows = risk(blind), rows_of(risk(blind))
    assert set(found.arrays) == {"excess_risk", "claimed_risk"}
    assert {metric for metric, _ in rows} == {"excess_risk", "risk_ratio"}
    excess = risk(case).arrays["excess_risk"].sel(inverse="net").sum()
    claimed = case.posterior.var.sum() + case.posterior.mean_error_var.sum()
    ratio = 1 + float(excess / claimed)
    assert rows["risk_ratio", "net"].value == pytest.approx(ratio)


@pytest.mark.slow
def test_monte_carlo_noise_does_not_move_the_identity():
    """A few draws of a known posterior: uncorrected, risk is not Bayes risk + excess risk.

    And the claimed risk, which the draws' variance about their own mean understates, is right.
    """
    rng = np.random.default_rng(3)
    num_obs, num_draws = 1000, 5
    center = rng.normal(2, 1, (num_obs, 1))
    truth = center + 0.7 * rng.normal(size=(num_obs, 1))
    draws = center[None] + 0.7 * rng.normal(size=(num_draws, num_obs, 1))

    class Noisy:
        kind = Kind.SAMPLED
        mean = xr.DataArray(draws.mean(0), dims=("obs", "hidden"))
        var = xr.DataArray(draws.var(0), dims=("obs", "hidden"))
        mean_error_var = xr.DataArray(draws.var(0, ddof=1), dims=("obs", "hidden")) / num_draws

    estimate = xr.DataArray(center[None] + 0.5, dims=("inverse", "obs", "hidden"))
    case = Case(
        posterior=Noisy(),  # pyright: ignore[reportArgumentType]
        estimates=estimate.assign_coords(inverse=["net"]),
        truth=xr.DataArray(truth, dims=("obs", "hidden")),
        x=xr.DataArray(center, dims=("obs", "visible")),
        model=MODEL,
        seed=0,
    )

    def identity_z(found):
        errors = found.arrays
        left = errors["squared_error"].isel(inverse=0) - errors["bayes_squared_error"]
        residual = (left - errors["excess_risk"].isel(inverse=0)).to_numpy()
        return residual.mean() / (residual.std(ddof=1) / np.sqrt(num_obs))

    found = risk(case)
    rows = rows_of(found)
    assert abs(identity_z(found)) < 4
    excess = rows["excess_risk", "net"]
    assert abs(excess.value - 0.25) < 4 * excess.std_error
    claimed = found.arrays["claimed_risk"].to_numpy()
    assert abs(claimed.mean() - 0.49) < 4 * claimed.std() / np.sqrt(num_obs)
    Noisy.mean_error_var = xr.zeros_like(Noisy.var)
    assert abs(identity_z(risk(dataclasses.replace(case)))) > 4


def test_support_matches_loops(case):
    found, rows = support(case), rows_of(support(case))
    truth, draws = case.truth.to_numpy() > 0, draws_of(case) > 0
    inclusion = case.posterior.inclusion_prob.to_numpy()
    guesses = dict(zip(("net", "other"), case.estimates.to_numpy() > 0, strict=True))
    for name, guess in {**guesses, "posterior": inclusion > 0.5}.items():
        hits = sum(int(g and t) for g, t in zip(guess.flat, truth.flat, strict=True))
        precision, recall = hits / guess.sum(), hits / truth.sum()
        assert rows["support_precision", name].value == pytest.approx(precision)
        assert rows["support_recall", name].value == pytest.approx(recall)
        f1 = 2 * precision * recall / (precision + recall)
        assert rows["support_f1", name].value == pytest.approx(f1)
        exactly = np.mean([np.array_equal(g, t) for g, t in zip(guess, truth, strict=True)])
        assert rows["support_exact_match", name].value == pytest.approx(exactly)
    for name, guess in guesses.items():
        prob = [np.mean([np.array_equal(d[i], guess[i]) for d in draws]) for i in range(NUM_OBS)]
        np.testing.assert_allclose(found.arrays["support_prob"].sel(inverse=name), prob)
        assert rows["support_prob", name].value == pytest.approx(np.mean(prob))
    prob = np.where(truth, inclusion, 1 - inclusion)
    if case.posterior.kind is Kind.SAMPLED:
        prob = (prob * 4000 + 0.5) / 4001
    assert rows["brier", "posterior"].value == pytest.approx(((inclusion - truth) ** 2).mean())
    assert rows["log_score", "posterior"].value == pytest.approx(-np.log(prob).mean())


@pytest.mark.parametrize(("num_obs", "kept"), [(1, 400), (163, 400), (512, 128), (5000, 100)])
def test_of_more_observations_fewer_draws_are_evaluated(num_obs, kept):
    draws = xr.DataArray(np.broadcast_to(np.arange(900.0), (1, num_obs, 900)).T,
                         dims=("sample", "obs", "hidden"))  # fmt: skip
    found = thin_pooled(draws)
    assert found.sizes["sample"] == kept
    # Evenly spaced, so that every chain is in it.
    assert found[0, 0, 0] == 0
    assert found[-1, 0, 0] == 899
    assert thin_pooled(draws[:50]).sizes["sample"] == 50


@pytest.mark.slow
def test_log_score_does_not_depend_on_the_draws_of_what_is_no_average():
    """Only a probability that was counted is moved by half a draw."""
    scores = []
    for num_draws in (4, 4000):
        rough = pr.message_passing(MODEL, small_case.observe(), num_draws=num_draws)
        case = dataclasses.replace(make_case("exact"), posterior=rough)
        scores.append(rows_of(support(case))["log_score", "posterior"].value)
    active = np.asarray(small_case.observe().h) > 0
    inclusion = rough.inclusion_prob.to_numpy()
    expected = -np.log(np.where(active, inclusion, 1 - inclusion)).mean()
    assert scores == pytest.approx([expected, expected], rel=1e-12)
    few = make_case("sampler")
    draws = few.posterior.draws[:, :100]
    thinned = dataclasses.replace(few, posterior=from_draws("s", draws, few.x, model=MODEL))
    prob = (draws > 0).mean(("chain", "draw")).to_numpy()
    prob = (np.where(active, prob, 1 - prob) * 400 + 0.5) / 401
    found = rows_of(support(thinned))["log_score", "posterior"].value
    assert found == pytest.approx(-np.log(prob).mean(), rel=1e-12)


def test_support_without_truth_or_atom(case):
    blind = support(dataclasses.replace(case, truth=None))
    assert set(blind.arrays) == {"support_prob"} == {row.metric for row in blind.rows}
    empty = support(without_atom(case))
    assert not empty.arrays
    assert not empty.rows


def test_position_matches_loops(case):
    found, rows = position(case), rows_of(position(case))
    draws, estimates = draws_of(case), case.estimates.to_numpy()
    low, high = np.quantile(draws, [0.05, 0.95], axis=0)
    np.testing.assert_allclose(found.arrays["interval_low"], low, atol=1e-9)
    np.testing.assert_allclose(found.arrays["interval_high"], high, atol=1e-9)
    spread = np.sqrt(case.posterior.var.to_numpy())
    spread[spread == 0] = np.nan
    expected = (estimates - case.posterior.mean.to_numpy()) / spread
    zscore = found.arrays["zscore"].transpose("inverse", "obs", "hidden")
    np.testing.assert_allclose(zscore, expected, rtol=1e-10)
    pit = found.arrays["pit"].transpose("inverse", "obs", "hidden").to_numpy()
    truth_pit = found.arrays["truth_pit"].to_numpy()
    for value, rank in ((estimates[0], pit[0]), (estimates[1], pit[1]), (case.truth, truth_pit)):
        value = np.asarray(value)
        floor = (draws < value).sum(0) / 4001
        ceiling = ((draws <= value).sum(0) + 1) / 4001
        assert np.all((floor <= rank) & (rank <= ceiling))
    inside = (estimates >= low) & (estimates <= high)
    assert rows["inside_interval", "net"].value == pytest.approx(inside[0].mean())
    mass = ((draws >= low) & (draws <= high)).mean()
    assert rows["interval_mass", "posterior"].value == pytest.approx(mass)
    covered = ((case.truth >= low) & (case.truth <= high)).mean()
    assert rows["truth_in_interval", "posterior"].value == pytest.approx(float(covered))


def test_position_without_truth(case):
    blind = position(dataclasses.replace(case, truth=None))
    assert "truth_pit" not in blind.arrays
    assert "truth_in_interval" not in {row.metric for row in blind.rows}


def test_randomized_pit_of_a_draw_is_uniform_with_an_atom_and_without():
    rng = np.random.default_rng(5)
    draws = rng.gamma(1, 1, (200, 600, 4)) * (rng.uniform(size=(200, 600, 4)) < [0.02, 0.4, 0.9, 1])
    values = rng.gamma(1, 1, (600, 4)) * (rng.uniform(size=(600, 4)) < [0.02, 0.4, 0.9, 1])
    pit = randomized_pit(
        xr.DataArray(draws, dims=("sample", "obs", "hidden")),
        xr.DataArray(values, dims=("obs", "hidden")),
        rng,
    ).to_numpy()
    assert np.all((pit > 0) & (pit < 1))
    for unit in range(4):
        assert kstest(pit[:, unit], "uniform").pvalue > 1e-3


def log_likelihood_plainly(h, x):
    total = 0.0
    for z, value in zip(np.asarray(LAYER.weights) @ h, x, strict=True):
        if value > 0:
            total += np.log(0.6 / 0.5) + norm.logpdf(value / 0.5, z, 0.9)
        else:
            total += np.log(0.4 + 0.6 * norm.cdf(-z / 0.9))
    return total


def test_likelihood_matches_loops(case):
    found = likelihood(case)
    x, estimates = case.x.to_numpy(), case.estimates.to_numpy()
    own = [[log_likelihood_plainly(h, one) for h, one in zip(e, x, strict=True)] for e in estimates]
    np.testing.assert_allclose(found.arrays["log_likelihood"], own, rtol=1e-10)
    thinned = draws_of(case)[np.linspace(0, 3999, 400).astype(int)]
    drawn = [log_likelihood_plainly(h, x[2]) for h in thinned[:, 2]]
    rank = np.mean(np.less(drawn, own[1][2] - 1e-9)) + 0.5 * np.mean(np.isclose(drawn, own[1][2]))
    assert float(found.arrays["likelihood_rank"].sel(inverse="other")[2]) == pytest.approx(rank)


def test_predictive_of_a_model_that_made_x_is_not_surprised(case):
    found, rows = predictive(case), rows_of(predictive(case))
    x = case.x.to_numpy()
    observed = {"zero_share": (x == 0).mean(1), "largest": x.max(1)}
    observed["norm"] = np.sqrt((x**2).sum(1))
    for name, expected in observed.items():
        np.testing.assert_allclose(found.arrays[f"{name}_observed"], expected)
        replicated = found.arrays[f"{name}_posterior"].to_numpy()
        below = (replicated < expected).mean(0) + 0.5 * (replicated == expected).mean(0)
        share = np.mean((below < 0.05) | (below > 0.95))
        assert rows[f"predictive_surprise_{name}", "posterior"].value == pytest.approx(share)
        assert share <= 0.5
    # The prior's predictive is that of the model: compare with a simulation.
    simulated = np.asarray(MODEL.simulate(jax.random.key(77), 4096).x)
    prior = found.arrays["norm_prior"].to_numpy()
    expected = np.linalg.norm(simulated, axis=1)
    error = np.sqrt(prior.var() / prior.size + expected.var() / 4096)
    assert abs(prior.mean() - expected.mean()) < 4.5 * error


def test_predictive_is_surprised_by_another_scale():
    """x three times too great, under a posterior that was never told."""
    case = make_case("exact")
    wrong = dataclasses.replace(case, x=4 * case.x + 3)
    rows = rows_of(predictive(wrong))
    for name in ("norm", "largest", "zero_share", "log_likelihood"):
        assert rows[f"predictive_surprise_{name}", "posterior"].value > 0.8


def test_a_deep_model_has_no_likelihood_metrics():
    case = make_case("exact")
    above = pr.Layer(np.random.default_rng(0).normal(size=(4, 4)), 0.7, 0.4)
    deep = pr.LayeredModel(pr.SpikeAndSlab(4, 0.5, small_case.SLAB), [LAYER, above])
    case = dataclasses.replace(case, model=deep)
    found = likelihood(case)
    assert not found.rows
    assert not found.arrays
    assert not has_likelihood(case)


def test_families_name_their_rows_and_arrays_apart(case):
    measured = [family.measure(case) for family in FAMILIES.values()]
    arrays = [name for one in measured for name in one.arrays]
    rows = [(row.metric, row.subject) for one in measured for row in one.rows]
    assert len(set(arrays)) == len(arrays)
    assert len(set(rows)) == len(rows)
