"""Comparisons: what goes in is checked, what comes out is whole, and a file gives it back."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
import xarray as xr

import probrev as pr
from probrev.inverses.estimates import NUM_SAMPLES
from probrev.posterior.posterior import from_draws
from tests import small_case
from tests.small_case import LAYER, MODEL, NUM_OBS, OTHER, SLAB


def read_out(x):
    return np.maximum(np.asarray(LAYER.readout(x)) - 0.3, 0)


def say_nothing(x):
    return np.zeros((len(x), 4))


INVERSES = {"net": read_out, "nothing": say_nothing}


@pytest.fixture(autouse=True)
def no_curve(monkeypatch):
    """The curve over noise_std has tests of its own, and takes seconds."""
    monkeypatch.setattr("probrev.comparison.compare.noise_curve", lambda key, model: None)


@pytest.fixture
def obs():
    return small_case.observe()


@pytest.fixture
def exact():
    return small_case.exact()


@pytest.fixture
def sampler():
    return small_case.sampler()


@pytest.fixture(scope="module")
def result():
    posteriors = {"sampler": small_case.sampler(), "exact": small_case.exact()}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("probrev.comparison.compare.noise_curve", lambda key, model: None)
        return pr.compare(MODEL, small_case.observe(), INVERSES, posteriors, provenance={"seed": 3})


def value_of(result, metric, subject, posterior):
    table = result.table()
    at = (table["metric"] == metric) & (table["subject"] == subject)
    row = table[at & (table["posterior"] == posterior)]
    assert len(row) == 1
    return float(row["value"].iloc[0])


# What comes out


def test_names_and_groups(result):
    assert result.inverses == ["net", "nothing"]
    assert list(result.posteriors) == ["sampler", "exact"]
    assert set(result.tree.children) == {
        "data", "truth", "inverses", "posteriors", "metrics", "agreements", "table", "glossary",
        "verdicts",
    }  # fmt: skip


def test_table_is_tidy_and_pools_over_observations(result, obs, exact):
    table = result.table()
    assert list(table) == ["metric", "subject", "value", "std_error", "low", "high", "posterior"]
    h, mean = np.asarray(obs.h), exact.mean.to_numpy()
    for name, inverse in INVERSES.items():
        error = ((inverse(obs.x) - h) ** 2).sum()
        assert value_of(result, "relative_risk", name, "exact") == pytest.approx(
            error / (h**2).sum(), rel=1e-12
        )
        assert value_of(result, "risk_ratio_with_h", name, "exact") == pytest.approx(
            error / ((mean - h) ** 2).sum(), rel=1e-12
        )
        excess = ((inverse(obs.x) - mean) ** 2).sum()
        assert value_of(result, "risk_ratio", name, "exact") == pytest.approx(
            1 + excess / exact.var.to_numpy().sum(), rel=1e-12
        )
    assert value_of(result, "agreement", "sampler", "exact") == 1
    times = table[table["metric"] == "seconds_per_obs"]
    assert set(times["subject"]) == {"net", "nothing", "exact"}
    assert (times["value"] > 0).all()


def test_verdicts_come_with_the_exact_posterior_first(result):
    assert [(v.inverse, v.posterior) for v in result.verdicts] == [
        (inverse, posterior) for posterior in ("exact", "sampler") for inverse in INVERSES
    ]
    assert result.conclusive
    assert all("noise_std = 0.9" in verdict.sentence for verdict in result.verdicts)


@pytest.mark.slow
def test_posterior_mean_itself_is_as_good_as_bayes():
    obs = small_case.observe(16)
    exact = pr.exact(MODEL, obs)
    found = pr.compare(MODEL, obs, {"mean": lambda x: exact.mean.to_numpy()}, {"exact": exact})
    assert found.verdicts[0].word == "as good as Bayes"
    assert found.verdicts[0][3:6] == (1, 1, 1)
    assert value_of(found, "excess_risk", "mean", "exact") == 0


def test_real_x_has_no_truth(obs, exact):
    found = pr.compare(MODEL, pr.Observations(obs.x), INVERSES, {"exact": exact})
    metrics = set(found.table()["metric"])
    assert "truth" not in found.tree.children
    assert not metrics & {
        "relative_risk",
        "truth_rank_p",
        "brier",
        "support_f1",
        "truth_in_interval",
    }
    claimed = exact.var.to_numpy().sum()
    excess = ((read_out(obs.x) - exact.mean.to_numpy()) ** 2).sum()
    assert value_of(found, "risk_ratio", "net", "exact") == pytest.approx(
        1 + excess / claimed, rel=1e-12
    )
    assert "1 + excess risk / posterior variance" in found.verdicts[0].sentence


def drop_out(x, key):
    return read_out(np.where(jax.random.bernoulli(key, 0.5, x.shape), 2 * x, 0))


@pytest.mark.slow
def test_random_inverses_are_held_against_draws_and_get_no_verdict(obs, exact, sampler):
    def sample(x, key):
        """A perfect sampler: independent draws of the exact posterior."""
        picked = jax.random.randint(key, (), 0, sampler.draws.sizes["draw"])
        return sampler.draws.to_numpy()[0, int(picked)]

    part = from_draws("hmc", sampler.draws[:, :, :2], obs.x[:2], model=MODEL)
    random = {"dropout": drop_out, "perfect": sample}
    found = pr.compare(MODEL, obs, INVERSES, {"exact": exact, "hmc": part}, random_inverses=random)
    assert found.random_inverses == ["dropout", "perfect"]
    assert {verdict.inverse for verdict in found.verdicts} == set(INVERSES)
    halves = value_of(found, "energy_distance", "posterior", "exact")
    assert value_of(found, "energy_distance", "dropout", "exact") > 3 * halves
    assert value_of(found, "energy_distance", "perfect", "exact") < 1.5 * halves
    assert value_of(found, "spread_ratio", "perfect", "exact") == pytest.approx(1, abs=0.05)
    assert found.tree["metrics/hmc/energy_distance"].sizes == {"sampler": 3, "obs": 2}
    summary = found.tree["random_inverses"].to_dataset()
    assert summary.attrs["num_samples"] == NUM_SAMPLES
    kept = np.random.default_rng(9).random((4000, *obs.x.shape)) < 0.5
    again = read_out(np.where(kept, 2 * np.asarray(obs.x), 0))
    error = again.std(0) * np.sqrt(1 / NUM_SAMPLES + 1 / 4000)
    assert (np.abs(summary["mean"][0] - again.mean(0)) < 4.5 * error + 1e-12).all()
    np.testing.assert_allclose(summary["std"][0], again.std(0), rtol=0.25, atol=0.02)


def test_every_call_of_a_random_inverse_has_a_key_of_its_own(obs, exact):
    seen = []

    def remember(x, key):
        seen.append(tuple(jax.random.key_data(key).tolist()))
        return drop_out(x, key)

    random = {"one": remember, "two": remember}
    pr.compare(MODEL, obs, INVERSES, {"exact": exact}, random_inverses=random)
    assert len(seen) == len(set(seen)) == 2 * NUM_SAMPLES


def test_without_random_inverses_nothing_is_said_of_them(result):
    assert result.random_inverses == []
    assert "energy_distance" not in set(result.table()["metric"])


def test_untrusted_posterior_makes_it_inconclusive(obs, exact):
    shifted = from_draws("sampler", exact.draws + (exact.draws == 0) * 0.5, obs.x, model=MODEL)
    found = pr.compare(MODEL, obs, INVERSES, {"exact": exact, "shifted": shifted})
    words = {(verdict.posterior, verdict.word) for verdict in found.verdicts}
    assert ("shifted", "inconclusive") in words
    assert ("exact", "inconclusive") not in words
    assert not found.conclusive
    sentences = [verdict.sentence for verdict in found.verdicts]
    assert any("shifted disagrees with exact (P(h_" in sentence for sentence in sentences)
    assert any("jointly p = 0.0005" in sentence for sentence in sentences)
    assert value_of(found, "agreement", "shifted", "exact") < 1
    assert found.tree["agreements"]["outcome"].item() == "disagrees"


def test_units_shuffled_apart_make_it_inconclusive(obs, exact, sampler):
    """Every inclusion probability is right, and the posterior is wrong."""
    flat = sampler.draws.to_numpy().reshape(-1, NUM_OBS, 4)
    apart = np.random.default_rng(0).permuted(flat, axis=0).reshape(sampler.draws.shape)
    posterior = from_draws("sampler", apart, obs.x, model=MODEL)
    found = pr.compare(MODEL, obs, INVERSES, {"exact": exact, "apart": posterior})
    assert value_of(found, "agreement", "apart", "exact") == 1
    assert value_of(found, "agreement_p", "apart", "exact") <= 1e-3
    assert not found.conclusive


def test_only_where_nothing_can_be_checked_is_a_posterior_in_doubt(obs, exact, sampler):
    """Started apart, chains that stand still are ok, but say nothing that could be checked."""
    draws = sampler.draws.to_numpy().copy()
    draws[:, :, 1] = draws[0, 0, 1]
    partly = from_draws("gibbs", draws, obs.x, model=MODEL, starts_apart=True)
    found = pr.compare(MODEL, obs, INVERSES, {"exact": exact, "partly": partly})
    assert found.conclusive
    assert value_of(found, "agreement_checked", "partly", "exact") == pytest.approx(5 / 6)
    still = from_draws("gibbs", 0 * draws, obs.x, model=MODEL)
    found = pr.compare(MODEL, obs, INVERSES, {"still": still, "sampler": sampler})
    assert np.isnan(value_of(found, "agreement", "sampler", "still"))
    assert value_of(found, "agreement_checked", "sampler", "still") == 0
    sentences = {verdict.posterior: verdict.sentence for verdict in found.verdicts}
    assert "sampler could not be checked against still (too few" in sentences["sampler"]


# What goes in


@pytest.mark.slow
def test_two_priors_stand_side_by_side(obs, exact, sampler):
    """Posteriors under different models need not agree, and neither is in doubt for that."""
    other = small_case.exact("other")
    found = pr.compare(MODEL, obs, INVERSES, {"sparse": exact, "dense": other, "sampler": sampler})
    assert found.conclusive
    table = found.table()
    rows = table[table["metric"] == "agreement"]
    assert list(zip(rows["subject"], rows["posterior"], strict=True)) == [("sampler", "sparse")]
    assert value_of(found, "excess_risk", "net", "dense") == pytest.approx(
        ((read_out(obs.x) - other.mean.to_numpy()) ** 2).sum(1).mean(), rel=1e-12
    )


@pytest.mark.slow
def test_a_model_built_twice_is_one_model(obs, exact, sampler):
    layer = pr.Layer(LAYER.weights, 0.6, 0.9, 0.5)
    again = pr.LayeredModel(pr.SpikeAndSlab(4, 0.3, SLAB, max_active=2), [layer])
    twin = from_draws("sampler", sampler.draws, obs.x, model=again)
    stranger = from_draws("sampler", sampler.draws, obs.x, model=OTHER)
    found = pr.compare(MODEL, obs, INVERSES, {"exact": exact, "twin": twin, "stranger": stranger})
    rows = found.table().query("metric == 'agreement'")
    assert list(rows["subject"]) == ["twin"]


def test_samplers_are_held_against_each_other_where_none_is_exact(obs, sampler):
    flipped = from_draws("sampler", sampler.draws[:, ::-1], obs.x, model=MODEL)
    found = pr.compare(MODEL, obs, INVERSES, {"one": sampler, "two": flipped})
    assert value_of(found, "agreement", "two", "one") == 1
    assert value_of(found, "threshold_excess", "two", "one") == pytest.approx(0, abs=1e-9)
    assert value_of(found, "agreement_checked", "two", "one") == 1
    assert value_of(found, "agreement_p", "two", "one") > 1e-3


@pytest.mark.slow
def test_an_approximation_is_judged_and_never_judges(obs, exact, sampler):
    rough = small_case.approximation()
    for others in ({"exact": exact, "sampler": sampler}, {"sampler": sampler}):
        found = pr.compare(MODEL, obs, INVERSES, {"rough": rough, **others})
        rows = found.table()
        of_rough = set(rows[rows["subject"] == "rough"]["metric"])
        assert not of_rough & {"agreement", "agreement_p", "threshold_excess"}
        assert "rough" not in set(rows.query("metric == 'inclusion_gap'")["posterior"])
        trusted = next(iter(others))
        gap = float(np.abs(rough.inclusion_prob - others[trusted].inclusion_prob).max())
        assert value_of(found, "inclusion_gap", "rough", trusted) == pytest.approx(gap, rel=1e-9)
        assert gap > 0.01
        assert found.conclusive
        sentences = {verdict.posterior: verdict.sentence for verdict in found.verdicts}
        assert list(sentences) == [*others, "rough"]
        assert "against rough, an approximation)" in sentences["rough"]
        assert "approximation" not in sentences["sampler"]


def test_posterior_of_a_part_of_the_observations(obs, exact, sampler):
    part = from_draws("hmc", sampler.draws[:, :, :2], obs.x[:2], model=MODEL)
    found = pr.compare(MODEL, obs, INVERSES, {"exact": exact, "hmc": part})
    assert [(v.posterior, v.num_obs) for v in found.verdicts[::2]] == [("exact", 6), ("hmc", 2)]
    assert [verdict.planned for verdict in found.verdicts] == [True, True, False, False]
    assert found.tree["metrics/hmc/excess_risk"].sizes["obs"] == 2
    error = ((read_out(obs.x) - np.asarray(obs.h)) ** 2)[:2].sum()
    assert value_of(found, "relative_risk", "net", "hmc") == pytest.approx(
        error / (np.asarray(obs.h)[:2] ** 2).sum(), rel=1e-12
    )
    assert value_of(found, "agreement", "hmc", "exact") == 1


def shrinking():
    with numpyro.plate("hidden", 4):
        return numpyro.sample("value", dist.HalfCauchy(0.2))


@pytest.mark.slow
def test_posterior_without_an_atom_has_no_support(obs, tmp_path):
    model = pr.LayeredModel(shrinking, [LAYER])
    draws = np.random.default_rng(0).gamma(0.7, 0.4, (4, 500, NUM_OBS, 4))
    posterior = from_draws("nuts", draws, obs.x, model=model)
    found = pr.compare(model, obs, INVERSES, {"horseshoe": posterior})
    assert not any(name.startswith("support") for name in found.table()["metric"])
    assert "support_prob" not in found.tree["metrics/horseshoe"]
    assert len(found.verdicts) == 2
    found.save(tmp_path / "run.nc")


def test_a_datatree_of_another_tool_is_a_posterior(obs, exact):
    tree = xr.DataTree.from_dict({"posterior": exact.draws.drop_vars("obs").to_dataset(name="h")})
    found = pr.compare(MODEL, obs, INVERSES, {"theirs": tree, "exact": exact})
    assert found.posteriors["theirs"].method == "external"
    assert value_of(found, "agreement", "theirs", "exact") == 1


def test_draws_are_aligned_by_their_labels(obs, exact):
    """Alone there is nothing to catch them by: turned and labelled so, they are the same draws."""
    order = [3, 5, 0, 2, 4, 1]
    turned = xr.DataTree.from_dict(
        {"posterior": exact.draws.isel(obs=order, hidden=[2, 0, 3, 1]).to_dataset(name="h")}
    )
    straight = exact.draws.to_numpy()
    found = [pr.compare(MODEL, obs, INVERSES, {"theirs": one}) for one in (turned, straight)]
    assert str(found[0].verdicts) == str(found[1].verdicts)  # NaN is not itself
    np.testing.assert_array_equal(found[0].posteriors["theirs"].draws, straight)
    unknown = exact.draws.assign_coords(obs=list("abcdef"))
    with pytest.raises(
        ValueError, match="posterior 'theirs': coordinates of `obs` must be numbers"
    ):
        pr.compare(MODEL, obs, INVERSES, {"theirs": unknown})


def test_a_labelled_part_is_held_against_its_own_observations(obs, exact):
    part = exact.draws.isel(obs=[4, 1]).to_dataset(name="h")
    found = pr.compare(MODEL, obs, INVERSES, {"theirs": part, "exact": exact})
    assert value_of(found, "agreement", "theirs", "exact") == 1
    error = ((read_out(obs.x) - np.asarray(obs.h)) ** 2)[[1, 4]].sum()
    assert value_of(found, "relative_risk", "net", "theirs") == pytest.approx(
        error / (np.asarray(obs.h)[[1, 4]] ** 2).sum(), rel=1e-12
    )


@pytest.mark.parametrize(
    ("given", "match"),
    [
        (None, "posterior 'bad': a posterior from elsewhere is a DataTree .* got NoneType"),
        (np.ones((4, 500)), r"posterior 'bad': `h` must have dims .* got shape \(4, 500\)"),
        (-np.ones((4, 500, NUM_OBS, 4)), "posterior 'bad': h is nonnegative under SpikeAndSlab"),
    ],
)
def test_posteriors_are_checked(obs, given, match):
    with pytest.raises(ValueError, match=match):
        pr.compare(MODEL, obs, INVERSES, {"bad": given})


def test_a_continuous_spike_is_noted_and_taken(obs, exact):
    found = pr.compare(MODEL, obs, INVERSES, {"smooth": exact.draws.to_numpy() + 1e-4})
    reason = found.posteriors["smooth"].status_reason
    assert reason.endswith("a continuous spike cannot be compared by support")
    assert not any(name.startswith("support") for name in found.table()["metric"])


@pytest.mark.parametrize("name", ["", "a b", "net/1"])
def test_names_are_checked(obs, exact, name):
    match = r"names must match \[A-Za-z0-9_-\]\+; got "
    with pytest.raises(ValueError, match=match):
        pr.compare(MODEL, obs, {name: read_out}, {"exact": exact})
    with pytest.raises(ValueError, match=match):
        pr.compare(MODEL, obs, INVERSES, {name: exact})


@pytest.mark.parametrize("name", ["posterior", "exact"])
def test_inverses_are_not_named_as_posteriors_are(obs, exact, name):
    with pytest.raises(ValueError, match=f"the table could not tell them apart; got '{name}'"):
        pr.compare(MODEL, obs, {name: read_out}, {"exact": exact})


def test_random_inverses_are_checked_too(obs, exact):
    for name, match in (("a b", "names must match"), ("net", "or another inverse is.* got 'net'")):
        with pytest.raises(ValueError, match=match):
            pr.compare(MODEL, obs, INVERSES, {"exact": exact}, random_inverses={name: drop_out})
    narrow = {"bad": lambda x, key: drop_out(x, key)[:, :2]}
    with pytest.raises(ValueError, match=r"'bad' must return .* = \(6, 4\); got \(6, 2\)"):
        pr.compare(MODEL, obs, INVERSES, {"exact": exact}, random_inverses=narrow)


@pytest.mark.parametrize("given", [({}, True), (INVERSES, False)])
def test_both_sides_are_needed(obs, exact, given):
    inverses, has_posterior = given
    with pytest.raises(ValueError, match="at least one inverse and one posterior"):
        pr.compare(MODEL, obs, inverses, {"exact": exact} if has_posterior else {})


def test_another_x_is_refused(obs, exact):
    with pytest.raises(ValueError, match="'exact' was computed from another x"):
        pr.compare(MODEL, pr.Observations(obs.x * 1.01), INVERSES, {"exact": exact})
    with pytest.raises(ValueError, match="'exact' covers observations that are not there"):
        pr.compare(MODEL, obs[:3], INVERSES, {"exact": exact})
    with pytest.raises(ValueError, match="x has 11 columns, but the model has 12"):
        pr.compare(MODEL, pr.Observations(obs.x[:, :11]), INVERSES, {"exact": exact})


def test_a_posterior_of_another_width_is_refused(obs, exact):
    narrow = from_draws("sampler", exact.draws[..., :3], obs.x)
    with pytest.raises(ValueError, match="'narrow' has 3 hidden units, but the model has 4"):
        pr.compare(MODEL, obs, INVERSES, {"exact": exact, "narrow": narrow})


@pytest.mark.parametrize(
    ("inverse", "match"),
    [
        (lambda x: np.zeros((len(x), 5)), r"'bad' must return .* = \(6, 4\); got \(6, 5\)"),
        (lambda x: np.zeros(4), r"'bad' must return .* = \(6, 4\); got \(4,\)"),
        (lambda x: np.full((len(x), 4), np.nan), "'bad' returned NaN or infinity"),
        (lambda x: jnp.full((len(x), 4), jnp.inf), "'bad' returned NaN or infinity"),
    ],
)
def test_inverses_are_checked(obs, exact, inverse, match):
    with pytest.raises(ValueError, match=match):
        pr.compare(MODEL, obs, {"net": read_out, "bad": inverse}, {"exact": exact})


# Files


def test_a_file_gives_the_comparison_back(result, tmp_path):
    path = tmp_path / "run.nc"
    result.save(path)
    again = pr.load(path)
    xr.testing.assert_identical(again.table().to_xarray(), result.table().to_xarray())
    assert [str(one) for one in again.verdicts] == [str(one) for one in result.verdicts]
    assert again.headline == result.headline
    assert again.inverses == result.inverses
    assert again.tree.attrs == result.tree.attrs
    assert again.tree.attrs["seed"] == "3"
    for name, posterior in result.posteriors.items():
        found = again.posteriors[name]
        np.testing.assert_array_equal(found.draws, posterior.draws)
        np.testing.assert_array_equal(found.mean, posterior.mean)
        assert (found.status, found.kind) == (posterior.status, posterior.kind)
    again.save(tmp_path / "again.nc")


def test_a_run_is_never_overwritten(result, tmp_path):
    path = tmp_path / "run.nc"
    path.write_text("precious")
    with pytest.raises(FileExistsError, match="never overwritten"):
        result.save(path)
    assert path.read_text() == "precious"


def test_an_interrupted_write_leaves_nothing(result, tmp_path, monkeypatch):
    def interrupt(source, target):
        raise KeyboardInterrupt

    monkeypatch.setattr("os.replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        result.save(tmp_path / "run.nc")
    assert not list(tmp_path.iterdir())


def test_what_is_no_comparison_is_refused(tmp_path, result):
    with pytest.raises(FileNotFoundError, match=r"absent\.nc does not exist: give the run.nc"):
        pr.load(tmp_path / "absent.nc")
    with pytest.raises(FileNotFoundError, match="does not exist"):
        pr.load(tmp_path)
    garbage = tmp_path / "garbage.nc"
    garbage.write_bytes(b"no netCDF at all" * 99)
    with pytest.raises(ValueError, match=r"garbage\.nc is not a saved comparison"):
        pr.load(garbage)
    result.save(tmp_path / "whole.nc")
    torn = tmp_path / "torn.nc"
    torn.write_bytes((tmp_path / "whole.nc").read_bytes()[:20_000])
    with pytest.raises(ValueError, match=r"torn\.nc is not a saved comparison"):
        pr.load(torn)
    old = pr.load(tmp_path / "whole.nc")
    del old.tree["metrics/exact"].attrs["doubt"]
    old.save(tmp_path / "old.nc")
    with pytest.raises(ValueError, match=r"old\.nc was saved by an earlier probrev"):
        pr.load(tmp_path / "old.nc")
    stranger = tmp_path / "stranger.nc"
    xr.Dataset({"h": ("unit", np.ones(3))}).to_netcdf(stranger, engine="h5netcdf")
    with pytest.raises(
        ValueError, match=r"stranger\.nc is not a saved comparison: it has no group"
    ):
        pr.load(stranger)


def test_it_prints_its_headline_and_in_a_notebook_its_verdicts(result):
    assert repr(result) == f"Comparison: {result.headline}"
    page = result._repr_html_()
    assert len(page) < 5000
    assert page.count("<tr>") + page.count("<tr style") == 1 + len(result.verdicts)
    for verdict in result.verdicts:
        assert f"<td>{verdict.inverse}</td>" in page
