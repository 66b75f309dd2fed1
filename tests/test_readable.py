"""Every public class prints in a line and shows as a small table, arrays and markup or no."""

import inspect
import json
from dataclasses import fields, is_dataclass

import numpy as np
import numpyro.distributions as dist
import pandas as pd
import pytest
import xarray as xr

import probrev as pr
from probrev.comparison.verdict import Verdict, Word
from probrev.nets.fitting.maximum import StandardErrors
from probrev.nets.fitting.net_fit import Activations, PriorFit
from probrev.plumbing.readable import LONGEST, summarize
from probrev.posterior.posterior import from_draws
from probrev.runs.verification.agreed import Agreed
from tests.small_case import LAYER, MODEL

HOSTILE = "<script>alert('x')</script>"
LARGE = np.arange(30_000.0).reshape(3, 100, 100)
# What is no object to show: protocols and bases, an error, activations (see their `__str__`).
OTHERS = {
    "Activation", "ClippedRelu", "ConditionalPrior", "Identity", "Increasing", "LeakyRelu", "Model",
    "Refusal", "Relu", "Threshold",
}  # fmt: skip


def verdict():
    return Verdict(
        HOSTILE, "exact", Word.FAR, 3.0, 2.5, 3.5, 0.95, 32, 0, True, "", f"{HOSTILE} is far " * 40
    )


def comparison():
    table = pd.DataFrame([verdict()] * 30).rename_axis("row")
    groups = {
        "verdicts": xr.Dataset.from_dataframe(table.astype({"planned": int})),
        "metrics/exact": xr.Dataset(attrs={"doubt": json.dumps(None)}),
    }
    return pr.Comparison(xr.DataTree.from_dict(groups))


def calibration():
    rows = pd.DataFrame(
        {"quantity": [HOSTILE] * 30, "adjusted_p": 0.2, "p_value": 0.1, "location": 0, "spread": 1}
    )
    tree = xr.DataTree.from_dict({"quantities": xr.Dataset.from_dataframe(rows.rename_axis("row"))})
    tree.attrs = {"word": "calibrated", "sentence": f"{HOSTILE} Calibrated. " * 30}
    return pr.Calibration(tree)


def layer_fit():
    checks = tuple(
        pr.Check(f"{HOSTILE} {number}", 0.1, 0.2, "at least 1", False, HOSTILE)
        for number in range(30)
    )
    errors = StandardErrors(keep_prob=0.1, noise_std=0.2, gain=np.nan, bias=np.ones(12))
    return pr.LayerFit(LAYER, errors, {"model": LARGE[0, 0]}, (0.1, 0.2), LARGE, 0.1, 200, checks)


def level():
    prior = PriorFit(MODEL.prior, np.arange(16.0))
    seen = Activations(LARGE[0], LARGE[1])
    return pr.FittedLevel(
        HOSTILE, LARGE[0], LARGE[0, 0], layer_fit(), {"independent": prior, "correlated": prior},
        "independent", seen, seen,
    )  # fmt: skip


def made_of(kind, value):
    """An object all of whose fields hold a value, whatever it is."""
    if hasattr(kind, "_fields"):
        return kind(*[value] * len(kind._fields))
    one = object.__new__(kind)
    names = [field.name for field in fields(kind)] if is_dataclass(kind) else kind.arg_constraints
    for name in names:
        object.__setattr__(one, name, value)
    return one


OWN = {
    "Calibration": calibration,
    "Comparison": comparison,
    "FittedLevel": level,
    "FittedNet": lambda: pr.FittedNet((level(),) * 30),
    "GibbsKernel": lambda: pr.GibbsKernel(MODEL),
    "LayerFit": layer_fit,
    "MarginalFit": lambda: pr.MarginalFit(
        pr.LayeredModel(pr.SpikeAndSlab(4, 0.3, dist.HalfNormal(1.0)), [LAYER]),
        made_of(pr.MarginalFit.__annotations__["std_errors"], 0.1),
        {name: np.ones(9) for name in pr.MarginalFit.__annotations__["std_errors"]._fields}, 2, 9,
    ),
    "Posterior": lambda: from_draws(HOSTILE, np.ones((2, 300, 1, 2)), np.ones((1, 3))),
    "RandomLike": lambda: pr.RandomLike(4, 3, {}, None, "", f"{HOSTILE} " * 30),
    "TrainedLayers": lambda: pr.TrainedLayers(
        (pr.TrainedLayer(HOSTILE, LARGE[0], LARGE[0, 0]),) * 30
    ),
    "Verdict": verdict,
    "Verification": lambda: pr.Verification((Agreed(HOSTILE, "", 3, 0.1, 0.1, HOSTILE),) * 30, {}),
}  # fmt: skip
SHOWN = [
    name for name in sorted(pr.__all__)
    if inspect.isclass(getattr(pr, name)) and name not in OTHERS
]  # fmt: skip


@pytest.mark.parametrize("name", sorted({*SHOWN, *OWN}))
def test_it_prints_in_a_line_and_shows_as_a_small_table(name):
    values = (LARGE, HOSTILE, [LARGE, {HOSTILE: HOSTILE}] * 9, lambda: LARGE, MODEL)
    kind = getattr(pr, name, None)
    made = [OWN[name]()] if name in OWN else [made_of(kind, value) for value in values]
    for one in made:
        line, page = repr(one), one._repr_html_()
        assert "\n" not in line
        assert len(line) <= LONGEST
        assert " at 0x" not in line + page
        assert line.startswith(type(one).__name__)
        assert "<script" not in page
        assert "<table" in page
        assert page.count("<tr") < 30
        assert "29999" not in line + page


def test_a_line_says_as_much_as_it_has_room_for():
    assert repr(LAYER) == (
        "Layer(weights=float64[12,4], keep_prob=0.6, noise_std=0.9, activation=relu, "
        "bias=float64[12], given_gain=0.5)"
    )
    assert repr(MODEL) == (
        "LayeredModel(prior=SpikeAndSlab(n_hidden=4, …), layers=[Layer(weights=float64[12,4], …)])"
    )
    assert repr(MODEL.prior).endswith("slab=FiniteSlab(values=float64[2], probs=float64[2]), "
                                      "max_active=2)")  # fmt: skip
    many = pr.LayeredModel(
        pr.SpikeAndSlab(4, 0.3, dist.HalfNormal(1.0)), [pr.Layer(np.eye(4))] * 30
    )
    assert repr(many).endswith("... 30 in all])")
    assert summarize({"a": 1.25, "b": [np.ones(2)] * 9}) == (
        "{'a': 1.25, 'b': [float64[2], float64[2], float64[2], ... 9 in all]}"
    )


def test_a_law_that_is_made_of_another_shows_that_one():
    law = dist.Gamma(1.5, 1.0).expand([4]).to_event(1)
    inner = "Gamma(concentration=1.5, rate=1)"
    assert summarize(law) == f"Independent(base_dist=ExpandedDistribution(base_dist={inner}))"


def test_a_posterior_says_its_status_first():
    page = OWN["Posterior"]()._repr_html_()
    assert page.index("status") < page.index("method")
    assert "4 rows" not in page
    assert "and 10 more rows" in comparison()._repr_html_()
