"""Nets and linear models of scikit-learn, saved by NumPy as people do."""

import pickle
import warnings

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPRegressor

from tests.nets.weights.exporters.corpus import new_path, write_run

RNG = np.random.default_rng(0)


def trained(hidden, n_visible=6, n_out=3):
    x = RNG.normal(size=(50, n_visible))
    y = RNG.normal(size=(50, n_out))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return MLPRegressor(hidden_layer_sizes=hidden, max_iter=20, random_state=0).fit(x, y), x[:4]


def save(name, arrays, net, x):
    np.savez(new_path(name), **arrays)
    write_run(name, x, net.predict(x))


def write_sklearn():
    """Writes all of them."""
    net, x = trained((6,) * 11)
    numbered = {f"coefs_{i}": one for i, one in enumerate(net.coefs_)}
    numbered |= {f"intercepts_{i}": one for i, one in enumerate(net.intercepts_)}
    save("sklearn/deep.npz", numbered, net, x)
    net, x = trained((7, 5), 4)
    unnamed = [*net.coefs_, *net.intercepts_]
    save("sklearn/unnamed.npz", {f"arr_{i}": one for i, one in enumerate(unnamed)}, net, x)
    pairs = [one for pair in zip(net.coefs_, net.intercepts_, strict=True) for one in pair]
    save("sklearn/in_turn.npz", {f"arr_{i}": one for i, one in enumerate(pairs)}, net, x)
    short = zip(net.coefs_, net.intercepts_, strict=True)
    letters = {name: one for i, (w, b) in enumerate(short, 1) for name, one in
               ((f"W{i}", w), (f"b{i}", b))}  # fmt: skip
    save("sklearn/letters.npz", letters, net, x)
    # Fewer vectors than matrices: which is whose is not known.
    np.savez(new_path("sklearn/few_biases.npz"), *net.coefs_, *net.intercepts_[1:])
    ragged = np.empty(3, object)
    ragged[:] = net.coefs_
    np.savez(new_path("sklearn/ragged.npz"), coefs=ragged, **letters)
    np.save(new_path("sklearn/coefs.npy"), ragged)
    np.save(new_path("sklearn/first.npy"), net.coefs_[0])
    new_path("sklearn/net.pkl").write_bytes(pickle.dumps(net))
    linear = LogisticRegression().fit(x, [0, 1, 2, 0])
    save(
        "sklearn/linear.npz",
        {"coef_": linear.coef_, "intercept_": linear.intercept_},
        type("Scores", (), {"predict": linear.decision_function}),
        x,
    )
