"""The analysis of reversal at a tiny size on the digits, and its finding on tables made by hand."""

import numpy as np
import pytest

from analyses.reversal import __main__ as reversal
from analyses.reversal import figure, images
from analyses.reversal.layer_table import tabulate_layers
from analyses.reversal.real_nets import RealNet


@pytest.fixture
def own_nets(tmp_path):
    """A folder with a net of random weights, for want of a trained one."""
    rng = np.random.default_rng(0)
    tensors = {}
    for layer, shape in enumerate(((64, 14), (14, 8), (8, 10))):
        tensors[f"layers.{layer}.weights"] = rng.normal(size=shape) / np.sqrt(shape[0])
        tensors[f"layers.{layer}.bias"] = rng.normal(0.2, 0.1, size=shape[1])
    folder = tmp_path / "nets"
    folder.mkdir()
    np.savez(folder / "digits-0.npz", **tensors)
    return folder


@pytest.mark.slow
def test_computed_and_plotted(tmp_path, own_nets, capsys):
    for _ in range(2):
        reversal.compute(tmp_path, num_inputs=30, nets=("digits-0",), own_nets=own_nets)
    assert "digits-0: done before" in capsys.readouterr().out
    assert reversal.plot(tmp_path).stat().st_size > 10_000
    assert (tmp_path / "images-digits-0.png").stat().st_size > 10_000
    told = capsys.readouterr().out
    for words in ("Cosine of h and ĥ", "live units are active"):
        assert words in told
    with pytest.raises(FileNotFoundError, match="run `compute` first"):
        reversal.plot(tmp_path / "nothing")


def test_cosines_against_numpy():
    """Trained weights by the definition; Gaussian ones know nothing of the bias and the scale."""
    rng = np.random.default_rng(1)
    W, b = rng.normal(0.1, 0.4, (30, 12)), rng.normal(-0.5, 0.3, 12)
    x = np.abs(rng.normal(size=(20, 30)))
    h = np.maximum(x @ W + b, 0)
    made = np.maximum(h @ W.T, 0)
    back = np.maximum(made * (made * x).sum() / (made**2).sum() @ W + b, 0)
    cosine = (h * back).sum(1) / np.linalg.norm(h, axis=1) / np.linalg.norm(back, axis=1)
    net = RealNet("net", (W,), (b,), (np.eye(12), b), x[:8], x[8:], np.zeros(12, int))
    other = net._replace(weights=(5 * W,), biases=(b - 1,))
    found, of_other = (
        reversal.measure_net(one)
        .query("compared == 'h' and units == 'all' and keep_prob == 1 and pairs == 'matched'")
        .set_index("weights")["cosine"]
        for one in (net, other)
    )
    assert found["trained"] == pytest.approx(cosine.mean())
    assert of_other["trained"] != pytest.approx(cosine.mean(), abs=1e-3)
    assert found["gaussian"] == pytest.approx(of_other["gaussian"])


def reversal_rows(**cosines):
    """Rows of one layer, with and without dropout, a cosine for each net and kind of weights."""
    same = {"layer": 1, "compared": "h", "units": "all"}
    return [
        same | {"keep_prob": keep_prob, "net": net, "weights": weights, "pairs": pairs}
        | {"cosine": loss * keep_prob * cosine, "correlation": cosine**2}
        for net, both in cosines.items()
        for weights, cosine in zip(("trained", "gaussian"), both, strict=True)
        for keep_prob in (0.5, 1.0)
        for pairs, loss in (("matched", 1.0), ("shuffled", 0.1))
    ]  # fmt: skip


def test_nets_that_differ_in_their_seed_are_one_row():
    rows = reversal_rows(**{"mnist-0": (0.8, 0.5), "digits-0": (0.9, 0.4), "mnist-2": (0.6, 0.7)})
    table = tabulate_layers(rows).set_index("net")
    assert [*table.index] == ["mnist", "digits"]
    assert [*table["num_nets"]] == [2, 1]
    mnist = table.loc["mnist"]
    assert mnist["cosine"] == pytest.approx(0.7)
    assert mnist["cosine_dropout"] == pytest.approx(0.35)
    assert mnist["cosine_gaussian_dropout"] == pytest.approx(0.3)
    assert mnist["cosine_shuffled"] == pytest.approx(0.07)
    assert mnist["correlation_gaussian"] == pytest.approx((0.25 + 0.49) / 2)


def test_the_finding_follows_the_tables():
    table = tabulate_layers(reversal_rows(good=(0.96, 0.9), bad=(0.3, 0.88)))
    told = figure.say_reversal(table)
    assert "one layer: 0.30 to 0.96, of Gaussian weights 0.88 to 0.90; with half" in told
    assert "dropped 0.15 to 0.48 and 0.44 to 0.45. Of 2 layers" in told
    assert "in 1 by cosine (1 with dropout), in 1 (1) by centred correlation" in told


def test_edited_h():
    h = np.array([[1.0, 0.0, 4.0], [3.0, 0.0, 2.0], [0.0, 5.0, 0.0]])
    np.testing.assert_allclose(images.edit_classes(h, np.array([7, 7, 9])), [[2, 0, 3], [0, 5, 0]])
    between = images.edit_between(h, np.array([0, 1, 2]))
    np.testing.assert_allclose(between, [h[0], (h[0] + h[2]) / 2, h[2]])
    alone = images.edit_units(h, 5)
    # Energies 10, 25, 20; a unit's value is between those that it has.
    assert [int(np.flatnonzero(row)[0]) for row in alone[:3]] == [1, 2, 0]
    assert not alone[3:].any()
    assert alone[1, 2] == pytest.approx(np.quantile([4, 2], 0.9))
