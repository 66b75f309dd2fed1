"""README's Python runs, block after block, as a reader would type it."""

import re
from pathlib import Path

import pytest

README = Path(__file__).parent.parent / "README.md"
BLOCKS = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)


@pytest.fixture(scope="module")
def session():
    """The names that README's blocks leave, in the order in which they stand."""
    names: dict = {}
    for block in BLOCKS:
        exec(compile(block, str(README), "exec"), names)
    return names


def test_readme_holds_the_journeys():
    text = "".join(BLOCKS)
    for call in ("pr.compare", "pr.exact", "pr.gibbs", "pr.hmc", "pr.FeedforwardNet.from_model"):
        assert call in text


@pytest.mark.slow
def test_two_priors_an_inverse_and_a_posterior_from_elsewhere(session):
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
