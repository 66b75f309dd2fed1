import sys

import jax
import numpy as np
import pytest
from scipy import stats

import probrev as pr
from probrev import registry

build = registry.load("digits")
digits = sys.modules[build.__module__]


@pytest.fixture(scope="module")
def trained():
    return digits.train_layer(0)


@pytest.fixture(scope="module")
def model():
    return build()


def observe(model, num_obs, seed=3, **settings):
    arguments = registry.arguments(build, settings)
    return registry.call_hook(
        build, "observe", arguments, key=jax.random.key(seed), model=model, num_obs=num_obs
    )


def test_the_net_reads_digits_it_was_not_trained_on(trained):
    assert trained.accuracy >= 0.95
    assert trained.weights.shape == (256, 128)
    assert trained.x_train.shape == (898, 256)
    assert trained.x_held_out.shape == (899, 256)


def test_h_is_what_the_layer_makes_of_x(trained):
    for x, h in (
        (trained.x_train, trained.h_train),
        (trained.x_held_out, trained.h_held_out),
    ):
        np.testing.assert_allclose(np.clip(x @ trained.weights + trained.bias, 0, None), h)


def test_model_has_the_trained_weights_and_relative_noise(trained):
    model = build(keep_prob=0.8, relative_noise=0.3)
    (layer,) = model.layers
    assert (model.n_visible, model.n_hidden, layer.keep_prob) == (256, 128, 0.8)
    np.testing.assert_array_equal(layer.weights, trained.weights)
    rms = np.sqrt(np.mean(np.square(trained.h_train @ trained.weights.T)))
    assert layer.noise_std == pytest.approx(0.3 * rms)


@pytest.mark.parametrize("keep_prob", [0.5, 0.8])
def test_gain_gives_generated_x_the_energy_of_real_x(trained, keep_prob):
    layer = build(keep_prob=keep_prob).layers[0]
    rng = np.random.default_rng(5)
    z = trained.h_train @ trained.weights.T
    noisy = np.clip(z + layer.noise_std * rng.normal(size=z.shape), 0, None)
    x = layer.gain * noisy * (rng.random(z.shape) < keep_prob)
    energy = np.square(x).sum(-1)
    std_error = energy.std() / np.sqrt(len(energy))
    assert np.square(trained.x_train).sum(-1).mean() == pytest.approx(
        energy.mean(), abs=4 * std_error
    )


def truncated_normal(prior):
    """Its slab as SciPy names it: lower and upper end in standard units, loc, scale."""
    loc, scale = np.asarray(prior.slab.base_dist.loc), np.asarray(prior.slab.base_dist.scale)
    return -loc / scale, np.inf, loc, scale


def test_prior_counts_one_image_more():
    h = np.array([[0.0, 2.0, 1.0], [0.0, 0.0, 3.0], [0.0, 3.0, 5.0]])
    prior = digits.fit_prior(h)
    np.testing.assert_allclose(prior.inclusion_prob, [0.5 / 4, 2.5 / 4, 3.5 / 4])
    average, square = (2 + 1 + 3 + 3 + 5) / 5, (4 + 1 + 9 + 9 + 25) / 5
    mean, var = stats.truncnorm.stats(*truncated_normal(prior))
    np.testing.assert_allclose(mean, [average, (5 + average) / 3, (9 + average) / 4], rtol=1e-5)
    np.testing.assert_allclose(
        var + mean**2, [square, (13 + square) / 3, (35 + square) / 4], rtol=1e-5
    )


def test_moments_that_no_truncated_normal_has_keep_the_mean():
    loc, scale = digits.fit_truncated_normal(np.array([1.5]), np.array([9.0]))
    (mean,) = stats.truncnorm.mean(-loc / scale, np.inf, loc=loc, scale=scale)
    assert mean == pytest.approx(1.5, rel=1e-4)


def test_prior_fits_held_out_activations_better_than_its_rivals(trained, model):
    h, rivals = trained.h_held_out, {}
    fired = trained.h_train[trained.h_train > 0]
    num_fired = (trained.h_train > 0).sum(0)
    mean, square = (
        ((trained.h_train**k).sum(0) + (fired**k).mean()) / (num_fired + 1) for k in (1, 2)
    )
    rivals["half-normal"] = stats.halfnorm.logpdf(h, scale=np.sqrt(square))
    rivals["exponential"] = stats.expon.logpdf(h, scale=mean)
    loc, scale = digits.fit_truncated_normal(fired.mean(), (fired**2).mean())
    rivals["shared"] = stats.truncnorm.logpdf(h, -loc / scale, np.inf, loc=loc, scale=scale)
    scores = {
        name: np.where(h > 0, log_prob, 0).sum(-1).mean() for name, log_prob in rivals.items()
    }
    own = stats.truncnorm.logpdf(h, *truncated_normal(model.prior))
    score = np.where(h > 0, own, 0).sum(-1).mean()
    assert score == pytest.approx(-120, abs=3)
    assert score > max(scores.values()) + 4
    prob = np.asarray(model.prior.inclusion_prob)
    np.testing.assert_allclose(prob, (h > 0).mean(0), atol=0.12)
    assert np.all((prob > 0) & (prob < 1))


def test_generated_observations_come_from_real_h(trained, model):
    obs = observe(model, 40)
    images = (np.asarray(obs.h)[:, None] == trained.h_held_out[None]).all(-1)
    assert (images.sum(1) == 1).all()
    assert (images.sum(0) <= 1).all()
    z = np.asarray(obs.h) @ trained.weights.T
    silent = 1 - 0.5 * stats.norm.cdf(z / model.layers[0].noise_std)
    assert (np.asarray(obs.x) == 0).mean() == pytest.approx(silent.mean(), abs=0.02)
    model.check(obs)
    again = observe(model, 40)
    np.testing.assert_array_equal(again.x, obs.x)
    assert not np.array_equal(observe(model, 40, seed=4).h, obs.h)


def test_activations_are_real_and_have_no_truth(trained):
    model = build(source="activations")
    obs = observe(model, 40, source="activations")
    assert obs.h is None
    images = (np.asarray(obs.x)[:, None] == trained.x_held_out[None]).all(-1)
    assert (images.sum(1) == 1).all()
    model.check(obs)


def test_the_model_is_silent_more_often_than_the_net(trained, model):
    simulated = model.simulate(jax.random.key(1), 200).x
    assert (np.asarray(simulated) == 0).mean() > 0.55
    assert (trained.x_held_out == 0).mean() < 0.25


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"source": "dreams"}, "source must be one of generated, activations; got 'dreams'"),
        ({"relative_noise": 0.0}, "relative_noise must be positive"),
        ({"keep_prob": 1.2}, r"keep_prob must lie in \(0, 1\]"),
    ],
)
def test_bad_parameters(settings, message):
    with pytest.raises(ValueError, match=message):
        build(**settings)


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
    model = build(source=source)
    obs = observe(model, 12, source=source)
    posterior = pr.gibbs(jax.random.key(5), model, obs, num_samples=1000)
    assert posterior.status == "ok", posterior.status_reason
    ladder = pr.build_ladder(jax.random.key(6), model, ["scalar"])
    result = pr.compare(model, obs, ladder, {"gibbs": posterior})
    table = result.table().set_index("metric")["value"]
    for statistic in ("zero_share", "norm"):
        assert lowest <= table[f"predictive_surprise_{statistic}"] <= highest
