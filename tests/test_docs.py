"""What README and the documentation tell a reader to type is right, and no public name is missing.

The Python of README and the guides, and that of CONTRIBUTING, runs block after block.
"""

import inspect
import itertools
import re
import shlex
from pathlib import Path

import numpy as np
import pytest

import probrev as pr
from probrev.cli import app

ROOT = Path(__file__).parents[1]
PAGES = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").rglob("*.md"))
# One script, in this order: README's prior is where the guide to priors goes on from.
SESSION = (
    "docs/start.md", "README.md", "docs/guides/prior.md", "docs/guides/elsewhere.md",
    "docs/guides/calibration.md", "docs/reference/command_line.md",
)  # fmt: skip


def read_blocks(name, language="python"):
    text = (ROOT / name).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def run_blocks(*names):
    """The names that texts' blocks leave, in the order in which they stand."""
    session: dict = {}
    for name in names:
        for block in read_blocks(name):
            exec(compile(block, name, "exec"), session)
    return session


def written_commands():
    names = ["README.md", "CONTRIBUTING.md", *PAGES]
    blocks = "".join(block for name in names for block in read_blocks(name, "bash"))
    return sorted(set(re.findall(r"uv run(?: --extra \w+)? probrev (.*)", blocks)))


def test_readme_is_short_and_holds_the_journeys():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150
    text = "".join(block for name in SESSION for block in read_blocks(name))
    for call in ("pr.compare", "pr.exact", "pr.gibbs", "pr.hmc", "pr.FeedforwardNet.from_model"):
        assert call in text


def test_reference_has_every_public_name_once_and_as_what_it_is():
    pages = "".join(path.read_text() for path in (ROOT / "docs" / "reference").glob("*.md"))
    entries = re.findall(r"^\.\. auto(class|function):: (\w+)$", pages, re.MULTILINE)
    wanted = [("class" if inspect.isclass(getattr(pr, n)) else "function", n) for n in pr.__all__]
    assert sorted(entries) == sorted(wanted)


def test_python_stands_only_where_it_is_run():
    assert {name for name in PAGES if read_blocks(name)} <= {*SESSION}


@pytest.mark.parametrize("command", written_commands())
def test_commands_are_ones_that_the_program_has(command):
    app.parse_args(shlex.split(command, comments=True), exit_on_error=False, print_error=False)


@pytest.mark.slow
def test_two_priors_an_inverse_and_a_posterior_from_elsewhere():
    session = run_blocks(*SESSION)
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
