"""What came back through each layer: one row a layer, means over nets that differ in seed alone."""

import pandas as pd
from pandas.api.typing import DataFrameGroupBy

from analyses.table import Row
from analyses.train_nets import NET_NAMES

# The columns of the table: weights and keep_prob of what is averaged.
KINDS = {
    "": ("trained", 1.0),
    "_gaussian": ("gaussian", 1.0),
    "_dropout": ("trained", 0.5),
    "_gaussian_dropout": ("gaussian", 0.5),
}


def without_seed(net: str) -> str:
    """The name of a net; one of our own without its seed."""
    return net.rpartition("-")[0] if net in NET_NAMES else net


def tabulate_layers(rows: list[Row]) -> pd.DataFrame:
    """Cosine and centred correlation of h and h^, all units.

    Args:
        rows: of `measure_net`, each with its `net`.

    Returns:
        `net`, `layer`, `num_nets`, and for each metric the columns of `KINDS`; `cosine_shuffled` is
        that of trained weights without dropout where the truth is another input's.
    """
    shown = [
        row | {"net": without_seed(row["net"])}
        for row in rows
        if row["compared"] == "h" and row["units"] == "all"
    ]
    matched = [row for row in shown if row["pairs"] == "matched"]
    shuffled = [row for row in shown if row["pairs"] == "shuffled"]
    columns = {
        metric + ending: by_layer(matched, kind)[metric]
        for metric in ("cosine", "correlation")
        for ending, kind in KINDS.items()
    }
    means = pd.DataFrame({name: one.mean() for name, one in columns.items()})
    means["cosine_shuffled"] = by_layer(shuffled, KINDS[""])["cosine"].mean()
    means.insert(0, "num_nets", columns["cosine"].size())
    return means.reset_index()


def by_layer(rows: list[Row], kind: tuple[str, float]) -> DataFrameGroupBy:
    """The rows of one kind, those of each layer together, in the order in which they came."""
    own = [row for row in rows if (row["weights"], row["keep_prob"]) == kind]
    return pd.DataFrame(own).groupby(["net", "layer"], sort=False)
