"""What the metrics of a table mean: a sentence each, kept in the run."""

from collections.abc import Collection, Mapping

import pandas as pd
import xarray as xr

from probrev.comparison import agreements, costs
from probrev.comparison.metrics import FAMILIES, MetricFamily


def join_sentences(families: Mapping[str, MetricFamily]) -> dict[str, str]:
    """Those of all metrics of some families."""
    return {name: text for one in families.values() for name, text in one.sentences.items()}


# Of all built-in metrics.
SENTENCES = {**join_sentences(FAMILIES), **agreements.SENTENCES, **costs.SENTENCES}


def explain(metrics: Collection[str], own: Mapping[str, MetricFamily]) -> xr.Dataset:
    """The glossary of some metrics.

    Args:
        metrics: names in the table.
        own: families that are not built in.
    """
    known = SENTENCES | join_sentences(own)
    unknown = set(metrics) - set(known)
    assert not unknown, f"no sentence for {unknown}"
    rows = [(name, text) for name, text in known.items() if name in metrics]
    frame = pd.DataFrame(rows, columns=["metric", "sentence"])
    return xr.Dataset.from_dataframe(frame.rename_axis("row"))
