"""A family of metrics: the function that measures them, and what each of them means."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import xarray as xr

from probrev.comparison.metrics.case import Case, Measured
from probrev.plumbing.readable import readable

# Figures of the inverses against one posterior: (inverse), or (inverse, obs).
Metric = Callable[[Case], Measured | xr.DataArray]


@readable
@dataclass(frozen=True)
class MetricFamily:
    """What is measured together, and a sentence for each metric of it.

    Attributes:
        measure: a function from a `Case` to `Measured`. Of a single metric it may return its
            figures: a DataArray with dims ("inverse",) or ("inverse", "obs").
        sentences: what each metric means, by its name: every name that rows can have.
    """

    measure: Metric
    sentences: Mapping[str, str]


def measure(case: Case, families: Mapping[str, MetricFamily]) -> Measured:
    """What built-in families find."""
    found = Measured()
    for name, family in families.items():
        one = family.measure(case)
        assert isinstance(one, Measured), name
        unknown = {row.metric for row in one.rows} - set(family.sentences)
        assert not unknown, f"{name} has no sentence for {unknown}"
        found |= one
    return found
