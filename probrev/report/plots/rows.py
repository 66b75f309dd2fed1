"""The summary table by metric, subject and posterior."""

from probrev.comparison.comparison import Comparison
from probrev.comparison.metrics.case import Row


def rows_of(result: Comparison) -> dict[tuple[str, str, str], Row]:
    """Rows by (metric, subject, posterior); posterior is "" for what concerns none."""
    columns = ["metric", "subject", "posterior", "value", "std_error", "low", "high"]
    rows = result.table()[columns].itertuples(index=False, name=None)
    return {
        (metric, subject, against): Row(metric, subject, *numbers)
        for metric, subject, against, *numbers in rows
    }
