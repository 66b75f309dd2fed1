"""One cell beside `compare` on the same model and seeds, and what goes wrong in it."""

import re

import jax
import numpy as np
import pytest

import probrev as pr
from probrev.plumbing.streams import stream
from probrev.runs import registry
from probrev.runs.sweeps.cell import compute_batch, compute_cell
from tests.runs.sweeps.conftest import MODEL


@pytest.mark.slow
@pytest.mark.parametrize("method", ["exact", "gibbs"])
def test_a_cell_says_what_compare_says(make_grid, method):
    settings = {"gibbs": {"num_samples": 200}} if method == "gibbs" else {}
    grid = make_grid(axes={"noise_std": (0.8,)}, posteriors=(method,), settings=settings)
    row = compute_cell(grid, 1)
    model = registry.load(str(MODEL))(noise_std=0.8, weight_seed=1)
    obs = model.simulate(stream(1, "simulate"), 5)
    nets = pr.build_ladder(stream(1, "ladder"), model)
    posterior = (
        pr.exact(model, obs)
        if method == "exact"
        else pr.gibbs(stream(1, "gibbs"), model, obs, num_samples=200)
    )
    inverses = {name: nets[name] for name in grid.inverses}
    table = pr.compare(model, obs, inverses, {method: posterior}).table()
    values = table.set_index(["metric", "subject"])["value"]
    for metric in ("relative_risk", "risk_ratio", "excess_risk"):
        names = [*grid.inverses, *(["posterior"] if metric == "relative_risk" else [])]
        expected = [values[metric, name] for name in names]
        np.testing.assert_allclose(row[metric], expected, rtol=1e-9)
    assert row["status"] == posterior.status
    assert row["energy"] == pytest.approx(float((obs.h**2).sum(-1).mean()))


@pytest.mark.slow
def test_a_cell_depends_on_its_place_alone(make_grid):
    grid = make_grid()
    batch = compute_batch(grid, 1)
    alone = [compute_cell(grid, number) for number in grid.cells_of(1)]
    for one, other in zip(batch, alone, strict=True):
        assert one["status"] == "ok"
        np.testing.assert_array_equal(one["squared_error"], other["squared_error"])
    seeds = [tuple(row["squared_error"]) for row in batch]
    assert len(set(seeds)) == len(seeds)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"axes": {"noise_std": (9.0,), "values": ("one",)}}, "ValueError: too noisy"),
        ({"posteriors": ("exact",), "settings": {"exact": {"draws": 3}}}, "TypeRefusal: .*draws"),
    ],
)
def test_what_goes_wrong_is_the_result(make_grid, changes, reason):
    row = compute_cell(make_grid(**changes), 0)
    assert row["status"] == "failed"
    assert "relative_risk" not in row
    assert re.search(reason, row["reason"])


@pytest.mark.slow
def test_cells_of_one_shape_compile_once(make_grid):
    grid = make_grid(axes={"n_visible": (31,)}, posteriors=("exact", "gibbs"), num_seeds=2)
    compiled = []

    def listen(event, duration, **_):
        if event == "/jax/core/compile/backend_compile_duration":
            compiled.append(duration)

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        counts = []
        for number in range(grid.num_cells):
            compute_cell(grid, number)
            counts.append(len(compiled))
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
    first, second, third, fourth = counts
    assert first > 0
    assert third > second
    assert (second, fourth) == (first, third)
