"""Posteriors from elsewhere: told apart by names and labels, or refused in words."""

import arviz as az
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

import probrev as pr
from tests import small_case
from tests.posterior.test_posterior import DRAWS, X
from tests.small_case import MODEL, NUM_OBS

ORDER = np.array([4, 2, 0, 5, 1, 3])


def their_tree(h=DRAWS, dims=("chain", "draw", "obs", "hidden"), **groups):
    return xr.DataTree.from_dict({"posterior": xr.Dataset({"h": (dims, h)}), **groups})


def test_a_tree_from_elsewhere():
    posterior = pr.from_datatree(their_tree(), X)
    assert posterior.method == "external"
    assert posterior.model is None
    np.testing.assert_array_equal(posterior.draws, DRAWS)
    np.testing.assert_array_equal(posterior.tree["observed_data/x"], X)


def test_a_tree_of_one_observation_needs_no_obs_dimension():
    tree = their_tree(DRAWS[:, :, 0], dims=("chain", "draw", "unit"))
    np.testing.assert_array_equal(pr.from_datatree(tree, X[:1]).draws, DRAWS[:, :, :1])


def test_divergences_of_a_tree_from_elsewhere_are_counted():
    stats = xr.Dataset({"diverging": (("chain", "draw"), np.arange(1000).reshape(4, 250) == 7)})
    posterior = pr.from_datatree(their_tree(sample_stats=stats), X)
    assert posterior.status == "not converged"
    assert "transitions diverged" in posterior.status_reason


def test_a_tree_of_arvizs_own_making():
    tree = az.from_dict({"posterior": {"h": DRAWS}})
    np.testing.assert_array_equal(pr.from_datatree(tree, X).draws, DRAWS)


@pytest.mark.parametrize(
    ("tree", "match"),
    [
        (xr.DataTree(), "needs a variable `h` in its `posterior` group.*got groups"),
        (xr.DataTree.from_dict({"prior": xr.Dataset()}), r"got groups \['prior'\]"),
        (xr.DataTree.from_dict({"posterior": xr.Dataset({"beta": 1})}), "needs a variable `h`"),
        (their_tree(DRAWS[:, :, :2]), rf"with {NUM_OBS} observations.*got shape \(4, 250, 2, 3\)"),
        (their_tree(DRAWS[0, :, 0], ("draw", "unit")), r"must have dims.*got shape \(250, 3\)"),
    ],
)  # fmt: skip
def test_trees_that_do_not_fit_are_refused(tree, match):
    with pytest.raises(ValueError, match=match):
        pr.from_datatree(tree, X)


@pytest.mark.parametrize(
    "dims", [("draw", "chain", "obs", "hidden"), ("chain", "draw", "hidden", "obs")]
)
def test_dimensions_are_told_by_their_names(dims):
    """A tree says which axis is which; reading them by position would mix up units and chains."""
    h = their_tree()["posterior/h"].transpose(*dims)
    tree = xr.DataTree.from_dict({"posterior": h.to_dataset(name="h")})
    np.testing.assert_array_equal(pr.from_datatree(tree, X).draws, DRAWS)


def test_draws_must_be_finite():
    broken = DRAWS.copy()
    broken[1, 2, 3, 0] = np.nan
    with pytest.raises(ValueError, match="`h` must be finite"):
        pr.from_datatree(their_tree(broken), X)


# Labels


def labelled(obs=None, hidden=None, h=DRAWS):
    coords = {"obs": obs, "hidden": hidden}
    coords = {dim: labels for dim, labels in coords.items() if labels is not None}
    dims = ("chain", "draw", "obs", "hidden")
    return xr.DataTree.from_dict({"posterior": xr.Dataset({"h": (dims, h)}, coords)})


@pytest.mark.parametrize("kind", [int, float])
def test_observations_and_units_are_put_in_the_order_of_their_labels(kind):
    units = np.array([2, 0, 1])
    turned = labelled(ORDER.astype(kind), units.astype(kind), DRAWS[:, :, ORDER][..., units])
    posterior = pr.from_datatree(turned, X)
    np.testing.assert_array_equal(posterior.draws, DRAWS)
    np.testing.assert_array_equal(posterior.obs, np.arange(NUM_OBS))
    np.testing.assert_array_equal(posterior.draws["hidden"], np.arange(3))


def test_labels_say_which_observations_a_part_is():
    posterior = pr.from_datatree(labelled([4, 1], h=DRAWS[:, :, [4, 1]]), X)
    np.testing.assert_array_equal(posterior.obs, [1, 4])
    np.testing.assert_array_equal(posterior.draws, DRAWS[:, :, [1, 4]])
    np.testing.assert_array_equal(posterior.tree["observed_data/x"], X[[1, 4]])
    np.testing.assert_array_equal(posterior.tree["diagnostics/r_hat"]["obs"], [1, 4])


def test_one_observation_taken_out_of_a_tree_keeps_its_label():
    tree = labelled(np.arange(NUM_OBS))["posterior"].to_dataset().isel(obs=3)
    posterior = pr.from_datatree(xr.DataTree.from_dict({"posterior": tree}), X)
    np.testing.assert_array_equal(posterior.obs, [3])
    np.testing.assert_array_equal(posterior.draws, DRAWS[:, :, 3:4])


def test_divergences_follow_their_observations():
    diverging = np.zeros((4, 250, NUM_OBS), bool)
    diverging[1, 7, 0] = True  # of observation 4
    tree = labelled(ORDER, h=DRAWS[:, :, ORDER])
    tree["sample_stats"] = xr.Dataset({"diverging": (("chain", "draw", "obs"), diverging)})
    found = pr.from_datatree(tree, X).tree["sample_stats/diverging"].to_numpy()
    assert np.argwhere(found).tolist() == [[1, 7, 4]]


@pytest.mark.parametrize(
    ("obs", "hidden", "match"),
    [
        ([0, 1, 2, 3, 4, 4], None, r"coordinates of `obs` must be numbers of 0 to 5, each once"),
        ([1, 2, 3, 4, 5, 6], None, r"each once at most; got \[1 2 3 4 5 6\]: number them so, or"),
        ([-1, 0, 1, 2, 3, 4], None, "coordinates of `obs`"),
        ([0.5, 1, 2, 3, 4, 5], None, "coordinates of `obs`"),
        (list("abcdef"), None, "coordinates of `obs` .* got .*'a'"),
        (None, ["height", "age", "size"], "coordinates of `hidden` must be numbers of 0 to 2"),
        (None, [0, 1, 3], "coordinates of `hidden` must be numbers of 0 to 2"),
        (None, [True, False, True], "coordinates of `hidden`"),
    ],
)
def test_labels_that_do_not_fit_are_refused(obs, hidden, match):
    with pytest.raises(ValueError, match=match):
        pr.from_datatree(labelled(obs, hidden), X)


# Kinds of draws


@pytest.mark.parametrize("kind", [bool, int, np.float32])
def test_truth_values_and_whole_numbers_are_draws(kind):
    draws = (DRAWS > 0.5).astype(kind)
    posterior = pr.from_datatree(their_tree(draws), X)
    np.testing.assert_array_equal(posterior.draws, draws.astype(float))
    assert posterior.mean.dtype == float


@pytest.mark.parametrize(
    "given",
    [
        DRAWS,
        jnp.asarray(DRAWS),
        DRAWS.tolist(),
        xr.Dataset({"h": (("draw", "chain", "obs", "hidden"), DRAWS.swapaxes(0, 1))}),
        xr.DataArray(DRAWS, dims=("chain", "draw", "obs", "hidden")),
    ],
    ids=["array", "jax", "list", "dataset", "dataarray"],
)
def test_draws_need_no_tree(given):
    np.testing.assert_array_equal(pr.from_datatree(given, X).draws, DRAWS)


@pytest.mark.parametrize(
    ("given", "match"),
    [
        (None, "is a DataTree with `h` .* an array of dims .*; got NoneType"),
        ("draws.nc", "got str"),
        ({"h": DRAWS}, "got dict"),
        (small_case, "got module"),
        (xr.Dataset({"beta": 1}), r"a Dataset from elsewhere needs a variable `h`.*got \['beta'\]"),
        (DRAWS[0], r"must have dims .*; got shape \(250, 6, 3\)"),
        (DRAWS.astype(object), "`h` must be real numbers; got an array of object"),
        (DRAWS.astype(str), "`h` must be real numbers; got an array of <U"),
        (DRAWS + 1j, "`h` must be real numbers; got an array of complex128"),
        (np.ma.masked_array(DRAWS, DRAWS > 2), "`h` is a masked array, and its mask would be lost"),
        (their_tree(DRAWS + 0j), "`h` must be real numbers"),
        ([[1.0], [2.0, 3.0]], "`h` must be an array of real numbers; got list of uneven parts"),
    ],
)
def test_what_is_no_posterior_is_refused(given, match):
    with pytest.raises(ValueError, match=match):
        pr.from_datatree(given, X)


def test_x_is_checked_too():
    with pytest.raises(ValueError, match="x is a masked array"):
        pr.from_datatree(DRAWS, np.ma.masked_array(X, X > 1))
    with pytest.raises(ValueError, match=r"x must have shape \(num_obs, n_visible\); got shape"):
        pr.from_datatree(DRAWS, X[0])


# What is declared


def test_independent_draws_are_declared():
    one = DRAWS.reshape(1, 1000, NUM_OBS, 3)
    assert pr.from_datatree(one, X).status == "unchecked"
    posterior = pr.from_datatree(one, X, sampling="iid")
    assert posterior.status == "ok"
    assert posterior.sampling == "iid"
    assert posterior.status_reason.startswith("declared iid by the user; 1000 draws")
    with pytest.raises(ValueError, match="must be one of mcmc, iid; got"):
        pr.from_datatree(one, X, sampling="independent")  # pyright: ignore[reportArgumentType]


def four_units(h):
    return np.concatenate([h, h[..., :1]], axis=-1)


def test_draws_outside_the_support_are_refused():
    draws = four_units(DRAWS)
    assert pr.from_datatree(draws, X, model=MODEL).model is MODEL
    with pytest.raises(ValueError, match=r"h is nonnegative under SpikeAndSlab; got -0\.2 among"):
        pr.from_datatree(draws - 0.2, X, model=MODEL)
    with pytest.raises(ValueError, match="`h` has 3 units, but the model has 4"):
        pr.from_datatree(DRAWS, X, model=MODEL)
    anything = pr.LayeredModel(lambda: jnp.zeros(4), MODEL.layers)
    assert pr.from_datatree(draws - 0.2, X, model=anything).method == "external"
    machine = pr.BoltzmannMachine([np.ones((12, 4))], [0.0, 0.0])
    assert pr.from_datatree(draws > 0.5, X > 0, model=machine).method == "external"
    with pytest.raises(ValueError, match=r"h of a Boltzmann machine is 0 or 1; got 0\."):
        pr.from_datatree(draws, X > 0, model=machine)


def test_a_continuous_spike_is_noted():
    note = "every unit is active in every draw: a continuous spike cannot be compared by support"
    spread = four_units(DRAWS) + 1e-3
    found = pr.from_datatree(spread, X, model=MODEL)
    assert found.status == "ok"
    assert found.status_reason.endswith(f"; {note}")
    dense = pr.LayeredModel(pr.SpikeAndSlab(4, 1.0, small_case.SLAB), MODEL.layers)
    for draws, model in ((spread, dense), (four_units(DRAWS), MODEL)):
        assert note not in pr.from_datatree(draws, X, model=model).status_reason
