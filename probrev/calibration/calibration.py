"""The result of a check: simulations, what they say, and the answer; saved and read back."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from probrev.calibration.verdict import LEVEL, Word, find, find_inverses, judge, table_of
from probrev.comparison.metrics.log_ratio import estimate_ratios
from probrev.plumbing import door
from probrev.plumbing.netcdf import write_netcdf
from probrev.plumbing.readable import Table, cut, readable
from probrev.plumbing.refusal import taken_for
from probrev.plumbing.streams import generator
from probrev.plumbing.trees import read_tree

GROUPS = ("simulations", "quantities", "inverses")
SIMULATED = ("rank", "varies", "num_draws", "status", "reason", "claimed_risk", "actual_risk")


@readable
@dataclass(frozen=True)
class Calibration:
    """What a check found, as one labelled tree.

    Groups: `simulations` (see `simulations.simulate_batch`), `quantities` and `inverses` (what the
    ranks say of each). Attributes of the root: word, sentence, level, claimed_over_actual with the
    ends of its 95 % interval, what `compare_starts` found, seconds, provenance as JSON.

    Attributes:
        tree: all of it.
    """

    tree: xr.DataTree

    def __repr__(self) -> str:
        return cut(f"Calibration: {self.sentence}")

    def _table(self) -> Table:
        names = ["quantity", "adjusted_p", "location", "spread"]
        return Table(self.sentence, self.table().loc[:, names])

    @property
    def word(self) -> Word:
        """The verdict in a word."""
        return Word(self.tree.attrs["word"])

    @property
    def sentence(self) -> str:
        """The verdict in plain words."""
        return str(self.tree.attrs["sentence"])

    @property
    def simulations(self) -> xr.Dataset:
        """Ranks, statuses and risks of every simulation."""
        return self.tree["simulations"].to_dataset()

    @property
    def claimed_over_actual(self) -> tuple[float, float, float]:
        """The risk that posteriors claim over the one that they have, with its 95 % interval."""
        attrs, name = self.tree.attrs, "claimed_over_actual"
        return attrs[name], attrs[f"{name}_low"], attrs[f"{name}_high"]

    @property
    def starts(self) -> dict[str, Any]:
        """What chains from the truth say beside blind ones; empty where there were none."""
        return _starts(self.tree.attrs)

    @property
    def provenance(self) -> dict[str, Any]:
        """Where it comes from."""
        return json.loads(self.tree.attrs["provenance"])

    def table(self) -> pd.DataFrame:
        """A row for each quantity, smallest p-value first: adjusted_p, how, and the tests."""
        frame = self.tree["quantities"].to_dataset().to_dataframe()
        return frame.sort_values(["adjusted_p", "p_value"], kind="stable").reset_index(drop=True)

    def save(self, path: str | Path) -> None:
        """Writes it to a netCDF file, whole or not at all; one that is there is replaced."""
        write_netcdf(self.tree, path)


def summarize(batches: Sequence[xr.Dataset], provenance: Mapping[str, Any]) -> Calibration:
    """Puts batches together, tests their ranks and gives the answer.

    Args:
        batches: of `simulate_batch`, in order.
        provenance: JSON-able.
    """
    starts = _starts(batches[0].attrs)
    simulations = xr.concat(
        batches, dim="simulation", data_vars="minimal", coords="minimal", compat="override",
        join="exact", combine_attrs="drop",
    )  # fmt: skip
    findings = find(simulations)
    verdict = judge(simulations, findings, starts)
    claimed, actual = (
        simulations[name].to_numpy()[None] for name in ("claimed_risk", "actual_risk")
    )
    rng = generator(0, "bootstrap/claimed_over_actual")
    (ratio,) = estimate_ratios(claimed, actual, rng)
    groups = {
        "simulations": simulations,
        "quantities": table_of(findings, "quantity"),
        "inverses": table_of(find_inverses(simulations), "inverse"),
    }
    tree = xr.DataTree.from_dict(groups)
    low, high = ratio.intervals[0]
    tree.attrs = {
        "word": str(verdict.word),
        "sentence": verdict.sentence,
        "level": LEVEL,
        "claimed_over_actual": ratio.value,
        "claimed_over_actual_low": low,
        "claimed_over_actual_high": high,
        "run_seconds": float(np.sum([batch.attrs["run_seconds"] for batch in batches])),
        "compile_seconds": float(np.sum([batch.attrs["compile_seconds"] for batch in batches])),
        **starts,
        "provenance": json.dumps(dict(provenance)),
    }
    return Calibration(tree)


def _starts(attrs: Mapping[Any, Any]) -> dict[str, Any]:
    """What `compare_starts` found, which is in the first batch."""
    return {str(key): value for key, value in attrs.items() if str(key).startswith("starts")}


@door.guard(path=door.path)
def load_calibration(path: str | Path) -> Calibration:
    """Reads what `Calibration.save` wrote.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is no saved check.
    """
    path = Path(path)
    found = Calibration(read_tree(path, "a saved check", GROUPS))
    with taken_for(path, "a saved check"):
        _check(found)
    return found


def _check(found: Calibration) -> None:
    """Raises whatever it does if something is missing, or of another kind."""
    attrs = found.tree.attrs
    numbers = (*found.claimed_over_actual, attrs["run_seconds"], attrs["compile_seconds"])
    _ = found.word, found.sentence.encode(), found.starts, [math.isnan(one) for one in numbers]
    _ = found.provenance.keys(), found.simulations[list(SIMULATED)]
    for name, key in (("quantities", "quantity"), ("inverses", "inverse")):
        _ = found.tree[name].to_dataset()[list(table_of([], key))]
