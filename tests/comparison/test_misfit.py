"""Models that do not fit what they are asked about end in a doubt, from each side."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from scipy.stats import binom

import probrev as pr
from probrev.comparison.metrics import Case
from probrev.comparison.metrics.predictive import predictive
from probrev.comparison.verdict import Word
from tests import small_case
from tests.marks import by_hand
from tests.small_case import LAYER, MODEL, OTHER, SLAB

NUM_OBS = 200


@pytest.fixture(autouse=True)
def no_curve(monkeypatch):
    monkeypatch.setattr("probrev.comparison.compare.noise_curve", lambda key, model: None)


def net(x):
    return np.maximum(np.asarray(LAYER.readout(x)) - 0.3, 0)


def compare(obs, model=MODEL):
    posterior = pr.exact(model, obs)
    return pr.compare(model, obs, {"net": net}, {"exact": posterior})


@pytest.mark.slow
def test_the_right_model_is_judged():
    found = compare(MODEL.simulate(jax.random.key(0), NUM_OBS))
    assert found.conclusive
    assert not found.doubts
    assert found.verdicts[0].word is Word.FAR
    assert found.headline.startswith("1 of 1 inverses decided against exact ")


@pytest.mark.slow
def test_h_from_another_prior_convict_this_one():
    """x from the model's own layers, and h three times as dense as its prior has them."""
    h = OTHER.simulate(jax.random.key(1), NUM_OBS).h
    obs = MODEL.observe_from(jax.random.key(2), h)
    sparse = pr.LayeredModel(pr.SpikeAndSlab(4, 0.1, SLAB, max_active=4), [LAYER])
    found = compare(obs, sparse)
    assert not found.conclusive
    assert {verdict.word for verdict in found.verdicts} == {Word.MISFIT}
    assert found.headline.startswith("Misfit: ")
    assert found.tree["metrics/exact"].attrs["origin"] == "layers"
    # Under the prior that made h it is not one.
    assert compare(obs, OTHER).conclusive


@pytest.mark.slow
def test_x_that_the_layers_did_not_make():
    """Rows that are never silent: no h explains them."""
    x = 0.5 + 0.1 * np.random.default_rng(0).uniform(size=(NUM_OBS, 12))
    found = compare(pr.Observations(x))
    assert found.verdicts[0].word is Word.MISFIT
    assert "share of zeros outside the central 90 % of what exact predicts" in found.headline


@pytest.mark.slow
def test_real_x_that_fits_is_unjudged():
    obs = MODEL.simulate(jax.random.key(3), NUM_OBS)
    found = compare(pr.Observations(obs.x))
    assert found.verdicts[0].word is Word.UNJUDGED
    assert found.headline.startswith("Unjudged: the model's layers are not known to have made x; ")
    assert found.conclusive
    # Given with its h, R is there to be read, and the word is the same.
    found = compare(pr.Observations(obs.x, obs.h))
    assert found.verdicts[0].word is Word.UNJUDGED
    assert "risk / Bayes risk = " in found.verdicts[0].sentence


@pytest.mark.slow
def test_a_wrong_posterior_of_the_right_model_is_inconclusive():
    obs = MODEL.simulate(jax.random.key(4), NUM_OBS)
    exact = pr.exact(MODEL, obs)
    groups = {name: node.to_dataset() for name, node in exact.tree.children.items()}
    groups["exact"] = groups["exact"].assign(var=0.5 * groups["exact"]["var"])
    tree = xr.DataTree.from_dict(groups)
    tree.attrs = exact.tree.attrs
    sure = type(exact)(tree, MODEL)
    found = pr.compare(MODEL, obs, {"net": net}, {"sure": sure})
    assert found.doubts["sure"].word is Word.INCONCLUSIVE
    assert "sure claims 0.5" in found.headline


@pytest.mark.slow
def test_constant_draws_decide_nothing():
    """One chain of one draw that says h = 0, held against a net that says so too."""
    obs = MODEL.simulate(jax.random.key(0), 8)
    one = xr.Dataset({"h": (("chain", "draw", "obs", "hidden"), np.zeros((1, 1, 8, 4)))})
    inverses = {"nothing": lambda x: np.zeros((len(x), 4))}
    found = pr.compare(MODEL, obs, inverses, {"constant": one})
    assert not found.conclusive
    assert found.verdicts[0].word is Word.INCONCLUSIVE
    assert found.headline.startswith("Inconclusive: constant is unchecked (one chain")
    many = np.zeros((4, 500, 8, 4))
    found = pr.compare(MODEL, obs, {"net": net}, {"constant": many})
    assert found.headline.startswith(
        "Inconclusive: constant is unchecked (nothing moves in some chain"
    )


@pytest.mark.slow
def test_a_posterior_of_a_part_may_make_the_whole_inconclusive():
    obs = small_case.observe(16)
    exact = pr.exact(MODEL, obs)
    few = pr.hmc(jax.random.key(0), MODEL, obs, num_obs=2, num_warmup=20, num_samples=30)
    found = pr.compare(MODEL, obs, {"net": net}, {"exact": exact, "hmc": few})
    assert few.status != "ok"
    assert not found.conclusive
    assert found.headline.startswith("Inconclusive: hmc is ")
    words = {verdict.posterior: verdict.word for verdict in found.verdicts}
    assert words["hmc"] is Word.INCONCLUSIVE
    assert words["exact"] is not Word.INCONCLUSIVE


def test_predictive_p_is_a_binomial_tail():
    """From the replicates that are kept, by loops."""
    obs = MODEL.simulate(jax.random.key(5), 40)
    exact = pr.exact(MODEL, obs, num_draws=400)
    coords = {"obs": exact.obs}
    case = Case(
        posterior=exact,
        estimates=xr.DataArray(np.asarray(net(obs.x))[None], {"inverse": ["net"], **coords},
                               ("inverse", "obs", "hidden")),
        truth=None,
        x=xr.DataArray(np.asarray(obs.x), coords, ("obs", "visible")),
        model=MODEL,
        seed=0,
    )  # fmt: skip
    found = predictive(case)
    values = {row.metric: row.value for row in found.rows}
    for name in ("zero_share", "norm", "largest"):
        seen = found.arrays[f"{name}_observed"].to_numpy()
        replicated = found.arrays[f"{name}_posterior"].to_numpy()
        extreme = 0
        for one, drawn in zip(seen, replicated.T, strict=True):
            p = sum((r > one) + 0.5 * (r == one) for r in drawn) / len(drawn)
            extreme += p < 0.05 or p > 0.95
        tail = sum(binom.pmf(k, 40, 0.1) for k in range(extreme, 41))
        assert values[f"predictive_surprise_{name}"] == pytest.approx(extreme / 40)
        assert values[f"predictive_p_{name}"] == pytest.approx(tail, rel=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("keep_prob", "relative_noise", "source"),
    [(0.5, 0.4, "real x"), *by_hand((0.9, 0.8, "x from real h"))],
)
def test_a_real_net_that_the_model_does_not_fit(keep_prob, relative_noise, source):
    """A scikit-learn net's second layer, read on breast-cancer data."""
    datasets = pytest.importorskip("sklearn.datasets")
    from sklearn.model_selection import train_test_split
    from sklearn.neural_network import MLPClassifier
    from sklearn.preprocessing import StandardScaler

    data, labels = datasets.load_breast_cancer(return_X_y=True)
    train, test, y, _ = train_test_split(
        StandardScaler().fit_transform(data), labels, test_size=0.5, random_state=0, stratify=labels
    )
    trained = MLPClassifier((32, 16), max_iter=400, random_state=0).fit(train, y)
    (below, weights), (low, high) = trained.coefs_[:2], trained.intercepts_[:2]

    def up(x):
        return np.maximum(np.asarray(x) @ weights + high, 0)

    x_train, x = (np.maximum(one @ below + low, 0) for one in (train, test[:200]))
    noise_std = relative_noise * float(np.sqrt(np.mean((up(x_train) @ weights.T) ** 2)))
    layer, _ = pr.fit_layer(
        weights, x_train, up(x_train), held_out=(x, up(x)), keep_prob=keep_prob,
        noise_std=noise_std, bias=False,
    )  # fmt: skip
    model = pr.LayeredModel(pr.fit_prior(up(x_train)), [layer])
    obs = pr.Observations(x)
    if source == "x from real h":
        obs = model.observe_from(jax.random.key(0), jnp.asarray(up(x)))
    gibbs = pr.gibbs(jax.random.key(1), model, obs, num_samples=6000)
    found = pr.compare(model, obs, {"as_trained": up}, {"gibbs": gibbs})
    assert found.verdicts[0].word is Word.MISFIT
    assert not found.conclusive
