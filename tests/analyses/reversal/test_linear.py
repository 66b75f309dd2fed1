"""Reversal without r on the way down, of stacks made here, against plain loops."""

import numpy as np
import pytest

from analyses.reversal import linear

RNG = np.random.default_rng(3)
SHAPES = ((30, 12), (12, 9), (9, 7))
WEIGHTS = tuple(RNG.normal(0.1, 0.4, shape) for shape in SHAPES)
# The first unit of the first layer never fires, though what comes back to it would make it fire.
BIASES = (np.r_[-9.0, np.zeros(11)], RNG.normal(0, 0.1, 9), RNG.normal(0, 0.1, 7))
X = np.abs(RNG.normal(size=(50, 30)))
NO_LABELS = np.empty(0, int)


@pytest.fixture
def make():
    """A net of weights, biases and inputs; its readout serves its accuracy alone."""

    def make(weights, biases, x, labels=NO_LABELS):
        readout = np.eye(weights[-1].shape[1]), 0.0
        return linear.RealNet("made", weights, biases, readout, x[:0], x, labels)

    return make


def test_cosines_against_plain_loops(make):
    found = linear.measure(linear.jax.random.key(1), make(WEIGHTS, BIASES, X))
    trained = found.query("weights == 'trained'").set_index("top")
    signals, silent_energy = list(X), 0.0
    for top, (matrix, bias) in enumerate(zip(WEIGHTS, BIASES, strict=True), start=1):
        above = [np.maximum(matrix.T @ x + bias, 0) for x in signals]
        live = np.any(above, axis=0)
        cosines = []
        for h in above:
            back = np.maximum(matrix.T @ (matrix @ h) + bias, 0)
            silent_energy += (back[~live] ** 2).sum()
            back = back[live]
            cosines.append(h[live] @ back / np.linalg.norm(h) / np.linalg.norm(back))
        assert trained["cosine"][top] == pytest.approx(np.mean(cosines))
        assert trained["live_share"][top] == live.mean()
        signals = above
    assert trained["live_share"][1] == pytest.approx(11 / 12)
    assert silent_energy > 1


@pytest.mark.parametrize("n_hidden", [300, 600, 1200])
def test_gaussian_weights_give_the_cosine_of_theory(make, n_hidden):
    """z = W^T x scaled to variance 1, h = r(z): of W^T W h, x's direction gives z m / (2 n) in the
    limit, the others h and noise of variance m / (2 n)."""
    n_visible = 600
    W = np.random.default_rng(4).normal(0, 0.05, (n_visible, n_hidden))
    x = np.random.default_rng(5).normal(size=(20, n_visible))  # signs: rows go different ways
    net = make((W,), (np.zeros(n_hidden),), x)
    found = linear.measure(linear.jax.random.key(1), net)
    y, z = np.random.default_rng(6).normal(size=(2, 1_000_000))
    ratio = n_hidden / n_visible
    h = np.maximum(z, 0)
    back = np.maximum(h + z * ratio / 2 + y * np.sqrt(ratio / 2), 0)
    expected = (h * back).mean() / np.sqrt((h**2).mean() * (back**2).mean())
    np.testing.assert_allclose(found["cosine"], expected, atol=0.005)


def test_computed_and_plotted(make, tmp_path, monkeypatch, capsys):
    top = np.maximum(X @ WEIGHTS[0] + BIASES[0], 0)
    labels = np.where(np.arange(len(X)) < 10, -1, top.argmax(1))
    loaders = {
        "one": lambda: make(WEIGHTS, BIASES, X),
        "another": lambda: make(WEIGHTS[:1], BIASES[:1], X, labels),
    }
    monkeypatch.setattr(linear, "list_loaders", lambda *sizes: loaders)
    linear.compute(tmp_path, num_inputs=0, num_fragments=0)
    assert linear.plot(tmp_path).stat().st_size > 10_000
    told = capsys.readouterr().out
    assert "another" in told
    assert "accuracy 0.800" in told
    assert told.count("accuracy 0.") == 1


@pytest.mark.usefixtures("packages")
@pytest.mark.parametrize(
    ("name", "package"), [("ina speech-music", "inaSpeechSegmenter"), ("tiara-5", "tiara")]
)
def test_absent_files(name, package):
    with pytest.raises(FileNotFoundError, match=f"to install it: uv pip install .* {package}=="):
        linear.list_loaders(200, 40)[name]()
