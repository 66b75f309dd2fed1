"""Cells and batches of a grid, what it refuses, and its TOML file."""

import itertools
import json

import numpy as np
import pytest

import probrev as pr
from tests.runs.sweeps.conftest import MODEL


def test_cells_are_the_product_with_the_seed_fastest(make_grid):
    grid = make_grid(posteriors=("exact", "gibbs"))
    cells = [grid.cell(number) for number in range(grid.num_cells)]
    found = [
        (cell.parameters["noise_std"], cell.parameters["values"], cell.method, cell.seed)
        for cell in cells
    ]
    expected = itertools.product((0.5, 1.0, 2.0), ("one", "two"), ("exact", "gibbs"), (0, 1))
    assert found == list(expected)
    assert all(cell.parameters["weight_seed"] == cell.seed for cell in cells)


def test_batches_hold_every_cell_once(make_grid):
    grid = make_grid()
    batches = [grid.cells_of(batch) for batch in range(grid.num_batches)]
    assert [len(batch) for batch in batches] == [5, 5, 2]
    assert [*itertools.chain(*batches)] == [*range(grid.num_cells)]


def test_weights_that_are_set_are_not_drawn_anew(make_grid):
    assert make_grid(fixed={"weight_seed": 7}).cell(1).parameters["weight_seed"] == 7
    swept = make_grid(axes={"weight_seed": (3, 4)})
    assert [swept.cell(number).parameters["weight_seed"] for number in range(4)] == [3, 3, 4, 4]


def test_arrays_of_axis_values_become_plain_numbers(make_grid):
    grid = make_grid(axes={"noise_std": np.array([0.5, 1.0])})
    assert grid.axes == {"noise_std": (0.5, 1.0)}
    assert json.loads(grid.as_json())["axes"] == {"noise_std": [0.5, 1.0]}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"axes": {"noise_sd": (1.0,)}}, "no parameter 'noise_sd' .did you mean 'noise_std'"),
        ({"axes": {"noise_std": ()}}, "axis noise_std has no values"),
        ({"axes": {"noise_std": (1.0, 2.0, 1.0)}}, "axis noise_std has 1.0 twice"),
        ({"axes": {"noise_std": 1.0}}, "axis noise_std must be a list of values; got 1.0"),
        ({"axes": {"noise_std": ("low",)}}, "noise_std=low: expected float"),
        ({"fixed": {"noise_std": 1.0}}, "noise_std is both an axis and fixed"),
        ({"posteriors": ("gibs",)}, "unknown method 'gibs' .did you mean 'gibbs'"),
        ({"settings": {"nuts": {}}}, "unknown method 'nuts'"),
        ({"inverses": ()}, "inverses has no values"),
        ({"num_obs": 0}, "num_obs must be a whole number, at least 1; got 0"),
        ({"model": "one_lay"}, "did you mean 'one_layer'"),
    ],
)
def test_what_a_grid_refuses(make_grid, changes, message):
    with pytest.raises(ValueError, match=message):
        make_grid(**changes)


def test_a_toml_file_is_a_grid(tmp_path, make_grid):
    path = tmp_path / "grid.toml"
    path.write_text(
        f'model = "{MODEL}"\nnum_seeds = 2\nnum_obs = 5\nbatch_size = 5\n'
        'inverses = ["universal", "calibrated"]\n'
        '[axes]\nnoise_std = [0.5, 1.0, 2.0]\nvalues = ["one", "two"]\n'
    )
    assert pr.read_grid(path) == make_grid()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model =", "cannot read the grid"),
        ('model = "one_layer"', "a grid needs 'axes'"),
        ('model = "one_layer"\naxes = 3', "axes must be a table"),
        ('model = "one_layer"\naxis = 3', "unknown key 'axis' .did you mean 'axes'"),
        ('model = "one_layer"\nseeds = 3\n[axes]', "unknown key 'seeds'"),
        ('model = "one_layer"\n[axes]\nnoise_std = []', "grid.toml: axis noise_std has no values"),
    ],
)
def test_what_a_toml_file_is_refused_for(tmp_path, text, message):
    path = tmp_path / "grid.toml"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        pr.read_grid(path)


def test_a_toml_file_that_is_not_there(tmp_path):
    with pytest.raises(ValueError, match="cannot read the grid"):
        pr.read_grid(tmp_path / "none.toml")
