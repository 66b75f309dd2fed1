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
def test_model_has_the_trained_weights_and_relative_noise(trained):
    model = build(keep_prob=0.8, relative_noise=0.3)
    (layer,) = model.layers
    assert (model.n_visible, model.n_hidden, layer.keep_prob) == (256, 128, 0.8)
    np.testing.assert_array_equal(layer.weights, trained.weights)
    rms = np.sqrt(np.mean(np.square(trained.h_train @ trained.weights.T)))
    assert layer.noise_std == pytest.approx(0.3 * rms)


@pytest.mark.slow
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


@pytest.mark.slow
def test_prior_fits_held_out_activations_better_than_its_rivals(trained, model):
    h = trained.h_held_out
    rivals = {
        "half-normal": pr.fit_prior(trained.h_train, "half_normal"),
        "exponential": pr.fit_prior(trained.h_train, "exponential"),
        "shared": pr.fit_prior(trained.h_train, shared=True),
    }
    with jax.numpy_rank_promotion("allow"):  # NumPyro's densities of a slab per unit
        score = {name: np.mean(prior.log_prob(h)) for name, prior in rivals.items()}
        best = np.mean(model.prior.log_prob(h))
    own = stats.truncnorm.logpdf(h, *truncated_normal(model.prior))
    fired = np.where(h > 0, own, 0).sum(-1).mean()
    assert fired == pytest.approx(-120, abs=3)
    assert best > max(score.values()) + 4
    prob = np.asarray(model.prior.inclusion_prob)
    np.testing.assert_allclose(prob, (h > 0).mean(0), atol=0.12)
    assert np.all((prob > 0) & (prob < 1))


@pytest.mark.slow
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


@pytest.mark.slow
def test_activations_are_real_and_have_no_truth(trained):
    model = build(source="activations")
    obs = observe(model, 40, source="activations")
    assert obs.h is None
    images = (np.asarray(obs.x)[:, None] == trained.x_held_out[None]).all(-1)
    assert (images.sum(1) == 1).all()
    model.check(obs)


@pytest.mark.slow
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
