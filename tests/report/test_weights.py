"""The page of weights: what it says, and that it is one file."""

import re

import jax
import numpy as np
import pytest

import probrev as pr

RNG = np.random.default_rng(1)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    keys = jax.random.split(jax.random.key(0), 2)
    layers = {
        "dense <1>": pr.random_like(keys[0], RNG.normal(size=(60, 40)), init_share=0.034),
        "dense_2": pr.random_like(keys[1], 5 + RNG.normal(size=(50, 50))),
    }
    path = tmp_path_factory.mktemp("page") / "report.html"
    provenance = {"created": "today", "command": "probrev weights net.npz"}
    pr.write_weights_report(layers, path, title="net.npz", provenance=provenance)
    return layers, path.read_text()


def test_every_layer_has_its_sentence_figure_and_rows(page):
    layers, text = page
    assert text.count('<figure class="picture">') == len(layers)
    for layer in layers.values():
        assert layer.sentence in text
    assert "dense &lt;1&gt;" in text
    assert "dense <1>" not in text
    assert text.count("· Gaussian") == text.count("· same singular values") == 2
    assert "3.4 %" in text


def test_the_spike_of_a_mean_is_told(page):
    assert "that alone puts 1 singular value above the edge" in page[1]


def test_thresholds_and_provenance_are_on_the_page(page):
    for part in ("within 0.05 of Marchenko-Pastur", "probrev weights net.npz", ", today"):
        assert part in page[1]


def test_the_page_asks_for_no_other_file(page):
    targets = re.findall(r'(?:src|href)="([^"]*)"', page[1])
    assert targets
    assert all(target.startswith(("data:", "#")) for target in targets)


def test_bad_calls_are_refused(page, tmp_path):
    with pytest.raises(ValueError, match="layers is empty: give at least one RandomLike"):
        pr.write_weights_report({}, tmp_path / "report.html")
    with pytest.raises(FileNotFoundError, match="does not exist: make the report's folder first"):
        pr.write_weights_report(page[0], tmp_path / "nowhere" / "report.html")
    assert not list(tmp_path.iterdir())
