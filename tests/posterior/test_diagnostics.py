"""What became of each unit, before any number is believed."""

import arviz as az
import numpy as np
import pytest
import xarray as xr

from probrev.posterior.diagnostics import diagnose, status_of
from probrev.posterior.status import Status

RNG = np.random.default_rng(1)
SHAPE = (4, 1000, 1, 1)


def iid(prob=0.4):
    return RNG.gamma(2, 0.5, SHAPE) * (RNG.uniform(size=SHAPE) < prob)


def slow(rate=0.995):
    """A chain that remembers: an AR(1) process, always on."""
    noise, values = RNG.normal(size=SHAPE), np.zeros(SHAPE)
    for step in range(1, SHAPE[1]):
        values[:, step] = rate * values[:, step - 1] + noise[:, step]
    return np.exp(0.05 * values)


def one_chain_apart():
    values = np.zeros(SHAPE)
    values[2] = 1.5
    return values


CHAINS = {
    "mixes": iid(),
    "never": np.zeros(SHAPE),
    "always": np.full(SHAPE, 0.7),
    "stuck": one_chain_apart(),
    "half_stuck": np.where(np.arange(4)[:, None, None, None] == 1, 0.0, iid()),
    "slow": slow(),
}


def to_draws(*names):
    values = np.concatenate([CHAINS[name] for name in names], axis=3)
    return xr.DataArray(values, dims=("chain", "draw", "obs", "hidden"), name="h")


@pytest.fixture(scope="module")
def found():
    return diagnose(to_draws(*CHAINS)).assign_coords(hidden=list(CHAINS)).isel(obs=0)


def test_behaviour_of_every_unit(found):
    expected = dict(
        zip(CHAINS, ["mixes", "constant", "constant", "stuck", "mixes", "mixes"], strict=True)
    )
    assert dict(zip(CHAINS, found["behaviour"].to_numpy(), strict=True)) == expected


def test_flips_are_counted_within_chains(found):
    for name, values in CHAINS.items():
        flips = sum(
            int((chain[t] > 0) != (chain[t - 1] > 0))
            for chain in values[:, :, 0, 0]
            for t in range(1, SHAPE[1])
        )
        assert int(found["num_flips"].sel(hidden=name)) == flips
    assert int(found["num_flips"].sel(hidden="stuck")) == 0


def test_figures_are_arvizs_where_a_unit_moves(found):
    for name in ("mixes", "half_stuck", "slow"):
        values = xr.DataArray(CHAINS[name][:, :, 0, 0], dims=("chain", "draw"))
        unit = found.sel(hidden=name)
        np.testing.assert_allclose(unit["r_hat"], az.rhat(values), rtol=1e-9)
        np.testing.assert_allclose(unit["ess_bulk"], az.ess(values, method="bulk"), rtol=1e-9)
        np.testing.assert_allclose(unit["ess_tail"], az.ess(values, method="tail"), rtol=1e-9)
        means = values.to_numpy().mean(1)
        np.testing.assert_allclose(unit["mcse_mean"], means.std(ddof=1) / 2, rtol=1e-9)
    active = (CHAINS["mixes"][:, :, 0, 0] > 0).astype(int)
    np.testing.assert_allclose(
        found["ess_active"].sel(hidden="mixes"), az.ess(active, method="bulk"), rtol=1e-9
    )


def test_a_unit_that_does_not_move_has_no_figures(found):
    for name in ("never", "always", "stuck"):
        for figure in ("r_hat", "ess_bulk", "ess_tail", "ess_active", "mcse_mean"):
            assert np.isnan(found[figure].sel(hidden=name)), (name, figure)
    # Always on with a changing value: it moves, but its indicator does not.
    assert np.isnan(found["ess_active"].sel(hidden="slow"))


@pytest.mark.parametrize(
    ("names", "status", "reason"),
    [
        (("mixes",), "ok", "largest R-hat 1.00"),
        (("mixes", "never", "always"), "ok", "2 of 3 units have one value in every draw"),
        (("never", "always"), "unchecked", "nothing moves in some chain"),
        (
            ("mixes", "stuck"),
            "stuck",
            "1 unit is stuck at different values in different chains (obs 0, unit 1)",
        ),
        (("mixes", "half_stuck"), "not converged", "(obs 0, unit 1), wanted at most"),
        (("mixes", "slow", "never"), "not converged", "draw more samples; 1 of 3 units have"),
    ],
)
def test_status(names, status, reason):
    found = status_of(to_draws(*names), diagnose(to_draws(*names)))
    assert found[0] is Status(status)
    assert reason in found[1]


def test_one_chain_says_nothing_unless_its_draws_are_independent():
    one = to_draws("mixes")[:1]
    status, reason = status_of(one, diagnose(one))
    assert status is Status.UNCHECKED
    assert reason.startswith("one chain")
    status, reason = status_of(one, diagnose(one, "iid"), sampling="iid")
    assert status is Status.OK
    assert reason == "declared iid by the user; 1000 draws"


def test_draws_declared_independent_that_are_not():
    slow = to_draws("slow")
    status, reason = status_of(slow, diagnose(slow, "iid"), sampling="iid")
    assert status is Status.UNRELIABLE
    assert "do not look it" in reason


def test_an_observation_where_nothing_moves():
    """Chains that started apart and met say something; draws from elsewhere do not."""
    both = xr.concat([to_draws("mixes"), to_draws("always")], dim="obs")
    status, reason = status_of(both, diagnose(both))
    assert status is Status.UNCHECKED
    assert "nothing moves in some chain of 1 of 2 observations" in reason
    status, _ = status_of(both, diagnose(both), starts_apart=True)
    assert status is Status.OK
    still = to_draws("always", "never")
    assert status_of(still, diagnose(still), starts_apart=True)[0] is Status.UNCHECKED


def test_divergences_are_not_ok():
    status, reason = status_of(to_draws("mixes"), diagnose(to_draws("mixes")), num_divergences=3)
    assert status == "not converged"
    assert reason.startswith("3 of the transitions diverged")


def test_few_draws_are_not_enough():
    few = to_draws("mixes")[:, :80]
    status, reason = status_of(few, diagnose(few))
    assert status is Status.UNCHECKED
    assert reason == "320 draws, wanted at least 400"
