"""The analysis of wrong models at a tiny size, and its finding on data made by hand."""

import numpy as np
import pytest
import xarray as xr

import probrev as pr
from analyses import misspecification
from probrev.runs import registry


@pytest.mark.slow
def test_computed_and_plotted(tmp_path, capsys):
    tiny = {"num_obs": 20, "n_visible": 30, "n_hidden": 5, "max_active": 2}
    misspecification.compute(tmp_path, factors=(1.5,), **tiny)
    assert misspecification.plot(tmp_path).stat().st_size > 10_000
    assert "Of 8 wrong models," in capsys.readouterr().out


@pytest.mark.parametrize("name", ["keep_prob", "noise_std", "gain", "inclusion_prob"])
def test_one_parameter_is_wrong_and_no_other(name):
    model = registry.load("one_layer")(n_visible=9, n_hidden=4)
    spoiled = misspecification.spoil(model, name, 1.5)

    def known(one: pr.LayeredModel):
        layer = one.layers[0]
        found = {key: float(getattr(layer, key)) for key in ("keep_prob", "noise_std", "gain")}
        found["inclusion_prob"] = float(one.prior.inclusion_prob)
        return {**found, "max_active": one.prior.max_active, "weight": float(layer.weights[2, 1])}

    right = known(model)
    assert known(spoiled) == pytest.approx({**right, name: 1.5 * right[name]})


def test_the_finding_follows_the_data():
    rng = np.random.default_rng(0)
    right, noise = rng.gamma(4.0, size=200), rng.gamma(400.0, 1 / 400, size=(2, 2, 200))
    dims = ("parameter", "factor", "obs")
    net = np.array([[1.1, 1.2], [1.0, 3.0]])[..., None] * noise * 2 * right
    bayes = np.array([[1.5, 1.6], [2.5, 2.0]])[..., None] * right
    data = xr.Dataset(
        {
            "net": (dims, net),
            "bayes": (dims, bayes),
            "net_right": ("obs", 2 * right),
            "bayes_right": ("obs", right),
        },
        coords={"parameter": ["gain", "noise_std"], "factor": [0.5, 2.0]},
    )
    found = list(misspecification.degradations(data))
    assert [one.bayes.value for one in found] == pytest.approx([1.5, 1.6, 2.5, 2.0])
    # The spread over observations of a ratio whose noise is all that the two do not share.
    spread = 3.0 * (right * (noise[1, 1] - 1)).std(ddof=1) / right.mean() / np.sqrt(200)
    assert found[-1].std_error == pytest.approx(spread, rel=0.05)
    told = misspecification.say(data, found)
    assert "Of 4 wrong models, 3 cost the posterior mean more" in told
    assert "and 1 cost the net more" in told
    assert f"the worst, σ × 2, multiplies the risk of the net by {found[-1].net.value:.2f}" in told
    assert "errs less than the net in 3 of 4." in told
