import sys

import jax
import numpy as np
import pytest
from scipy import stats

import probrev as pr
from probrev.runs import registry

build = registry.load("digits")
digits = sys.modules[build.__module__]


@pytest.fixture(scope="module")
def trained():
    return digits.train_layer(0)


@pytest.fixture(scope="module")
def model():
    return build()


@pytest.fixture(scope="module")
def independent():
    return build(prior="independent")


def observe(model, num_obs, seed=3, **settings):
    arguments = registry.arguments(build, settings)
    return registry.call_hook(
        build, "observe", arguments, key=jax.random.key(seed), model=model, num_obs=num_obs
    )


@pytest.mark.slow
def test_the_net_reads_digits_it_was_not_trained_on(trained):
    assert trained.accuracy >= 0.95
    assert trained.weights.shape == (256, 128)
    assert trained.x_train.shape == (898, 256)
    assert trained.x_held_out.shape == (899, 256)


@pytest.mark.slow
def test_h_is_what_the_layer_makes_of_x(trained):
    for x, h in (
        (trained.x_train, trained.h_train),
        (trained.x_held_out, trained.h_held_out),
    ):
        np.testing.assert_allclose(np.clip(x @ trained.weights + trained.bias, 0, None), h)


@pytest.mark.slow
def test_what_is_given_is_not_fitted(trained):
    model = build(keep_prob=0.8, relative_noise=0.3)
    (layer,) = model.layers
    assert (model.n_visible, model.n_hidden, layer.keep_prob) == (256, 128, 0.8)
    np.testing.assert_array_equal(layer.weights, trained.weights)
    rms = np.sqrt(np.mean(np.square(trained.h_train @ trained.weights.T)))
    assert layer.noise_std == pytest.approx(0.3 * rms)


@pytest.mark.slow
def test_the_fitted_layer_fits(trained, model):
    """Theory notes, section 16: what was measured there on this layer."""
    (layer,) = model.layers
    assert layer.keep_prob == pytest.approx(0.993, abs=1e-3)
    assert layer.noise_std == pytest.approx(1.944, abs=0.02)
    assert layer.gain == pytest.approx(0.0874, abs=5e-4)
    nats = layer.log_likelihood(trained.h_held_out, trained.x_held_out)
    assert nats.mean() > 35
    found = {check.name: check for check in digits.checks(model)}
    assert all(check.holds for check in found.values())
    assert abs(found["zeros"].value) < 0.01


def truncated_normal(prior):
    """Its slab as SciPy names it: lower and upper end in standard units, loc, scale."""
    loc, scale = np.asarray(prior.slab.base_dist.loc), np.asarray(prior.slab.base_dist.scale)
    return -loc / scale, np.inf, loc, scale


@pytest.mark.slow
def test_prior_fits_held_out_activations_better_than_its_rivals(trained, independent):
    h = trained.h_held_out
    rivals = {
        "half-normal": pr.fit_prior(trained.h_train, "half_normal"),
        "exponential": pr.fit_prior(trained.h_train, "exponential"),
        "shared": pr.fit_prior(trained.h_train, shared=True),
    }
    with jax.numpy_rank_promotion("allow"):  # NumPyro's densities of a slab per unit
        score = {name: np.mean(prior.log_prob(h)) for name, prior in rivals.items()}
        best = np.mean(independent.prior.log_prob(h))
    own = stats.truncnorm.logpdf(h, *truncated_normal(independent.prior))
    fired = np.where(h > 0, own, 0).sum(-1).mean()
    assert fired == pytest.approx(-120, abs=3)
    assert best > max(score.values()) + 4
    prob = np.asarray(independent.prior.inclusion_prob)
    np.testing.assert_allclose(prob, (h > 0).mean(0), atol=0.12)
    assert np.all((prob > 0) & (prob < 1))


@pytest.mark.slow
def test_generated_observations_come_from_real_h(trained, model):
    obs = observe(model, 40)
    images = (np.asarray(obs.h)[:, None] == trained.h_held_out[None]).all(-1)
    assert (images.sum(1) == 1).all()
    assert (images.sum(0) <= 1).all()
    (layer,) = model.layers
    z = np.asarray(obs.h) @ trained.weights.T + np.asarray(layer.bias)
    silent = 1 - float(layer.keep_prob) * stats.norm.cdf(z / float(layer.noise_std))
    assert (np.asarray(obs.x) == 0).mean() == pytest.approx(silent.mean(), abs=0.02)
    model.check(obs)
    again = observe(model, 40)
    np.testing.assert_array_equal(again.x, obs.x)
    assert not np.array_equal(observe(model, 40, seed=4).h, obs.h)


@pytest.mark.slow
def test_activations_are_real_and_have_no_truth(trained):
    model = build(source="activations")
    obs = observe(model, 40, source="activations")
    assert obs.h is None
    images = (np.asarray(obs.x)[:, None] == trained.x_held_out[None]).all(-1)
    assert (images.sum(1) == 1).all()
    model.check(obs)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"source": "dreams"}, "source must be one of generated, activations; got 'dreams'"),
        ({"relative_noise": 0.0}, "noise_std must be positive"),
        ({"prior": "flat"}, "prior must be one of correlated, independent; got 'flat'"),
        ({"keep_prob": 1.2}, r"keep_prob must lie in \(0, 1\]"),
    ],
)
def test_bad_parameters(settings, message):
    with pytest.raises(ValueError, match=message):
        build(**settings)


@pytest.mark.slow
def test_more_observations_than_images(model):
    with pytest.raises(ValueError, match=r"num_obs must be at most 899, .*; got 900"):
        observe(model, 900)


def test_without_scikit_learn_the_error_says_what_to_type(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    digits.train_layer.cache_clear()
    with pytest.raises(ImportError, match="uv run --extra data probrev compare digits, or pip"):
        build()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("source", "lowest", "highest"), [("generated", 0, 0.4), ("activations", 1, 1)]
)
def test_the_predictive_check_knows_whose_x_it_is(source, lowest, highest):
    settings = {"keep_prob": 0.5, "relative_noise": 0.4, "prior": "independent", "source": source}
    model = build(**settings)
    obs = observe(model, 12, **settings)
    posterior = pr.gibbs(jax.random.key(5), model, obs, num_samples=1000)
    assert posterior.status == "ok", posterior.status_reason
    ladder = pr.build_ladder(jax.random.key(6), model, ["calibrated"])
    result = pr.compare(model, obs, ladder, {"gibbs": posterior})
    table = result.table().set_index("metric")["value"]
    for statistic in ("zero_share", "norm"):
        assert lowest <= table[f"predictive_surprise_{statistic}"] <= highest
