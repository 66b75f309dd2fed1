"""The methods that are chosen for a model, from its size alone."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import pytest
from numpyro.distributions import Bernoulli, Gamma, HalfNormal

import probrev as pr
from probrev.inference import choice
from probrev.inference.methods import METHODS


def model_of(prior, n_visible=40, noise_std=1.0, **layer):
    weights = np.ones((n_visible, prior.n_hidden))
    return pr.LayeredModel(prior, [pr.Layer(weights, 0.5, noise_std, **layer)])


FEW = pr.SpikeAndSlab(6, 0.1, HalfNormal(1.0))
FINITE = pr.FiniteSlab([0.5, 1.0], [0.5, 0.5])


@pytest.mark.parametrize(
    ("prior", "expected"),
    [
        (pr.SpikeAndSlab(24, 0.1, FINITE, max_active=3), ["exact", "gibbs"]),
        (pr.SpikeAndSlab(24, 0.1, FINITE), ["gibbs"]),
        (pr.SpikeAndSlab(24, 0.1, HalfNormal(1.0), max_active=2), ["exact", "gibbs"]),
        (pr.SpikeAndSlab(300, 0.1, HalfNormal(1.0)), ["gibbs", "message_passing"]),
        (pr.KSparse(300, 9, HalfNormal(1.0)), ["gibbs"]),
        (pr.SpikeAndSlab(24, 0.1, Gamma(2.0, 2.0)), ["gibbs"]),
        (pr.SpikeAndSlab(100, 0.1, Gamma(2.0, 2.0)), ["gibbs"]),
        (pr.SpikeAndSlab(300, 0.1, Gamma(2.0, 2.0)), ["message_passing"]),
    ],
    ids=[
        "few states",
        "many states",
        "few supports",
        "many units",
        "exactly k",
        "no closed form",
        "no closed form, slow",
        "no closed form, many",
    ],
)
def test_size_decides(prior, expected):
    assert list(pr.choose_methods(model_of(prior))) == expected


def test_what_is_slow_everywhere_is_done_by_the_quickest():
    wide = model_of(pr.KSparse(300, 9, HalfNormal(1.0)), n_visible=4000)
    assert list(pr.choose_methods(wide)) == ["gibbs"]
    wide = model_of(pr.SpikeAndSlab(300, 0.1, HalfNormal(1.0)), n_visible=4000)
    assert list(pr.choose_methods(wide)) == ["message_passing"]


def test_slabs_without_closed_form_and_switches_cost_more():
    def edges():
        with numpyro.plate("edge", 5):
            on = numpyro.sample("on", Bernoulli(0.2))
        prob = 0.05 + 0.9 * jnp.pad(on, (0, 1))
        return numpyro.sample("h", pr.SpikeAndSlab(6, prob, Gamma(3.0, 3.0)))

    plain, slow, slowest = (
        choice.estimate_seconds("gibbs", pr.LayeredModel(prior, model_of(FEW).layers))
        for prior in (FEW, pr.SpikeAndSlab(6, 0.1, Gamma(3.0, 3.0)), edges)
    )
    assert 100 * plain < slow < slowest / 5


def test_several_layers_are_sampled():
    top = pr.Layer(np.ones((6, 3)), 0.5, 1.0)
    bottom = pr.Layer(np.ones((20, 6)), 0.5, 1.0)
    model = pr.LayeredModel(pr.SpikeAndSlab(3, 0.1, FINITE), [bottom, top])
    assert list(pr.choose_methods(model)) == ["gibbs"]


def test_a_function_is_left_to_numpyro():
    layers = model_of(pr.KSparse(3, 1, FINITE)).layers
    assert list(pr.choose_methods(pr.LayeredModel(lambda: np.ones(3), layers))) == ["hmc"]


def test_no_method_says_why():
    layers = [pr.Layer(np.ones((20, 6)), 0.5, 0.0), pr.Layer(np.ones((6, 3)), 0.5, 1.0)]
    model = pr.LayeredModel(pr.SpikeAndSlab(3, 0.1, HalfNormal(1.0)), layers)
    with pytest.raises(ValueError, match=r"no inference method here serves this model: .*gibbs"):
        pr.choose_methods(model)


def test_methods_have_one_list_of_names():
    assert tuple(choice._METHODS) == METHODS
    model = model_of(pr.SpikeAndSlab(3, 0.1, FINITE))
    obs = pr.Observations(np.ones((1, 40)))
    with pytest.raises(ValueError, match="one of exact, gibbs, message_passing, hmc; got 'exat'"):
        choice.infer("exat", jax.random.key(0), model, obs)
