"""The page of a fitted model: its checks in order, and what its verdict hangs on."""

import json
import math
from dataclasses import replace

import pandas as pd
import pytest
import xarray as xr

import probrev as pr
from probrev.report.fit import fit
from probrev.report.summary import Summary
from tests import small_case

GATE = pr.Check("zeros", 0.002, math.nan, "within 0.01", True, "Zeros are as they are.")
BESIDE = pr.Check("tied share", 0.31, math.nan, "", True, "W^T gives 0.31 of a decoder.")
ABOVE = GATE._replace(name="above null", value=0.4, std_error=0.01, sentence="It is above.")
FITTED = {
    "layer": "fc2", "prior": "correlated", "num_train": 210, "num_held_out": 90,
    "relative_noise": 0.34, "activation": "relu", "nats_per_row": {"model": 0.17, "null": -0.23},
    "parameters": {"keep_prob": [1.0, None], "noise_std": [1.94, 0.01]},
}  # fmt: skip


def compare(checks):
    obs, net = small_case.observe(), {"net": lambda x: 0 * x[:, :4]}
    return pr.compare(small_case.MODEL, obs, net, {"exact": small_case.exact()}, checks=checks)


@pytest.fixture(scope="module")
def result():
    found = compare((ABOVE, GATE, BESIDE))
    found.tree.attrs["fitted"] = json.dumps(FITTED)
    asides = [
        ("the independent prior", 0.42, 0.38, 0.46, 2.4, "ok"),
        ("another prior", 0.5, 0.4, 0.6, 1.25, "ok"),
        ("refit 1 to a bootstrap sample", 2.72, 2.4, 3.1, 1.05, "ok"),
        ("refit 2 to a bootstrap sample", 2.76, 2.4, 3.1, 1.07, "not converged"),
    ]
    columns = ["what", "ratio", "low", "high", "claimed_over_actual", "status"]
    real = [
        ("kappa", 1.86, 1.55, 2.29, "ok"),
        ("predictive_p_norm", 0.63, math.nan, math.nan, "ok"),
    ]
    tables = {
        "asides": pd.DataFrame(asides, columns=columns),
        "real_x": pd.DataFrame(real, columns=["metric", "value", "low", "high", "status"]),
    }
    for name, table in tables.items():
        kept = xr.Dataset.from_dataframe(
            table.rename_axis("row"),
        ).assign_attrs(num_obs=32)
        found.tree[f"fit/{name}"] = xr.DataTree(kept)
    return found


def test_each_check_has_its_sentence_in_order(result):
    checks, _ = fit(Summary(result))
    assert checks.lines == [one.sentence for one in (ABOVE, GATE, BESIDE)]
    gates, beside = checks.tables
    assert [row[0] for row in gates.rows] == ["above null", "zeros"]
    assert gates.rows[0][1:] == ["0.400 ± 0.010", "within 0.01", "yes"]
    assert [row[0] for row in beside.rows] == ["tied share"]


def test_what_the_verdict_hangs_on(result):
    _, hangs = fit(Summary(result))
    told = " ".join(hangs.lines)
    assert (
        "Under the independent prior, on the first 32 observations, R is 0.42 [0.38, 0.46], and "
        "the posterior claims 2.40 times the squared error that it makes, which is too far off."
        in told
    )
    assert "the posterior claims 1.25 times the squared error that it makes." in told
    assert "Refits to 2 bootstrap samples give R from 2.72 to 2.76 on the first 32" in told
    assert "On 32 real x kappa is 1.86 [1.55, 2.29]" in told
    assert "Above 1: there the posterior is too sure." in told
    parameters, asides, real = hangs.tables
    assert ["keep_prob", "1.00"] in parameters.rows
    assert ["held-out nats a row, independent rows", "-0.230"] in parameters.rows
    assert asides.rows[3][-1] == "not converged"
    assert real.rows[1] == ["predictive_p_norm", "0.63", "ok"]


@pytest.mark.parametrize(("p", "is_told"), [(0.00034, False), (0.00033, True)])
def test_real_x_that_the_model_does_not_predict_are_told_of(result, p, is_told):
    """At .001, shared out among three statistics."""
    tree = result.tree.copy(deep=True)
    tree["fit/real_x/value"][1] = p
    _, hangs = fit(Summary(replace(result, tree=tree)))
    told = " ".join(hangs.lines)
    assert ("Real x are not in all as the model predicts them" in told) == is_told
    assert ("norm (p = 0.0003)" in told) == is_told


def test_a_gate_that_fails_withholds_the_verdict():
    found = compare((GATE._replace(holds=False, sentence="Its noise is not that of x."), BESIDE))
    assert found.headline == "Misfit: Its noise is not that of x."
    (checks,) = fit(Summary(found))
    assert checks.tables[0].rows[0][-1] == "no"


def test_a_model_that_was_not_fitted_has_no_such_page():
    assert fit(Summary(compare(None))) == []
