"""The analysis of depth at a tiny size, and its finding on rows made by hand."""

import jax
import numpy as np
import pytest
import xarray as xr

from analyses import depth
from probrev.runs import registry


@pytest.mark.proof
def test_computed_and_plotted(tmp_path, capsys):
    stack = {"n_hidden": 5, "ratio": 3, "n_active": 2.0, "max_depth": 2, "num_samples": 20}
    depth.compute(tmp_path, stacks=(stack,), num_obs=4, num_weights=2)
    assert depth.plot(tmp_path).stat().st_size > 10_000
    assert "Gibbs at depth 2 (m = 5): unchecked" in capsys.readouterr().out
    data = depth.load(tmp_path, "depth")
    # a row per method and level: five methods, one level at depth 1 and two at depth 2
    assert data.sizes["row"] == 15
    assert np.isfinite(data.error).all()
    assert (data.error > 0).all()


@pytest.mark.slow
def test_energies_are_those_of_draws():
    model = registry.load("layered")(
        n_visible=2000, n_intermediate=600, n_hidden=100, num_layers=3, n_active=20.0
    )
    obs = model.simulate(jax.random.key(0), 2000)
    for level, energy in zip((*obs.intermediates, obs.h), depth.energies(model), strict=True):
        np.testing.assert_allclose(energy, np.square(level).sum(1).mean(), rtol=0.06)


def test_relative_errors_are_pooled():
    pr = depth.pr
    h, h_1 = np.array([[1.0, 0.0], [0.0, 0.0]]), np.array([[3.0], [4.0]])
    obs = pr.Observations(np.ones((2, 3)), h, (h_1,))
    inverse = depth.Inverse("a", [h_1 + 1, np.array([[0.5, 0.0], [0.0, 2.0]])])
    np.testing.assert_allclose(depth.relative_errors(inverse, obs), [2 / 25, 4.25])


def rows(errors: dict[tuple[str, int, int], float], doubtful=()) -> xr.Dataset:
    method, depth, level = zip(*errors, strict=True)
    columns = {
        "error": list(errors.values()),
        "status": ["stuck" if at in doubtful else "ok" for at in errors],
        "method": list(method),
        "depth": list(depth),
        "level": list(level),
        "n_hidden": [7] * len(errors),
    }
    data = xr.Dataset({name: ("row", values) for name, values in columns.items()})
    return data.set_coords(["method", "depth", "level", "n_hidden"])


def test_finding_follows_the_data():
    find = depth.find
    net = "net, calibrated"
    data = rows({(net, 1, 1): 0.1, (net, 2, 1): 0.15, (net, 2, 2): 0.3})
    told = find(data)
    assert "7 units, from 1 to 2 layers: net, calibrated 0.100 to 0.300, x 3.00 a layer" in told
    assert "runs 0.150, 0.300 from x up" in told
    assert told.endswith("Marked rows: none.")
    more = {(net, 1, 1): 0.1, (net, 2, 1): 0.15, (net, 2, 2): 0.2}
    told = find(rows(more, doubtful={(net, 2, 2)}))
    assert "x 2.00 a layer" in told
    assert told.endswith("Marked rows: net, calibrated at depth 2 (m = 7): stuck.")
