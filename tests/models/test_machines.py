"""The two controls: where net and posterior must coincide, and where they must not."""

import jax
import pytest

import probrev as pr
from probrev.runs import registry


def compare(name):
    model = registry.load(name)()
    obs = model.simulate(jax.random.key(0), 150)
    posteriors = {
        "exact": pr.exact(model, obs, num_draws=400),
        "gibbs": pr.gibbs(jax.random.key(1), model, obs[:16], num_samples=1000),
    }
    names = [rung for rung in pr.list_rungs(model) if rung != "affine"]
    ladder = pr.build_ladder(jax.random.key(2), model, names)
    return pr.compare(model, obs, ladder, posteriors)


def rows(result, metric, posterior):
    table = result.table().query("metric == @metric and posterior == @posterior")
    return table.set_index("subject")


@pytest.mark.slow
def test_restricted_machine_has_no_gap():
    result = compare("rbm")
    exact, gibbs = (rows(result, "excess_risk", name).loc["sigmoid"] for name in ("exact", "gibbs"))
    assert exact["value"] == pytest.approx(0, abs=1e-20)
    assert abs(gibbs["value"]) < 4 * gibbs["std_error"]
    assert rows(result, "agreement", "exact").loc["gibbs", "value"] == 1
    assert {verdict.word for verdict in result.verdicts} == {"as good as Bayes"}


@pytest.mark.slow
def test_deep_machine_has_a_gap_that_every_pass_shows():
    result = compare("dbm")
    assert rows(result, "agreement", "exact").loc["gibbs", "value"] == 1
    ratios = rows(result, "risk_ratio", "exact")
    assert (ratios.loc[["sigmoid", "bottom_up", "mean_field"], "low"] > 1.5).all()
    own = [verdict for verdict in result.verdicts if verdict.posterior == "exact"]
    assert {verdict.word for verdict in own} == {"far"}
