"""Metrics of a user's own: given by name, measured as they say, and kept with what they mean."""

import functools
from typing import NamedTuple

import h5py
import jax
import numpy as np
import pytest
import xarray as xr

import probrev as pr
from probrev.comparison.metrics.case import make_case
from probrev.comparison.own_metrics import measure_own, read_metrics
from probrev.inverses.estimates import estimate
from probrev.report.appendix import glossary
from probrev.report.summary import Summary

NUM_OBS = 6


class Plain(NamedTuple):
    """x = h + noise: what there is to compile is little."""

    noise_std: float = 0.5
    n_visible = n_hidden = property(lambda self: 4)

    def check(self, obs):
        assert obs.x.shape[1] == 4

    def simulate(self, key, num_obs):
        h = jax.random.exponential(key, (num_obs, 4))
        return pr.Observations(self.generate(key, h), h)

    def generate(self, key, h):
        return h + self.noise_std * jax.random.normal(key, h.shape)

    def log_likelihood(self, h, x):
        raise ValueError("none is needed")


MODEL = Plain()
RNG = np.random.default_rng(4)
OBS = pr.Observations(RNG.normal(size=(NUM_OBS, 4)), RNG.gamma(1.0, 1.0, (NUM_OBS, 4)))


@functools.cache
def draw(seed):
    rng = np.random.default_rng(seed)
    h = rng.gamma(1.0, 1.0, (4, 60, NUM_OBS, 4)) * (rng.uniform(size=(4, 60, NUM_OBS, 4)) < 0.4)
    return pr.from_draws("draws", h, OBS.x, model=MODEL)


def read_out(x):
    return np.maximum(np.asarray(x) - 0.3, 0)


def say_one(x):
    return np.ones((len(x), 4))


def drop_out(x, key):
    return read_out(x) * np.random.default_rng([*map(int, jax.random.key_data(key))]).uniform(
        size=x.shape
    )


INVERSES = {"net": read_out, "ones": say_one}


@pytest.fixture(autouse=True)
def no_curve(monkeypatch):
    monkeypatch.setattr("probrev.comparison.compare.noise_curve", lambda key, model: None)


def cosine(case):
    """Cosine of an estimate & the posterior mean,
    0 where either is <none>.

    A second paragraph says more.
    """
    mean = case.posterior.mean
    norms = np.sqrt((case.estimates**2).sum("hidden") * (mean**2).sum("hidden"))
    return ((case.estimates * mean).sum("hidden") / norms.where(norms > 0, 1)).transpose()


SENTENCE = "Cosine of an estimate & the posterior mean, 0 where either is <none>."


def largest(case):
    """Largest estimate of all."""
    return case.estimates.max(("obs", "hidden"))[::-1]


def activity(case):
    """Several metrics, of the posterior and of random inverses too."""
    rows = [
        pr.Row("num_active", "posterior", case.posterior.inclusion_prob.sum("hidden").mean()),
        pr.Row("num_active", "dropout", (case.samples.sel(sampler="dropout") > 0).mean() * 4),
        pr.Row("most_active", "net", (case.estimates.sel(inverse="net") > 0).sum("hidden").max()),
    ]
    # Neither their name nor their labels are those of the arrays of built-in families.
    spectrum = xr.DataArray(np.arange(3.0), {"obs": [7, 1, 9]}, dims="obs")
    return pr.Measured({"pit": spectrum}, rows)


ACTIVITY = pr.MetricFamily(
    activity,
    {"num_active": "Units that are active, mean over observations.", "most_active": "At most."},
)
METRICS = {"cosine": cosine, "largest": largest, "activity": ACTIVITY}


@pytest.fixture(scope="module")
def result():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("probrev.comparison.compare.noise_curve", lambda key, model: None)
        return pr.compare(
            MODEL, OBS, INVERSES, {"one": draw(1), "two": draw(2)},
            random_inverses={"dropout": drop_out}, metrics=METRICS,
        )  # fmt: skip


def plain_cosines(posterior):
    """By loops, (inverse, obs)."""
    found = []
    for inverse in INVERSES.values():
        h, mean = inverse(OBS.x), posterior.mean.to_numpy()
        own = []
        for g, m in zip(h, mean, strict=True):
            norm = float(np.sqrt(g @ g) * np.sqrt(m @ m))
            own.append(float(g @ m) / norm if norm else 0.0)
        found.append(own)
    return np.array(found)


def test_figures_are_pooled_over_observations_and_kept(result):
    table = result.table().set_index(["metric", "posterior", "subject"]).sort_index()
    for name, posterior in result.posteriors.items():
        expected = plain_cosines(posterior)
        kept = result.tree[f"own_metrics/{name}/cosine/cosine"]
        np.testing.assert_allclose(kept.transpose("inverse", "obs"), expected, rtol=1e-12)
        for inverse, own in zip(INVERSES, expected, strict=True):
            row = table.loc["cosine", name, inverse]
            error = own.std(ddof=1) / np.sqrt(NUM_OBS)
            assert row["value"] == pytest.approx(own.mean(), rel=1e-12)
            assert row["std_error"] == pytest.approx(error, rel=1e-9)
            ends = own.mean() - 1.96 * error, own.mean() + 1.96 * error
            assert (row["low"], row["high"]) == pytest.approx(ends, rel=1e-9)
    row = table.loc["largest", "one", "net"]
    assert row["value"] == read_out(OBS.x).max()
    assert np.isnan(row["std_error"])
    assert table.loc["largest", "one", "ones"]["value"] == 1


def test_a_family_makes_its_own_rows_and_arrays(result):
    table = result.table().set_index(["metric", "posterior", "subject"])["value"]
    inclusion = draw(1).inclusion_prob.to_numpy()
    assert table["num_active", "one", "posterior"] == pytest.approx(inclusion.sum(1).mean())
    active = (read_out(OBS.x) > 0).sum(1)
    assert table["most_active", "two", "net"] == active.max()
    assert 0 < table["num_active", "one", "dropout"] < 4
    assert list(result.tree["own_metrics/one/activity/pit"]["obs"]) == [7, 1, 9]
    assert result.tree["metrics/one/pit"].sizes == {"inverse": 2, "obs": NUM_OBS, "hidden": 4}


def test_what_was_built_in_is_as_it_was(result):
    plain = pr.compare(
        MODEL, OBS, INVERSES, result.posteriors, random_inverses={"dropout": drop_out}
    )
    for name in result.posteriors:
        xr.testing.assert_identical(
            plain.tree[f"metrics/{name}"].to_dataset(), result.tree[f"metrics/{name}"].to_dataset()
        )
    assert "own_metrics" not in plain.tree
    own = {"cosine", "largest", "num_active", "most_active"}
    assert set(result.glossary) - set(plain.glossary) == own
    assert set(plain.table()["metric"]) == set(plain.glossary)


def test_a_loaded_run_knows_what_its_metrics_mean(result, tmp_path):
    result.save(tmp_path / "run.nc")
    again = pr.load(tmp_path / "run.nc")
    assert again.glossary == result.glossary
    assert again.glossary["cosine"] == SENTENCE
    assert again.glossary["most_active"] == "At most."
    for name in ("cosine", "activity"):
        path = f"own_metrics/two/{name}"
        xr.testing.assert_identical(again.tree[path].to_dataset(), result.tree[path].to_dataset())
    table = glossary(Summary(again)).tables[0]
    assert ["cosine", SENTENCE] in table.rows
    assert "more" not in str(table.rows[-4:])
    with h5py.File(tmp_path / "run.nc", "r+") as file:
        del file["glossary"]
    with pytest.raises(ValueError, match=r"run\.nc was saved by an earlier probrev"):
        pr.load(tmp_path / "run.nc")


def test_looks_pass_metrics_on():
    found = pr.compare_until(
        jax.random.key(0), MODEL, INVERSES, {"one": lambda *_: draw(1)}, looks=[NUM_OBS],
        observe=lambda *_: OBS, metrics={"cosine": cosine},
    )  # fmt: skip
    np.testing.assert_allclose(
        found.tree["own_metrics/one/cosine/cosine"], plain_cosines(draw(1)).T
    )
    assert found.glossary["cosine"] == SENTENCE


# What is refused before anything is run


def undocumented(case):
    return cosine(case)


def blank(case):
    """ """
    return cosine(case)


def without(case):
    """Never run."""
    raise AssertionError


REFUSED = [
    ([cosine], TypeError, "metrics must be functions or pr.MetricFamily by name; got list"),
    ({"a b": cosine}, ValueError, r"names of metrics must match .*; got 'a b'"),
    ({3: cosine}, ValueError, r"names of metrics must match .*; got 3"),
    ({"one": 1.5}, TypeError, r"metrics\['one'\] must be a function of a pr.Case.*; got float"),
    (
        {"one": pr.MetricFamily("net", {"one": "One."})},  # pyright: ignore[reportArgumentType]
        TypeError, r"metrics\['one'\] must be a function .*; got str",
    ),
    (
        {"bare": undocumented}, ValueError,
        r"metrics\['bare'\] says nothing for the glossary .* write a docstring, or give "
        r"pr\.MetricFamily\(function, \{'bare': 'What it is\.'\}\)",
    ),
    ({"bare": lambda case: case.estimates}, ValueError, "write a docstring, or give pr.Metric"),
    ({"bare": functools.partial(undocumented)}, ValueError, "write a docstring, or give pr.Metric"),
    ({"blank": blank}, ValueError, "write a docstring, or give pr.Metric"),
    (
        {"one": pr.MetricFamily(without, {"two": " "})}, ValueError,
        r"metrics\['one'\] says nothing .* \{'two': 'What it is\.'\}",
    ),
    ({"one": pr.MetricFamily(without, {})}, ValueError, r"metrics\['one'\] has no sentences"),
    ({"one": pr.MetricFamily(without, {"a/b": "One."})}, ValueError, "must match .*; got 'a/b'"),
    ({"brier": without}, ValueError, r"metrics\['brier'\]: 'brier' is built in or given already"),
    ({"agreement_p": without}, ValueError, "'agreement_p' is built in or given already: choose"),
    ({"seconds_per_obs": without}, ValueError, "'seconds_per_obs' is built in or given already"),
    ({"support": without}, ValueError, "'support' is built in or given already"),
    (
        {"cosine": without, "two": pr.MetricFamily(without, {"cosine": "Another."})}, ValueError,
        r"metrics\['two'\]: 'cosine' is built in or given already",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("metrics", "error", "match"), REFUSED)
def test_what_cannot_be_a_metric_is_refused_at_the_door(metrics, error, match):
    def unreached(*_):
        raise AssertionError

    with pytest.raises(error, match=match):
        pr.compare(
            MODEL, OBS, {"net": unreached}, {"one": draw(1)},
            metrics=metrics,
        )  # fmt: skip
    with pytest.raises(error, match=match):
        pr.compare_until(
            jax.random.key(0), MODEL, {"net": unreached}, {"one": unreached}, metrics=metrics,
            observe=unreached,
        )  # fmt: skip


def test_a_sentence_is_of_the_function_that_a_partial_is_of():
    shifted = functools.partial(lambda case, by: cosine(case) + by, by=1)
    shifted.func.__doc__ = "Cosine, from 0 to 2."
    assert read_metrics({"shifted": shifted})["shifted"].sentences == {
        "shifted": "Cosine, from 0 to 2."
    }


# What is refused of what it returns


def measure(name, given):
    case = make_case(MODEL, OBS, estimate(MODEL, OBS, INVERSES), draw(1), seed=0)
    return measure_own(case, read_metrics({name: given}))


def rows(*given):
    return lambda case: pr.Measured(rows=list(given))


def array(value):
    return lambda case: pr.Measured({"values": value})


RETURNED = [
    (lambda case: cosine(case).to_numpy(), TypeError, "must return a DataArray .* got ndarray"),
    (lambda case: None, TypeError, "must return a DataArray .* got NoneType"),
    (lambda case: case.estimates, ValueError, r"must return .* got dims \('inverse', 'obs', 'hid"),
    (lambda case: cosine(case).mean(), ValueError, r"must return .* got dims \(\)"),
    (lambda case: cosine(case).sel(inverse=["net"]), ValueError, "no figure for inverse 'ones'"),
    (lambda case: cosine(case).isel(obs=[0]), ValueError, "has no figure for obs 1"),
    (
        lambda case: cosine(case).sel(inverse=["net", "ones", "net"]), ValueError,
        "has 3 figures along inverse; case.estimates has 2",
    ),
    (
        lambda case: cosine(case).drop_vars("inverse"), ValueError,
        "has no labels along inverse: take the coordinate of case.estimates",
    ),
    (lambda case: cosine(case) + 1j, ValueError, "what metric 'cosine' returns must be real num"),
    (lambda case: 1 / 0, ValueError, "metric 'cosine' raised ZeroDivisionError: division by zero"),
    (lambda case: {}["net"], ValueError, "metric 'cosine' raised KeyError: 'net'"),
    (rows(("cosine", "net", 1.0)), TypeError, "rows of metric 'cosine' must be pr.Row; got tuple"),
    (
        rows(pr.Row("sine", "net", 1.0)), ValueError,
        "metric 'cosine' has a row of 'sine', and no sentence says what that is: give a "
        "pr.MetricFamily with a sentence for every metric",
    ),
    (rows(pr.Row("cosine", "n", 1.0)), ValueError, "'cosine' has a row of subject 'n'; it must be"),
    (
        rows(pr.Row("cosine", "net", 1.0), pr.Row("cosine", "net", 2.0)), ValueError,
        "metric 'cosine' has two rows of 'cosine', 'net'",
    ),
    (rows(pr.Row("cosine", "net", "?")), TypeError, "figures of metric 'cosine' must be numbers"),
    (array([1.0]), TypeError, "arrays of metric 'cosine' must be DataArrays by .* got list under"),
    (array(xr.DataArray("text")), ValueError, "array 'values' of metric 'cosine' must be real"),
    (
        lambda case: pr.Measured({"a": case.x, "b": case.x[:1]}), ValueError,
        "arrays of metric 'cosine' do not fit together: .*size",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("function", "error", "match"), RETURNED)
def test_what_a_metric_returns_is_checked(function, error, match):
    with pytest.raises(error, match=match):
        measure("cosine", pr.MetricFamily(function, {"cosine": "Cosine."}))


def test_an_array_of_a_family_of_two_is_refused():
    two = pr.MetricFamily(cosine, {"cosine": "Cosine.", "sine": "Sine."})
    with pytest.raises(ValueError, match="'two' returned a DataArray, but has sentences for cos"):
        measure("two", two)
