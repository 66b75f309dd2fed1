"""The one-layer theorems' analysis at a tiny size, the asymptote's onset, and the findings."""

import numpy as np
import pytest
import xarray as xr

from analyses.theorems import asymptote, one_layer, readouts

TINY = {"n_hidden": 30, "n_active": (3, 9), "n_visible": (100, 400), "budget": 1e6}


@pytest.mark.slow
def test_computed_and_plotted_and_the_finding_follows(tmp_path, capsys):
    one_layer.compute(tmp_path, **TINY)
    assert one_layer.plot(tmp_path).stat().st_size > 10_000
    told = capsys.readouterr().out
    # Whether it is on the curve at every size is for sizes worth publishing to say.
    assert "standard errors of the finite-size curve" in told
    assert "(16 points" in told
    data = one_layer.load(tmp_path, one_layer.NAME)
    # theorem 2.4: dropping half of the inputs costs accuracy, and nothing of the readout's mean
    assert (data.error.sel(net="dropout") > data.error.sel(net="deterministic")).all()
    data["error"] = 1.3 * data.error
    assert "but for" in one_layer.find_curve(data)
    slower = data.assign(sup_norm=data.sup_norm * data.n_visible**0.25)
    assert "(worst of 4: -0.2" in one_layer.find_lemma(slower)


@pytest.mark.parametrize("slab", ["binary", "half-normal"])
def test_curve_is_the_average_over_draws_of_h(slab):
    """The product rule over a unit and the energy of the others, against plain draws."""
    k, m, n, known = 4, 12, 700, {"keep_prob": 0.5, "net_keep_prob": 0.5}
    rng = np.random.default_rng(0)
    h = np.zeros((40_000, m))
    h[:, :k] = 1 if slab == "binary" else abs(rng.normal(size=(len(h), k)))
    energy = (h**2).sum(1, keepdims=True)
    error = np.asarray(readouts.unit_error(h, energy, m, n, **known)).sum(1) / k
    found = asymptote.curve(slab, k, np.array([n]), n_hidden=m, **known)
    assert abs(found[0] - error.mean()) < 4 * error.std() / 200 + 2e-3 * found[0]


def by_hand(c=2.0) -> xr.Dataset:
    """A curve 1 / (1 + n / (ck)), whose exponents are within .1 from n = 9 c k on."""
    k, n = np.geomspace(1, 1000, 61), np.geomspace(1, 1e7, 281)
    curve = 1 / (1 + n[None, :] / (c * k[:, None]))
    dims = ("slab", "curve_n_active", "curve_n_visible", "net")
    sizes = {"n_active": [k[20], k[40]], "n_visible": n[120:201:40]}
    grid = {"slab": ["binary"], **sizes, "net": ["deterministic"]}
    error = 1 / (1 + sizes["n_visible"][None, :] / (c * np.array(sizes["n_active"])[:, None]))
    return xr.Dataset(
        {
            "curve": (dims, curve[None, :, :, None]),
            "error": (tuple(grid), error[None, :, :, None]),
            "error_std_error": (tuple(grid), 0.01 * error[None, :, :, None]),
        },
        {**grid, "curve_n_active": k, "curve_n_visible": n},
        {"keep_prob": 0.5, "n_hidden": 1000},
    )


def test_onset_of_a_curve_made_by_hand():
    data = by_hand()
    onset = asymptote.find_onset(data)
    start = onset.n_visible.isel(slab=0, net=0)
    some = start.sel(curve_n_active=data.n_active.values)
    np.testing.assert_allclose(some, 18 * data.n_active, rtol=0.07)
    inside = onset.inside.isel(slab=0, net=0)
    assert bool(inside.sel(curve_n_active=20, method="nearest"))  # rho n = 9 k < k^2
    assert not bool(inside.sel(curve_n_active=8, method="nearest"))
    never = data.assign(curve=np.sqrt(data.curve))
    assert bool(asymptote.find_onset(never).n_visible.isnull().all())


def test_measured_steps_and_which_lie_beyond_the_onset():
    data = by_hand()
    onset = asymptote.find_onset(data)
    steps = asymptote.measured_steps(data, onset, "n_visible")
    n, k = data.n_visible.values, data.n_active.values
    error = data.error.values[0, :, :, 0]
    expected = np.diff(np.log(error)) / np.diff(np.log(n))
    np.testing.assert_allclose(steps.exponent.value[0, 0], expected)
    beyond = n[None, :-1] > 18 * k[:, None]
    np.testing.assert_array_equal(steps.beyond[0, 0], beyond)
    both = (0.5 * n > k[:, None]) & (0.5 * n < k[:, None] ** 2)
    np.testing.assert_array_equal(steps.inside[0, 0], both[:, 1:] & both[:, :-1])
    in_k = asymptote.measured_steps(data, onset, "n_active")
    assert in_k.exponent.value.shape == (1, 1, n.size, 1)
    np.testing.assert_array_equal(in_k.beyond[0, 0, :, 0], n > 18 * k[1])


def test_finding_of_the_asymptote_follows_the_data():
    told = one_layer.find_asymptote(by_hand())
    assert "k < ρn < k² holds only for k of about 10 or more" in told
    assert "-0.9" in told
    lost = by_hand().assign(curve=np.sqrt(by_hand().curve))
    told = one_layer.find_asymptote(lost)
    assert "nowhere" in told
    assert "at no k" in told
    assert "none in n and none in k" in told
