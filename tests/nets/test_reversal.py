import jax
import numpy as np
import pytest

import probrev as pr
from probrev.nets.reversal import fit_gains

# (visible, hidden) of each layer, the one next to x first.
SHAPES = ((13, 9), (9, 6), (6, 4))


def random_net(keep_prob=1.0, shapes=SHAPES, seed=0, scale=0.3):
    """Weights, biases and the net they make."""
    rng = np.random.default_rng(seed)
    weights = [scale * rng.normal(0.05, 1, size=shape) for shape in shapes]
    biases = [rng.normal(0.1, 0.2, size=shape[1]) for shape in shapes]
    net = pr.FeedforwardNet.from_weights(weights, biases, layer_keep_prob=keep_prob)
    return weights, biases, net


def plain_up(weights, biases, x):
    """r(W^T x + b), unit by unit; every level."""
    levels = [x]
    for W, b in zip(weights, biases, strict=True):
        below = levels[-1]
        above = [
            max(0.0, b[i] + sum(W[j, i] * below[j] for j in range(len(below))))
            for i in range(len(b))
        ]
        levels.append(np.array(above))
    return levels


def plain_down(W, h, keep_prob, factor=2.0):
    """gain r(W h) without dropout drawn; the gain by its definition."""
    n, m = W.shape
    column = sum(W[j, i] ** 2 for j in range(n) for i in range(m)) / m
    gain = factor / (keep_prob * column)
    return np.array([gain * max(0.0, sum(W[j, i] * h[i] for i in range(m))) for j in range(n)])


@pytest.mark.parametrize(("top", "depth"), [(1, 1), (3, 2)])
def test_agrees_with_plain_loops(top, depth):
    weights, biases, net = random_net()
    h = np.maximum(np.random.default_rng(4).normal(0.2, 1, size=(3, SHAPES[top - 1][1])), 0)
    found = pr.reverse(jax.random.key(0), net, h, depth=depth, top=top)
    for obs in range(3):
        down = [h[obs]]
        for level in reversed(range(top - depth, top)):
            down.append(plain_down(weights[level], down[-1], keep_prob=1.0))
        path = slice(top - depth, top)
        up = plain_up(weights[path], biases[path], down[-1])
        for given, expected in ((found.down, down), (found.up, up)):
            assert len(given) == depth
            for one, wanted in zip(given, expected[1:], strict=True):
                np.testing.assert_allclose(one[obs], wanted, rtol=1e-10, atol=1e-12)


def test_the_whole_trip_does_not_depend_on_the_scale_of_the_weights():
    weights, biases, net = random_net()
    scaled = pr.FeedforwardNet.from_weights([7 * W for W in weights], biases, layer_keep_prob=1.0)
    h = np.array([[0.5, 0.0, 1.2, 0.3], [0.0, 2.0, 0.0, 0.1]])
    key = jax.random.key(0)
    np.testing.assert_allclose(
        pr.reverse(key, scaled, h).up[-1], pr.reverse(key, net, h).up[-1], rtol=1e-10
    )


def test_dropout_keeps_units_as_they_were_or_drops_them():
    weights, _, net = random_net(keep_prob=0.4)
    h = np.ones((400, 4))
    (x,) = pr.reverse(jax.random.key(1), net, h).down
    whole = plain_down(weights[2], h[0], keep_prob=0.4)
    kept = np.asarray(x) > 0
    np.testing.assert_allclose(np.asarray(x), np.where(kept, whole, 0), atol=1e-12)
    share = kept[:, whole > 0].mean()
    assert share == pytest.approx(0.4, abs=4 * np.sqrt(0.24 / (400 * (whole > 0).sum())))


def test_gains_are_those_of_least_squares():
    weights, _, net = random_net(keep_prob=0.5)
    x = np.abs(np.random.default_rng(8).normal(size=(7, 13)))
    real = [np.asarray(level) for level in net.activations(x)]
    fitted = fit_gains(net, real)
    for W, layer, below, above in zip(weights, fitted.layers, real, real[1:], strict=False):
        made = np.maximum(above @ W.T, 0).ravel()
        (alpha,) = np.linalg.lstsq(made[:, None], below.ravel())[0]
        np.testing.assert_allclose(layer.gain, alpha / 0.5, rtol=1e-10)
    for before, after in zip(real, fitted.activations(x), strict=True):
        np.testing.assert_allclose(after, before, rtol=1e-12)
    # Half of x~ dropped, the rest doubled.
    (dropped,) = pr.reverse(jax.random.key(0), fitted, real[1], top=1).down
    whole = np.maximum(real[1] @ weights[0].T, 0) * float(fitted.layers[0].gain)
    kept = np.asarray(dropped) > 0
    assert 0.3 < kept[whole > 0].mean() < 0.7
    np.testing.assert_allclose(np.asarray(dropped), np.where(kept, whole, 0), rtol=1e-10)
    with pytest.raises(ValueError, match=r"activations\[0\] must be positive somewhere"):
        fit_gains(net, [0 * real[0], *real[1:]])


def test_gaussian_weights_give_the_cosine_of_the_closed_form():
    """Fresh weights in every draw; the closed form is theory's mean and variance of W^T x."""
    n, m, keep_prob = 400, 60, 0.6
    rng = np.random.default_rng(2)
    h = np.abs(rng.normal(size=(1, m))) * (rng.random((1, m)) < 0.4)
    bias = np.full(m, -0.3)
    cosines = []
    for draw in range(150):
        W = rng.normal(size=(n, m)) * 0.2
        net = pr.FeedforwardNet.from_weights([W], [bias], layer_keep_prob=keep_prob)
        up = np.asarray(pr.reverse(jax.random.key(draw), net, h).up[0])
        cosines.append((up @ h.T).item() / np.linalg.norm(up) / np.linalg.norm(h))
    std_error = np.std(cosines, ddof=1) / np.sqrt(len(cosines))
    expected = pr.predict_cosine(h, bias, n, keep_prob).item()
    assert np.mean(cosines) == pytest.approx(expected, abs=4 * std_error)
    assert std_error < 0.0035


def test_closed_form_without_rectifier_by_hand():
    # A bias so high that r does nothing: <h, h + b> and E||h + b||^2 are then moments of a normal.
    h, bias, n, keep_prob = np.array([[1.0, 0.0, 2.0]]), 50.0, 100, 0.5
    var = 2 * (5 + 2 * h**2) / (keep_prob * n) - h**2 / n
    square = ((h + bias) ** 2 + var).sum()
    expected = (h * (h + bias)).sum() / np.sqrt(5 * square)
    np.testing.assert_allclose(pr.predict_cosine(h, bias, n, keep_prob), expected, rtol=1e-10)
    assert np.isnan(pr.predict_cosine(np.zeros((1, 3)), bias, n, keep_prob)).all()


@pytest.mark.slow
def test_table_has_every_path_and_its_numbers():
    _, _, net = random_net(keep_prob=0.7, shapes=SHAPES[:2], scale=0.6)
    x = np.abs(np.random.default_rng(5).normal(size=(40, 13)))
    real = [np.array(level) for level in net.activations(x)]
    real[2] = real[2] + 0.1
    real[2][:, 1] = 0  # a unit that never fires
    table = pr.measure_reversal(jax.random.key(3), net, real)
    assert len(table) == 3 * 2 * 2 * 2
    assert {*zip(table["top"], table["depth"], strict=True)} == {(1, 1), (2, 1), (2, 2)}
    about_h = table[(table["compared"] == "h") & (table["pairs"] == "matched")]
    num_units = about_h.pivot(index=["top", "depth"], columns="units", values="num_units")
    assert num_units.loc[(2, 1)].to_dict() == {"all": 6, "live": 5}
    assert num_units.loc[(2, 2)].to_dict() == {"all": 6, "live": 5}
    key = jax.random.fold_in(jax.random.fold_in(jax.random.key(3), 2), 1)
    made = pr.reverse(key, fit_gains(net, real), real[2], top=2)
    row = about_h[(about_h["top"] == 2) & (about_h["depth"] == 1) & (about_h["units"] == "all")]
    expected = pr.measure_similarity(made.up[-1], real[2]).summary
    assert row[list(expected)].iloc[0].to_dict() == pytest.approx(expected)
    row = table[
        (table["top"] == 2) & (table["depth"] == 1) & (table["compared"] == "x")
        & (table["pairs"] == "matched") & (table["units"] == "all")
    ]  # fmt: skip
    expected = pr.measure_similarity(made.down[-1], real[1]).summary
    assert row[list(expected)].iloc[0].to_dict() == pytest.approx(expected)


def test_shuffled_pairs_are_less_alike():
    rng = np.random.default_rng(6)
    h = np.abs(rng.normal(size=(60, 20)))
    net = pr.FeedforwardNet.from_weights([rng.normal(size=(500, 20))], [np.zeros(20)])
    table = pr.measure_reversal(jax.random.key(0), net, [np.ones((60, 500)), h])
    cosine = table[(table["compared"] == "h") & (table["units"] == "all")]
    cosine = cosine.set_index("pairs")["cosine"]
    assert cosine["matched"] > 0.9
    assert cosine["shuffled"] == pytest.approx(2 / np.pi, abs=0.1)


NET = random_net()[2]
REAL = [np.ones((2, 13)), np.ones((2, 9)), np.ones((2, 6)), np.ones((2, 4))]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: pr.reverse(jax.random.key(0), NET, np.ones((2, 5))), r"shape \(num_obs, 4\)"),
        (lambda: pr.reverse(jax.random.key(0), NET, -np.ones((2, 4))), "h must be .* nonnegative"),
        (
            lambda: pr.measure_reversal(jax.random.key(0), NET, [-REAL[0], *REAL[1:]]),
            r"activations\[0\] must be .* nonnegative, .*: give x before it is standardised",
        ),
        (lambda: pr.reverse(jax.random.key(0), NET, REAL[3], top=4), r"top must lie in \[1, 3\]"),
        (lambda: pr.reverse(jax.random.key(0), NET, REAL[2], top=2, depth=3), "top = 2"),
        (lambda: pr.measure_reversal(jax.random.key(0), NET, REAL[:3]), "4 in all; got 3"),
        (
            lambda: pr.measure_reversal(jax.random.key(0), NET, [*REAL[:2], *REAL[:1:-1]]),
            r"activations\[2\] must have shape \(num_obs, 6\)",
        ),
        (
            lambda: pr.FeedforwardNet.from_weights([np.ones((3, 2))], [np.ones(3)]),
            r"bias array must be finite and have shape \(2,\)",
        ),
        (
            lambda: pr.FeedforwardNet.from_weights([np.ones((3, 2))] * 2, [np.ones(2)] * 2),
            r"weights\[0\] has 2 columns, but weights\[1\] has 3 rows",
        ),
        (
            lambda: pr.FeedforwardNet.from_weights([np.ones((3, 2))], []),
            "lists of the same length",
        ),
        (
            lambda: pr.FeedforwardNet.from_weights(
                [np.ones((3, 2))], [np.ones(2)], layer_keep_prob=0.0
            ),
            r"keep_prob must lie in \(0, 1\]",
        ),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
