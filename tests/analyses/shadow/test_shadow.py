"""SHADOW's analysis at a tiny size, its intervals against formulas, its finding on rows by hand."""

from dataclasses import replace

import jax
import numpy as np
import numpyro
import numpyro.distributions as dist
import pandas as pd
import pytest
import xarray as xr
from numpyro.diagnostics import effective_sample_size
from numpyro.infer import MCMC, NUTS

import probrev as pr
from analyses.shadow import __main__ as shadow
from analyses.shadow import effects, figure

RECIPE = pr.Recipe((12, 8), num_epochs=6, batch_size=25, learning_rate=0.01)
BASELINE, END, LAYER, LONG = (
    "baseline", "SHADOW, end to end", "SHADOW, per layer", "baseline, 3× the steps"
)  # fmt: skip


def read(folder):
    return {path.name: xr.load_dataset(path, engine="h5netcdf") for path in folder.glob("*.nc")}


@pytest.mark.proof
def test_computed_interrupted_and_plotted(tmp_path, capsys):
    """What is there already is not trained again; what is lost comes back with the same numbers."""
    case = shadow.Case
    cases = (
        case("digits", 100, RECIPE, 3, 2),
        case("digits", 0, replace(RECIPE, num_epochs=2), 2, 2, is_long=False),
    )
    shadow.compute(tmp_path, cases=cases, weights=(0.2, 1.0))
    before = read(tmp_path)
    assert not list(tmp_path.glob(".*"))
    arms = {f"digits-100-{arm}.nc" for arm in ("baseline", "end_to_end", "per_layer", "long")}
    whole = {f"digits-whole-{arm}.nc" for arm in ("baseline", "end_to_end", "per_layer")}
    choices = {f"digits-100-{mode}-choice.nc" for mode in ("end_to_end", "per_layer")}
    assert set(before) == arms | whole | choices | {"shadow_training.nc"}
    one = before["digits-100-end_to_end.nc"]
    assert one.attrs["weight"] in (0.2, 1.0)
    assert one.sizes == {"check": 6, "seed": 3, "image": 539}
    np.testing.assert_allclose(one["wrong"].mean("image"), one["error"][-1], rtol=1e-5)
    assert int(before["digits-100-long.nc"]["num_steps"][-1]) == 3 * int(one["num_steps"][-1])
    (tmp_path / "digits-100-per_layer.nc").unlink()
    (tmp_path / "digits-whole-baseline.nc").unlink()
    capsys.readouterr()
    shadow.compute(tmp_path, cases=cases, weights=(0.2, 1.0))
    told = capsys.readouterr().out
    assert "digits-100-per_layer: test error" in told
    assert "digits-100-baseline: test error" not in told
    for name, data in read(tmp_path).items():
        if name != "shadow_training.nc":
            xr.testing.assert_equal(data, before[name])
    assert shadow.plot(tmp_path).stat().st_size > 10_000
    told = capsys.readouterr().out
    assert "Over 2 cases in which the plain net errs on" in told
    assert LONG in told
    with pytest.raises(ValueError, match="holds another run"):
        shadow.compute(tmp_path, cases=(cases[0]._replace(num_seeds=4),), weights=(0.2, 1.0))
    with pytest.raises(FileNotFoundError, match="run `compute` first"):
        shadow.plot(tmp_path / "nothing")


def test_seeds_have_labels_of_their_own_and_none_to_validate_on():
    images = shadow.load_images("digits")
    case = shadow.Case("digits", 100, RECIPE, 3, 2)
    sample = shadow.draw_sample(case, images)
    assert sample.subsets.shape == (3, 100)
    assert len({tuple(sorted(rows)) for rows in sample.subsets}) == 3
    counts = [np.bincount(images.train_labels[rows]) for rows in sample.subsets]
    np.testing.assert_array_equal(counts, np.full((3, 10), 10))
    again = shadow.draw_sample(case, images)
    np.testing.assert_array_equal(again.subsets, sample.subsets)
    choice, validation = shadow.draw_choice(case, images)
    assert len(validation) == 252
    assert not set(validation) & set(choice.subsets.ravel())
    assert choice.subsets.shape == (2, 100)
    whole = shadow.Case("digits", 0, RECIPE, 3, 2)
    np.testing.assert_array_equal(shadow.draw_sample(whole, images).subsets, np.arange(1258))
    choice, validation = shadow.draw_choice(whole, images)
    assert sorted([*choice.subsets, *validation]) == list(range(1258))


def test_intervals_take_in_seeds_and_images(monkeypatch):
    """Against the two standard errors of the mean of a table whose rows or columns are alike."""
    monkeypatch.setattr(effects, "NUM_RESAMPLES", 1500)
    rng = np.random.default_rng(0)
    images = (rng.uniform(size=400) < 0.3).astype(float)
    by_image, by_seed = np.tile(images, (6, 1)), np.tile(np.arange(6.0)[:, None], (1, 400))
    found = effects.resample_means(rng, [by_image, by_seed, by_image + by_seed])
    np.testing.assert_allclose(found[0].mean(), images.mean(), atol=0.003)
    np.testing.assert_allclose(found[0].std(), images.std() / 20, rtol=0.1)
    np.testing.assert_allclose(found[1].std(), np.arange(6).std() / np.sqrt(6), rtol=0.1)
    # One resampling for all tables: pairs stay pairs.
    np.testing.assert_allclose(found[2], found[0] + found[1], rtol=1e-12)


def make_arm(wrong, calibration, weight):
    """An arm's data, from which image is wrong in which seed."""
    measured = {"error": wrong.mean(1), "log_loss": wrong.mean(1), "calibration_error": calibration}
    found = {name: (("check", "seed"), np.stack([one, one])) for name, one in measured.items()}
    found |= {"wrong": (("seed", "image"), wrong)}
    found |= {name: ("seed", np.full(len(wrong), 0.8)) for name in ("energy_ratio", "cosine")}
    data = xr.Dataset(found, {"num_steps": ("check", [5, 10])})
    return data.assign_attrs(weight=weight, seconds=1.0)


def make_cases(shares):
    """Cases of 4 seeds and 300 images; the arms err on these shares, mostly on the same images."""
    rng = np.random.default_rng(3)
    cases = {}
    for name in ("digits-100", "mnist-whole"):
        hard = rng.uniform(size=(4, 300))
        cases[name] = {
            arm: make_arm(hard < share, np.arange(4) / 100 + share, 0.3)
            for arm, share in shares.items()
        }
    return cases


def test_effects_are_paired(monkeypatch):
    monkeypatch.setattr(effects, "NUM_RESAMPLES", 500)
    cases = make_cases({BASELINE: 0.2, END: 0.3, LAYER: 0.2, LONG: 0.1})
    table = effects.list_effects(cases).set_index(["case", "arm"])
    one = table.loc["digits-100", END]
    wrong = [cases["digits-100"][arm]["wrong"].to_numpy().mean() for arm in (BASELINE, END)]
    assert one["change"] == pytest.approx(wrong[1] - wrong[0])
    assert one["ratio"] == pytest.approx(wrong[1] / wrong[0])
    assert 0 < one["change_low"] < one["change"] < one["change_high"]
    assert one["calibration_change_low"] == pytest.approx(0.1)
    same = table.loc["digits-100", LAYER]
    assert (same[["change_low", "change_high", "std_error"]] == 0).all()
    assert table.loc["digits-100", LONG]["change_high"] < 0


def test_every_case_is_drawn(monkeypatch, tmp_path):
    monkeypatch.setattr(effects, "NUM_RESAMPLES", 100)
    cases = make_cases({BASELINE: 0.2, END: 0.3, LAYER: 0.2, LONG: 0.1})
    # An arm may be left out of a case, and cases need not fill a row.
    del cases["digits-100"][LONG]
    drawn = figure.draw_cases(cases, effects.list_effects(cases))
    drawn.savefig(tmp_path / "figure.png")
    titles = [ax.get_title() for part in drawn.subfigs for ax in part.axes]
    assert {"digits, 100 labels", "mnist, all labels"} <= set(titles)


@pytest.mark.parametrize(
    ("factors", "expected"),
    [
        ({END: (0.8, 0.9), LAYER: (0.7, 0.95)}, "SHADOW lowers the test error."),
        ({END: (1.1, 1.2), LAYER: (1.01, 1.3)}, "SHADOW raises the test error."),
        ({END: (0.9, 1.2), LAYER: (0.8, 1.3)}, "SHADOW changes the test error by no more than"),
        ({END: (1.1, 1.2), LAYER: (0.8, 1.3)}, "SHADOW raises the test error end to end; the"),
        ({END: (0.9, 1.2), LAYER: (0.8, 0.9)}, "SHADOW lowers the test error per layer; the"),
        ({END: (0.8, 0.9), LAYER: (1.1, 1.3)}, "in one mode and raises it in the other"),
    ],
)  # fmt: skip
def test_the_finding_follows_the_data(monkeypatch, factors, expected):
    pooled = {
        arm: effects.Pooled((low + high) / 2, low, high) for arm, (low, high) in factors.items()
    }
    pooled[LONG] = effects.Pooled(0.5, 0.4, 0.6)
    monkeypatch.setattr(effects, "pool_effects", lambda rows: pooled)
    monkeypatch.setattr(effects, "NUM_RESAMPLES", 100)
    table = effects.list_effects(make_cases({BASELINE: 0.2, END: 0.3, LAYER: 0.2, LONG: 0.1}))
    told = effects.say_effects(table)
    assert expected in told
    assert "by 0.500 [0.400, 0.600] with baseline, 3×" in told
    assert "higher in 2 of 2" in told
    assert "calibration error is lower in 0 and higher in 2 of 4" in told
    assert "A step takes 1.0 (end to end) and 1.0 (per layer) times as long" in told


def make_rows(ratios, errors):
    """Rows of the baseline and one arm, and of another arm with all signs and scales changed."""
    both = {"log_ratio": np.asarray(ratios), "std_error": np.asarray(errors)}
    parts = [both | {"arm": [BASELINE] * len(ratios)}, both | {"arm": [END] * len(ratios)}]
    parts.append(both | {"arm": [LAYER] * len(ratios), "log_ratio": -2 * both["log_ratio"]})
    return pd.concat([pd.DataFrame(part) for part in parts])


def test_pooling_where_it_has_a_closed_form(monkeypatch):
    pooled = effects.pool_effects(make_rows([0.3, -0.1], [1e4, 1e4]))
    assert set(pooled) == {END, LAYER}
    # Cases that say nothing leave the prior.
    for one in pooled.values():
        expected = 1.959964 * 0.25 * np.array([-1, 0, 1])
        np.testing.assert_allclose(np.log([one.low, one.factor, one.high]), expected, atol=5e-4)
    # With hardly any spread the mean is that of normals of known variance.
    monkeypatch.setattr(effects, "SPREAD_STD", 1e-4)
    ratios, errors = np.array([0.3, -0.1, 0.2]), np.array([0.05, 0.1, 0.2])
    var = 1 / (1 / 0.25**2 + (1 / errors**2).sum())
    pooled = effects.pool_effects(make_rows(ratios, errors))
    for arm, sign in ((END, 1), (LAYER, -2)):
        mean = var * (sign * ratios / errors**2).sum()
        expected = mean + 1.959964 * np.sqrt(var) * np.array([-1, 0, 1])
        one = pooled[arm]
        np.testing.assert_allclose(np.log([one.low, one.factor, one.high]), expected, atol=5e-4)


@pytest.mark.slow
def test_pooling_against_nuts():
    """Every theta drawn, too."""
    ratios, errors = np.array([0.1, -0.02, 0.16, 0.05]), np.array([0.03, 0.06, 0.05, 0.1])

    def model():
        mean = numpyro.sample("mean", dist.Normal(0.0, 0.25))
        spread = numpyro.sample("spread", dist.HalfNormal(0.25))
        with numpyro.plate("case", 4):
            step = numpyro.sample("step", dist.Normal(0.0, 1.0))
            numpyro.sample("ratio", dist.Normal(mean + spread * step, errors), obs=ratios)

    sampler = MCMC(
        NUTS(model, target_accept_prob=0.95), num_warmup=1000, num_samples=5000, num_chains=4,
        chain_method="vectorized", progress_bar=False,
    )  # fmt: skip
    sampler.run(jax.random.key(0))
    draws = np.asarray(sampler.get_samples(group_by_chain=True)["mean"])
    size = float(effective_sample_size(draws))
    assert size > 2000
    one = effects.pool_effects(make_rows(ratios, errors))[END]
    for share, value in ((0.025, one.low), (0.5, one.factor), (0.975, one.high)):
        found = (draws < np.log(value)).mean()
        assert abs(found - share) < 4 * np.sqrt(share * (1 - share) / size)
