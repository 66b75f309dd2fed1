"""Classes as pytrees: their fields, those of their bases, and functions among them."""

import inspect
from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpyro.distributions import HalfNormal

import probrev as pr
from probrev.plumbing.pytree import check_registered, describe, pytree


@pytree(data=("value",), meta=("name",))
@dataclass(frozen=True)
class Base:
    """A number and a name."""

    value: object
    name: str = "base"


@pytree(data=("slope",), meta=("power",))
@dataclass(frozen=True)
class Wider(Base):
    """Two fields more."""

    slope: object = 0.5
    power: int = 2


@pytree()
class Same(Wider):
    """None more, and no dataclass of its own."""


class Unknown(Wider):
    """Not registered."""


@pytest.mark.parametrize("kind", [Wider, Same])
def test_a_subclass_has_the_fields_of_its_base_first(kind):
    one = kind(np.ones(2), "own", 0.7, 3)
    leaves, structure = jax.tree.flatten(one)
    np.testing.assert_array_equal(leaves[0], [1, 1])
    assert leaves[1] == 0.7
    again = jax.tree.unflatten(structure, leaves)
    assert type(again) is kind
    assert (again.name, again.slope, again.power) == ("own", 0.7, 3)
    assert structure != jax.tree.structure(replace(one, power=4))
    assert jax.jit(lambda node: node.value.sum() * node.slope**node.power)(one) == pytest.approx(
        2 * 0.7**3
    )


def test_paths_are_names_of_fields():
    paths = [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(
        Wider(1.0, "x", 2.0))]  # fmt: skip
    assert paths == [".value", ".slope"]


def test_a_function_is_structure():
    def double(x):
        return 2 * x

    one = Base(double)
    assert jax.tree.leaves(one) == []
    assert jax.tree.map(lambda leaf: leaf, one).value is double
    assert jax.tree.structure(one) == jax.tree.structure(Base(double))
    assert jax.tree.structure(one) != jax.tree.structure(Base(abs))


def test_a_subclass_that_is_not_registered_is_refused():
    check_registered("one", Same(1.0))
    check_registered("one", object())
    with pytest.raises(TypeError, match=r"prior is of class Unknown.* put @pr\.pytree\(\) above"):
        check_registered("prior", Unknown(1.0))


def test_it_prints_in_a_line_and_no_array_whole():
    said = []

    @jax.jit
    def traced(node):
        said.append(repr(node))
        return node.value

    one = Wider(np.arange(5000.0), "own", HalfNormal(jnp.array(0.5)))
    traced(Wider(jnp.ones((3, 2)), "own", 0.7))
    assert (
        repr(one) == "Wider(value=float64[5000], name='own', slope=HalfNormal(scale=0.5), power=2)"
    )
    assert said[0].startswith("Wider(value=float64[3,2], name='own', slope=float64[]")
    assert repr(object.__new__(Wider)) == "Wider()"
    assert repr(Same([one, None], "", (jnp.float32(2), np.sin))).startswith("Same(value=[Wider(")


def test_what_a_function_closes_over_is_told_apart():
    def holding(value):
        return lambda: value

    large = np.zeros(5000)
    other = large.copy()
    other[2500] = 1  # where NumPy's text has dots
    held = [HalfNormal(1.0), HalfNormal(2.0), HalfNormal(jnp.ones(2)).to_event(1)]
    held += [
        HalfNormal(jnp.ones(3)).to_event(1),
        HalfNormal(2 * jnp.ones(3)).to_event(1),
        Wider(large),
        Wider(other),
        Same(large),
        "text",
    ]
    assert len({describe(holding(one)) for one in held}) == len(held)
    assert describe(holding(Wider(large))) == describe(holding(Wider(large.copy())))


def test_functions_over_other_keys_are_told_apart():
    def over(key):
        return lambda x: x + jax.random.normal(key)

    keys = [jax.random.key(1), jax.random.key(2), jax.random.key(1, impl="rbg")]
    assert len({describe(over(key)) for key in keys}) == 3
    assert describe(over(jax.random.key(1))) == describe(over(keys[0]))


@pytest.mark.parametrize(
    ("cls", "names"),
    [
        (pr.SpikeAndSlab, ["n_hidden", "inclusion_prob", "slab", "max_active"]),
        (pr.KSparse, ["n_hidden", "n_active", "slab"]),
    ],
)
def test_priors_show_their_own_arguments(cls, names):
    """And not those of NumPyro's base, which its metaclass writes down."""
    assert list(inspect.signature(cls).parameters) == names
