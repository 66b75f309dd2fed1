"""Models as data: what comes back has every number, bit for bit, or is refused."""

import json
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import probrev as pr
from probrev.model.observations import same_numbers
from probrev.model.stored import Parts, digest, put_together, take_apart

WEIGHTS = np.random.default_rng(0).normal(size=(7, 3))
SLABS = [
    pr.FiniteSlab([0.3, 1.0], [0.4, 0.6]), dist.HalfNormal(0.7), dist.Exponential(2.0),
    dist.TruncatedNormal(0.3, 1.1, low=0.0), dist.Gamma(2.0, 3.0), dist.LogNormal(0.1, 0.4),
    dist.HalfNormal(np.array([0.2, 0.3, 0.4])),
]  # fmt: skip
ACTIVATIONS = ["relu", "identity", pr.LeakyRelu(0.2), pr.ClippedRelu(2.0), pr.Threshold()]


def back(model):
    parts = take_apart(model)
    return put_together(Parts(json.loads(json.dumps(parts.structure)), parts.arrays))


@pytest.mark.parametrize("slab", SLABS, ids=lambda slab: type(slab).__name__)
@pytest.mark.parametrize("kind", [pr.SpikeAndSlab, pr.KSparse])
def test_priors_come_back(kind, slab):
    prior = pr.SpikeAndSlab(3, 0.3, slab, 2) if kind is pr.SpikeAndSlab else pr.KSparse(3, 1, slab)
    again = back(prior)
    assert type(again) is kind
    assert same_numbers(again, prior)
    h = jnp.array([0.0, 0.3, 0.0])
    assert again.log_prob(h) == prior.log_prob(h)


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=str)
def test_layers_come_back(activation):
    layers = [pr.Layer(WEIGHTS, 0.5, 1.1, 0.8, activation, bias=np.arange(7.0)),
              pr.Layer(WEIGHTS[:3, :2], 0.5, 1.1)]  # fmt: skip
    model = pr.LayeredModel(pr.SpikeAndSlab(2, 0.3, SLABS[0]), layers)
    again = back(model)
    assert same_numbers(again, model)
    assert again.layers[0].activation == layers[0].activation
    assert again.layers[1].given_gain is None
    np.testing.assert_array_equal(
        again.simulate(jax.random.key(0), 2).x, model.simulate(jax.random.key(0), 2).x
    )


def test_machines_come_back():
    machine = pr.BoltzmannMachine([WEIGHTS], [0.1, -0.2])
    assert same_numbers(back(machine), machine)


def test_digests_tell_numbers_and_structures_apart():
    def digest_of(rate, max_active=None, weights=WEIGHTS, activation="relu"):
        prior = pr.SpikeAndSlab(3, rate, SLABS[1], max_active)
        return digest(take_apart(pr.LayeredModel(prior, [pr.Layer(weights, 1, 1, 1, activation)])))

    other = WEIGHTS.copy()
    other[6, 2] = np.nextafter(other[6, 2], 9)
    found = [
        digest_of(0.3), digest_of(0.3, 3), digest_of(np.nextafter(0.3, 1)),
        digest_of(0.3, weights=other), digest_of(0.3, activation="identity"),
    ]  # fmt: skip
    assert digest_of(0.3) == found[0]
    assert len({*found}) == 5


@pytest.mark.slow
def test_a_digest_is_the_same_in_every_process():
    code = (
        "import numpyro, probrev as pr; numpyro.enable_x64()\n"
        "from probrev.model.stored import digest, take_apart\n"
        "prior = pr.SpikeAndSlab(3, 0.3, pr.FiniteSlab([0.3, 1.0], [0.4, 0.6]))\n"
        "print(digest(take_apart(prior), prior))"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True,
            env=os.environ | {"PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2", "3", "4")
    }  # fmt: skip
    assert len(found) == 1


def test_functions_and_classes_of_ones_own_are_refused():
    @pr.pytree()
    class Mine(pr.SpikeAndSlab):
        pass

    def prior():
        return jnp.ones(3)

    squash = pr.Increasing(jnp.tanh, jnp.arctanh, lambda y: -jnp.log1p(-(y**2)), -1.0, 1.0)
    for bad, match in (
        (pr.LayeredModel(prior, [pr.Layer(WEIGHTS)]), r"prior is a function"),
        (Mine(3, 0.3, SLABS[0]), r"Mine is a class of one's own"),
        (squash, "tanh is a function"),
    ):
        with pytest.raises(ValueError, match=match):
            take_apart(bad)


@pytest.mark.parametrize(
    ("structure", "match"),
    [
        ({"class": "os:system", "fields": {}}, "os:system, which is neither probrev's nor NumPyro"),
        ({"class": "probrev.model.stored:json", "fields": {}}, "which is no class"),
        ({"class": "probrev.model.stored:Any", "fields": {}}, "no class that is defined there"),
        ({"class": "probrev.model.layer:Layer.__init__", "fields": {}}, "not fit"),
        ({"class": "probrev.model.stored:jnp.float32", "fields": {}}, "not fit"),
        ({"class": "probrev.model.kinds:Question", "fields": {"method": "x"}}, "no part of a mod"),
        ({"class": "probrev.plumbing.refusal:Refusal", "fields": {}}, "no part of a model"),
        ({"class": "probrev.model.layer:Layer", "fields": {"simulate": 1}}, "Layer of simulate"),
        ({"class": "numpyro.distributions.continuous:Normal", "fields": {"loc": "a"}}, "of loc"),
        ({"class": 3, "fields": {}}, "does not fit"),
        ({"array": ["a"], "jax": True}, "does not fit"),
        ({"tuple": 5}, "does not fit"),
        ({"class": "probrev.model.layer:Absent", "fields": {}}, "does not fit this version"),
        ({"class": "numpyro.distributions.continuous:HalfNormal", "fields": {"s": 1}}, "of s; exp"),
    ],
)
def test_nothing_but_classes_of_both_packages_is_made(structure, match):
    with pytest.raises(ValueError, match=match):
        put_together(Parts(structure, {}))


def test_a_class_that_a_module_of_ours_uses_is_not_made(tmp_path):
    (tmp_path / "precious").write_text("precious")
    fields = {"file": str(tmp_path / "precious"), "mode": "w"}
    structure = {"class": "probrev.nets.weights.archive:ZipFile", "fields": fields}
    with pytest.raises(ValueError, match="no class that is defined there"):
        put_together(Parts(structure, {}))
    assert (tmp_path / "precious").read_text() == "precious"
