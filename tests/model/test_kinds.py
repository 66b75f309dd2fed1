"""What is overridden is not assumed: subclasses of models and layers, and a model's own methods."""

from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import probrev as pr
from probrev.inference.choice import choose_methods
from probrev.inference.exact.plan import exact_plan_of
from probrev.inference.gibbs.sweep import sweep_of
from probrev.inference.hmc import sampled_program
from probrev.model.kinds import law_of, overridden
from probrev.theory.curve import noise_curve

SLAB = pr.FiniteSlab([1.0], [1.0])
WEIGHTS = np.random.default_rng(0).normal(size=(9, 3))
LAYER = pr.Layer(WEIGHTS, 0.5, 1.5)
PRIOR = pr.SpikeAndSlab(3, 0.3, SLAB)
STATES = np.array([*product((0.0, 1.0), repeat=3)])
MODEL = pr.LayeredModel(PRIOR, [LAYER])
OBS = MODEL.simulate(jax.random.key(0), 2)


# Which names are overridden


class Above:
    """Behind all others."""

    def law(self):
        """Says something."""

    def other(self):
        """Says more."""


class Declares(Above):
    """Declares something of the law."""

    declared = True


class Mixin:
    """Another law."""

    def law(self):
        """Says something else."""


class Mixed(Mixin, Declares):
    """The mixin goes before."""


class Adds(Declares):
    """Nothing behind it has this."""

    def more(self):
        """Is new."""


class SaysAgain(Mixed):
    """Knows of the mixin."""

    declared = True


@pytest.mark.parametrize(
    ("kind", "expected"),
    [(Declares, ()), (Mixed, ("law",)), (Adds, ()), (SaysAgain, ())],
)
def test_what_a_declaration_cannot_know(kind, expected):
    names = ("law", "other", "more")
    assert overridden(kind(), names, since=("declared",)) == expected
    assert overridden(kind(), names, since=kind) == ()


def test_what_is_put_on_one_object_is_overridden():
    one = Declares()
    one.law = lambda: None
    assert overridden(one, ("law", "other"), since=Declares) == ("law",)


def test_the_law_of_a_class_is_its_methods_and_properties():
    assert law_of(Mixed) == ("law", "other")
    assert law_of(Adds, aside=("other",)) == ("law", "more")
    assert "distribution" in law_of(pr.Layer)
    assert "field" in law_of(pr.BoltzmannMachine)


# Subclasses of LayeredModel


@pr.pytree()
class Heated(pr.LayeredModel):
    """A likelihood to the power of one half, and no word of how to draw it."""

    def log_likelihood(self, h, x):
        return 0.5 * super().log_likelihood(h, x)


@pr.pytree(data=("offset",))
@dataclass(frozen=True)
class Named(pr.LayeredModel):
    """One field more, and the law as it was."""

    offset: float = 0.0

    @property
    def setting(self):
        return "as usual"

    def check_draws(self, h):
        return ""


HEATED = Heated(PRIOR, [LAYER])


def by_hand(log_likelihood):
    prior = np.where(STATES > 0, 0.3, 0.7).prod(1)
    joint = prior * np.exp(log_likelihood)
    return joint @ STATES / joint.sum(1, keepdims=True)


def pairwise(model, obs):
    return np.asarray(model.log_likelihood(jnp.asarray(STATES)[None], obs.x[:, None]))


def test_a_law_of_ones_own_gets_nothing_of_the_built_in_one():
    key = jax.random.key(1)
    assert HEATED.law_changes == ("log_likelihood",)
    why = "which has a law of its own: it changes log_likelihood"
    for call in (
        lambda: pr.gibbs(key, HEATED, OBS),
        lambda: pr.GibbsKernel(HEATED),
        lambda: pr.message_passing(HEATED, OBS),
    ):
        with pytest.raises(ValueError, match=why):
            call()
    with pytest.raises(ValueError, match="overrides log_likelihood, but not program"):
        pr.estimate_log_evidence(key, HEATED, OBS)
    assert pr.list_rungs(HEATED) == ()
    assert pr.build_samplers(key, HEATED) == {}
    assert noise_curve(key, HEATED) is None
    assert list(choose_methods(HEATED)) == ["exact"]


@pytest.mark.slow
def test_a_law_of_ones_own_is_enumerated_by_its_density():
    assert exact_plan_of(HEATED).method == "enumeration"
    exact = pr.exact(HEATED, OBS, num_draws=4)
    np.testing.assert_allclose(exact.mean, by_hand(0.5 * pairwise(MODEL, OBS)), rtol=1e-9)


@pytest.mark.slow
def test_the_table_of_another_law_is_not_used():
    three = MODEL.simulate(jax.random.key(4), 3)  # as many as have a table for all
    found = pr.exact(HEATED, three, num_draws=4).mean
    np.testing.assert_allclose(found, by_hand(0.5 * pairwise(MODEL, three)), rtol=1e-9)


def test_half_a_law_is_refused_where_the_other_half_is_asked_for():
    with pytest.raises(ValueError, match="Heated overrides log_likelihood, but not program"):
        pr.hmc(jax.random.key(1), HEATED, OBS)
    with pytest.raises(ValueError, match="Heated overrides log_likelihood, but not generate"):
        HEATED.simulate(jax.random.key(1), 2)

    @pr.pytree()
    class Drawn(pr.LayeredModel):
        def generate(self, key, h):
            return jnp.ones((*h.shape[:-1], 9))

    model = Drawn(PRIOR, [LAYER])
    np.testing.assert_array_equal(model.simulate(jax.random.key(1), 2).x, np.ones((2, 9)))
    with pytest.raises(ValueError, match=r"exact .*Drawn overrides generate, but not log_joint"):
        pr.exact(model, OBS)


def test_what_the_base_made_is_not_from_the_layers_of_another_law():
    assert OBS.origin_under(pr.LayeredModel(pr.KSparse(3, 1, SLAB), [LAYER])) == "layers"
    assert OBS.origin_under(HEATED) == "elsewhere"


def test_the_same_law_in_another_way_says_so():
    @pr.pytree()
    class Rewritten(Heated):
        law_changes = ()

        def log_likelihood(self, h, x):
            return 2 * super().log_likelihood(h, x)

    assert sweep_of(Rewritten(PRIOR, [LAYER])).size == "27 weights"


def test_what_is_no_law_may_be_overridden():
    model = Named(PRIOR, [LAYER], offset=1.0)
    assert model.law_changes == ()
    assert sweep_of(model).size == "27 weights"
    assert pr.list_rungs(model) == pr.list_rungs(MODEL)


@pytest.mark.slow
def test_what_is_no_law_changes_no_number():
    expected = pr.exact(MODEL, OBS, num_draws=4).mean
    found = pr.exact(Named(PRIOR, [LAYER], offset=1.0), OBS, num_draws=4).mean
    np.testing.assert_array_equal(found, expected)


def test_a_subclass_that_jax_does_not_know_is_refused():
    class Model(pr.LayeredModel):
        pass

    class Prior(pr.SpikeAndSlab):
        pass

    class Own(pr.Layer):
        pass

    class Machine(pr.BoltzmannMachine):
        pass

    for name, build in (
        ("the model is of class Model", lambda: Model(PRIOR, [LAYER])),
        ("prior is of class Prior", lambda: pr.LayeredModel(Prior(3, 0.3, SLAB), [LAYER])),
        (r"layers\[0\] is of class Own", lambda: pr.LayeredModel(PRIOR, [Own(WEIGHTS)])),
        ("the machine is of class Machine", lambda: Machine([np.ones((3, 2))], [0.0, 0.0])),
    ):
        with pytest.raises(TypeError, match=rf"{name}, which JAX does not know: put @pr\.pytree"):
            build()


# Layers


@pr.pytree()
class Doubled(pr.Layer):
    """Twice the noise."""

    def distribution(self, pre_activation, keep_prob=None):
        wider = pr.Layer(self.weights, self.keep_prob, 2 * self.noise_std, self.gain)
        return wider.distribution(pre_activation, keep_prob)


@pr.pytree()
class Halved(pr.Layer):
    """A density alone."""

    def log_likelihood(self, h, x):
        return 0.5 * super().log_likelihood(h, x)


def test_a_layer_with_a_law_of_its_own_is_not_taken_for_the_built_in_one():
    model = pr.LayeredModel(PRIOR, [Doubled(WEIGHTS, 0.5, 0.75)])
    assert model.law_changes == ("distribution of layers[0]",)
    with pytest.raises(ValueError, match=r"it changes distribution of layers\[0\]"):
        pr.gibbs(jax.random.key(1), model, OBS)
    with pytest.raises(ValueError, match=r"evolve_state .* overrides distribution of layers\[0\]"):
        pr.evolve_state(PRIOR, model.layers)
    net = pr.FeedforwardNet.from_model(jax.random.key(1), model, "universal")
    with pytest.raises(ValueError, match=r"predict_net_risk .* overrides distribution of layers"):
        pr.predict_net_risk(jax.random.key(1), PRIOR, net)
    # What such layers made is from elsewhere under a model that has them otherwise.
    made = model.simulate(jax.random.key(1), 2)
    assert made.origin_under(model) == "model"
    other = pr.LayeredModel(pr.SpikeAndSlab(3, 0.4, SLAB), model.layers)
    assert made.origin_under(other) == "elsewhere"


@pytest.mark.slow
def test_a_layer_with_a_law_of_its_own_is_enumerated_by_it():
    model = pr.LayeredModel(PRIOR, [Doubled(WEIGHTS, 0.5, 0.75)])
    twin = pr.LayeredModel(PRIOR, [pr.Layer(WEIGHTS, 0.5, 1.5, Doubled(WEIGHTS, 0.5).gain)])
    expected = pr.exact(twin, OBS, num_draws=4).mean
    np.testing.assert_allclose(pr.exact(model, OBS, num_draws=4).mean, expected, rtol=1e-9)


def test_half_the_law_of_a_layer_is_refused():
    with pytest.raises(ValueError, match="Halved, overrides log_likelihood, but not distri"):
        pr.LayeredModel(PRIOR, [Halved(WEIGHTS)])


# Machines


@pr.pytree()
class Cold(pr.BoltzmannMachine):
    """Twice the energy, and no word of how to draw it."""

    def log_joint(self, h, x):
        return 2 * super().log_joint(h, x)


def test_a_machine_with_a_law_of_its_own():
    machine = Cold([np.arange(6.0).reshape(3, 2) / 4], [0.1, -0.2])
    x = pr.Observations([[1.0, 0.0, 1.0]])
    with pytest.raises(ValueError, match="it changes log_joint"):
        pr.gibbs(jax.random.key(0), machine, x)
    with pytest.raises(ValueError, match="Cold overrides log_joint, but not simulate"):
        machine.simulate(jax.random.key(0), 2)
    assert pr.list_rungs(machine) == ()


@pytest.mark.slow
def test_a_machine_with_a_law_of_its_own_is_enumerated_by_it():
    machine = Cold([np.arange(6.0).reshape(3, 2) / 4], [0.1, -0.2])
    x = pr.Observations([[1.0, 0.0, 1.0]])
    # Of a restricted machine every unit has its log odds from x alone.
    field = np.array([1.0, 0.0, 1.0]) @ (np.arange(6.0).reshape(3, 2) / 4) - 0.2
    found = pr.exact(machine, x, num_draws=4).mean
    np.testing.assert_allclose(found[0], 1 / (1 + np.exp(-2 * field)), rtol=1e-9)


# A model's own methods


class Own(NamedTuple):
    """Says how it is sampled, to the method that asks."""

    weights: jax.Array
    n_visible, n_hidden = 9, 3

    def log_joint(self, h, x):
        return -((x - h @ self.weights.T) ** 2).sum(-1)

    def gibbs_sweep(self):
        return pr.Sweep(abs, abs)

    def exact_plan(self):
        return pr.ExactPlan("own", "num_states", 1, "it knows", abs)

    def program(self, x=None):
        raise AssertionError("the other one is asked for")

    def sampled_program(self):
        return abs

    def rungs(self):
        return {"mine": lambda key: abs}

    def samplers(self):
        return {"dice": lambda key: abs}

    def noise_curve(self, key):
        return key

    def log_evidence_estimator(self):
        return lambda key, model, obs, *sizes: sizes


class Changed(Own):
    """Another law, of which the methods above know nothing."""

    def log_joint(self, h, x):
        return -jnp.abs(x - h @ self.weights.T).sum(-1)

    def states(self):
        return jnp.asarray(STATES)


def test_a_models_own_method_is_asked_first():
    model = Own(jnp.asarray(WEIGHTS))
    assert sweep_of(model) == pr.Sweep(abs, abs)
    assert exact_plan_of(model).method == "own"
    assert sampled_program(model) is abs
    assert pr.list_rungs(model) == ("mine",)
    assert pr.build_samplers(jax.random.key(0), model) == {"dice": abs}
    assert noise_curve(7, model) == 7
    sizes = pr.estimate_log_evidence(
        jax.random.key(0), model, OBS, num_chains=2, num_temperatures=3
    )
    assert sizes == (2, 3)


def test_what_a_models_own_method_returns_is_checked():
    class Wrong(NamedTuple):
        n_visible, n_hidden = 9, 3

        def gibbs_sweep(self):
            return abs, abs

        def rungs(self):
            return ["mine"]

    with pytest.raises(TypeError, match="gibbs_sweep of Wrong must return a Sweep; got tuple"):
        sweep_of(Wrong())
    with pytest.raises(TypeError, match="rungs of Wrong must return a Mapping; got list"):
        pr.list_rungs(Wrong())


def test_a_method_that_is_older_than_the_law_is_not_asked():
    model = Changed(jnp.asarray(WEIGHTS))
    with pytest.raises(ValueError, match=r"gibbs samples a LayeredModel.*got Changed"):
        sweep_of(model)
    assert exact_plan_of(model).method == "enumeration"
    assert pr.list_rungs(model) == ()
    with pytest.raises(ValueError, match="Changed overrides log_joint, but not program"):
        sampled_program(model)


def test_a_model_of_two_widths_is_told_what_each_method_needs():
    class Widths(NamedTuple):
        n_visible, n_hidden = 9, 3

    with pytest.raises(ValueError) as caught:  # noqa: PT011
        choose_methods(Widths())
    said = str(caught.value)
    for needed in (
        "exact needs a model with states() and log_joint(h, x)",
        "gibbs samples a LayeredModel, a BoltzmannMachine, or a model with a method gibbs_sweep",
        "message_passing needs a LayeredModel",
        "hmc needs a model with a NumPyro program(x) that has a site h; got Widths",
    ):
        assert needed in said


# A fixed number of active units, whoever says so


@pr.pytree()
class AtMost(pr.KSparse):
    """A KSparse that is none."""

    @property
    def active_range(self):
        return 0, self.n_active


@pr.pytree()
class Exactly(pr.SpikeAndSlab):
    """A SpikeAndSlab that is none."""

    @property
    def active_range(self):
        return 2, 2


@pr.pytree()
class Again(pr.SpikeAndSlab):
    """The same density and program, written anew, and so declared."""

    independent_given_count = True

    def log_prob(self, h):
        return super().log_prob(h)

    def __call__(self):
        return super().__call__()


@pr.pytree()
class Undeclared(Again):
    """Both again, and not declared."""

    def log_prob(self, h):
        return super().log_prob(h)

    def __call__(self):
        return super().__call__()


def model_of(prior):
    return pr.LayeredModel(prior, [LAYER])


def test_methods_ask_for_the_number_of_active_units_not_for_a_class():
    free, fixed = model_of(AtMost(3, 2, SLAB)), model_of(Exactly(3, 0.3, SLAB))
    sampled_program(free)
    assert "converged" in pr.list_rungs(free)
    for call, match in (
        (lambda: pr.hmc(jax.random.key(0), fixed, OBS), "use gibbs, which swaps units"),
        (lambda: pr.message_passing(fixed, OBS), "Exactly fixes the number of active ones"),
        (
            lambda: pr.estimate_log_evidence(jax.random.key(0), fixed, OBS),
            "got Exactly, which fixes the number of active ones",
        ),
    ):
        with pytest.raises(ValueError, match=match):
            call()


@pytest.mark.slow
def test_a_number_of_active_units_of_ones_own_is_enumerated():
    fixed = model_of(Exactly(3, 0.3, SLAB))
    mean = pr.exact(fixed, OBS, num_draws=4).mean
    expected = pr.exact(model_of(pr.KSparse(3, 2, SLAB)), OBS, num_draws=4).mean
    np.testing.assert_allclose(mean, expected, rtol=1e-9)


def test_who_overrides_the_law_may_say_again_what_it_is():
    sweep_of(model_of(Again(3, 0.3, SLAB)))
    with pytest.raises(ValueError, match="Undeclared overrides log_prob, __call__: use hmc"):
        sweep_of(model_of(Undeclared(3, 0.3, SLAB)))

    @pr.pytree()
    class No(pr.SpikeAndSlab):
        independent_given_count = False

    with pytest.raises(ValueError, match="No says that independent_given_count is False"):
        sweep_of(model_of(No(3, 0.3, dist.HalfNormal(1.0))))


def test_half_a_law_is_refused_under_a_declaration_too():
    @pr.pytree()
    class Half(Again):
        def log_prob(self, h):
            return super().log_prob(h)

    with pytest.raises(ValueError, match=r"Half overrides log_prob .* but not __call__"):
        model_of(Half(3, 0.3, SLAB))
