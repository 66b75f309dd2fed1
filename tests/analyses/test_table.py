"""Rows to data and back, through a file, and printed."""

import numpy as np

from analyses.script import load, save
from analyses.table import print_table, to_dataset, to_rows

ROWS = [
    {"net": "digits", "layer": 1, "cosine": 0.25, "is_folded": False},
    {"net": "tiara", "layer": 2, "cosine": np.nan, "is_folded": True},
]


def test_rows_come_back_from_a_file(tmp_path):
    save(tmp_path, "rows", to_dataset(ROWS, "net_layer"))
    data = load(tmp_path, "rows")
    assert data["cosine"].dims == ("net_layer",)
    first, second = to_rows(data)
    assert first == ROWS[0]
    assert np.isnan(second.pop("cosine"))
    assert second == {name: value for name, value in ROWS[1].items() if name != "cosine"}


def test_numbers_that_are_not_whole_are_formatted(capsys):
    print_table(ROWS, ".1f")
    assert [line.split() for line in capsys.readouterr().out.splitlines()] == [
        ["net", "layer", "cosine", "is_folded"], ["digits", "1", "0.2", "False"],
        ["tiara", "2", "NaN", "True"], [],
    ]  # fmt: skip
