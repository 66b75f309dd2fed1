"""The page of a check: what it says, what it leaves out, and that it is one file."""

import re

import jax
import numpy as np
import pytest

import probrev as pr
from probrev.report.plots.ecdf import plot_ecdf, simultaneous_band
from tests.calibration.plain import MODEL, draw, infer


def wide(key, model, obs):
    return infer(key, model, obs, widened=1.6)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    result = pr.check_calibration(
        jax.random.key(0), MODEL, wide, num_simulations=60,
        quantities={"gap": lambda h, x: h[:, 0] - h[:, 1]},
        random_inverses={"own": lambda x, key: draw(key, MODEL, x, 1)[0, :, 1:]},
    )  # fmt: skip
    result.tree.attrs |= {
        "starts": "agrees", "starts_reason": "", "starts_joint_p": 0.4, "starts_obs": 32
    }  # fmt: skip
    path = tmp_path_factory.mktemp("page") / "report.html"
    pr.write_calibration_report(result, path)
    return result, path.read_text()


@pytest.mark.slow
def test_every_part_is_on_the_page(page):
    result, text = page
    for title in (
        "Ranks of the whole of h", "Ranks of each unit", "Ranks of the prior&#39;s sites",
        "Ranks of the user&#39;s own quantities", "Claimed over actual risk",
        "From the truth and blind", "Random inverses", "The posteriors", "Provenance",
    ):  # fmt: skip
        assert f"<h2>{title}</h2>" in text
    assert '<p class="verdict">Miscalibrated</p>' in text
    assert result.sentence.replace("'", "&#39;") in text
    assert "for 32 of the simulations, held against the blind ones: agrees" in text
    assert text.count('<figure class="picture">') == 5


def test_the_page_asks_for_no_other_file(page):
    targets = re.findall(r'(?:src|href)="([^"]*)"', page[1])
    assert targets
    assert all(target.startswith(("data:", "#")) for target in targets)


def test_a_calibrated_curve_is_inside_the_band_as_often_as_is_said():
    points, low, high = simultaneous_band(80)
    rng, inside = np.random.default_rng(0), 0
    for _ in range(400):
        shares = np.searchsorted(np.sort(rng.uniform(size=80)), points, side="right") / 80 - points
        inside += bool(((shares >= low) & (shares <= high))[1:-1].all())
    assert 0.92 < inside / 400 < 0.985


def test_what_is_convicted_is_marked(page):
    ranks = page[0].simulations["rank"].isel(quantity=slice(0, 5))
    names = [str(name) for name in ranks["quantity"].to_numpy()]
    figure = plot_ecdf(ranks, {names[1]})
    drawn = [ax for ax in figure.axes if ax.get_visible()]
    assert [ax.get_title(loc="left") for ax in drawn] == names
    colors = [ax.lines[-1].get_color() for ax in drawn]
    assert [color == colors[0] for color in colors] == [True, False, True, True, True]
    # A curve starts and ends at 0.
    assert drawn[0].lines[-1].get_ydata()[[0, -1]].tolist() == [0, 0]
