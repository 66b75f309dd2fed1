"""Rows that are alike: saved as data, read back, printed."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import xarray as xr

Row = dict[str, Any]


def to_dataset(rows: Sequence[Mapping[str, Any]], dim: str = "row") -> xr.Dataset:
    """An array along one dimension for every column."""
    return xr.Dataset({name: (dim, [row[name] for row in rows]) for name in rows[0]})


def to_rows(data: xr.Dataset) -> list[Row]:
    """What `to_dataset` made a dataset of."""
    return data.to_dataframe().to_dict("records")


def print_table(rows: pd.DataFrame | Sequence[Row], form: str = ".3f") -> None:
    """Prints a line a row, in plain text.

    Args:
        rows: of the table.
        form: format of its numbers that are not whole.
    """
    table = pd.DataFrame(rows)
    print(table.to_string(index=False, float_format=lambda value: f"{value:{form}}"), end="\n\n")
