"""The Python of README and CONTRIBUTING runs, block after block, as a reader would type it."""

import itertools
import re
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]


def read_blocks(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)


def run_blocks(name):
    """The names that a text's blocks leave, in the order in which they stand."""
    names: dict = {}
    for block in read_blocks(name):
        exec(compile(block, name, "exec"), names)
    return names


def test_readme_holds_the_journeys():
    text = "".join(read_blocks("README.md"))
    for call in ("pr.compare", "pr.exact", "pr.gibbs", "pr.hmc", "pr.FeedforwardNet.from_model"):
        assert call in text


@pytest.mark.slow
def test_two_priors_an_inverse_and_a_posterior_from_elsewhere():
    session = run_blocks("README.md")
    result = session["result"]
    assert set(result.posteriors) == {"gamma", "horseshoe", "elsewhere"}
    assert result.inverses == ["least_squares", "net"]
    table = result.table().set_index(["metric", "subject", "posterior"])["value"].sort_index()
    risk = table["risk_ratio", "net"]
    assert risk["gamma"] == pytest.approx(risk["elsewhere"])
    assert risk["gamma"] != pytest.approx(risk["horseshoe"])
    # A horseshoe has no mass at 0, so no support.
    assert ("support_prob", "net", "gamma") in table.index
    assert ("support_prob", "net", "horseshoe") not in table.index
    # Priors given something: what they draw is kept, and groups are as exact has them.
    assert set(session["under_sparse"].sites) == {"rate", "scale"}
    groups = session["under_groups"]
    assert session["pr"].measure_agreement(groups["gibbs"], groups["exact"]).agrees
    assert groups["gibbs"].tree["posterior/on"].dims == ("chain", "draw", "obs", "group")
    # The check is of the first model.
    assert session["check"].word == "calibrated"
    assert "largest" in set(session["check"].table()["quantity"])


@pytest.mark.slow
def test_a_prior_a_model_a_metric_a_method_and_an_inverse_of_ones_own():
    session = run_blocks("CONTRIBUTING.md")
    # The prior: Gibbs, which knows of spikes and slabs only, against every state.
    exact = session["pr"].exact(session["fading"], session["obs"])
    agreement = session["pr"].measure_agreement(session["under_fading"], exact)
    assert session["under_fading"].status == "ok"
    assert agreement.agrees
    # The model: every h, written out.
    tanh, posterior = session["tanh"], session["under_tanh"]
    states = np.array(list(itertools.product((0.0, 1.0), repeat=4)))
    x = np.asarray(posterior.tree["observed_data/x"])
    rest = x[:, None] - np.tanh(states @ np.asarray(tanh.weights).T)
    log_prob = -(rest**2).sum(-1) / (2 * 0.7**2)
    prob = np.exp(log_prob - log_prob.max(1, keepdims=True))
    np.testing.assert_allclose(posterior.mean, prob @ states / prob.sum(1)[:, None], rtol=1e-9)
    # The activation: Gibbs, which knows of flats and stretches only, against every state.
    shrunk = session["pr"].exact(session["shrunk"], session["shrunk_obs"])
    assert session["pr"].measure_agreement(session["under_shrunk"], shrunk).agrees
    # The model that is a program and no more.
    assert list(session["chosen"]) == ["hmc"]
    # The metrics: of the net, by hand; of the posterior, the prior's three in ten or so.
    h, mean = np.asarray(session["net"](session["obs"].x)), session["exact"].mean.to_numpy()
    cosines = [
        g @ m / (np.linalg.norm(g) * np.linalg.norm(m) or 1) for g, m in zip(h, mean, strict=True)
    ]
    np.testing.assert_allclose(session["figures"].sel(inverse="net"), cosines)
    rows = session["by_activity"].table().set_index(["metric", "subject"])["value"]
    assert rows["num_active", "net"] == (h > 0).sum(1).mean()
    assert rows["most_active", "net"] == (h > 0).sum(1).max()
    assert 0.4 < rows["num_active", "posterior"] < 2.5
    assert session["agreement"].agrees
    assert session["result"].inverses == ["net", "thresholded"]
