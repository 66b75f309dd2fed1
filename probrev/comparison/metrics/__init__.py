"""What a comparison measures, one family a file.

A family has a function from a `Case` (estimates and one posterior on the same observations) to
`Measured`: labelled arrays, and rows of the summary table; and a sentence for each of its metrics.
Some families decide the verdict, the others describe what it stands on. A new metric is a new row
of the family it belongs to, or a new family in `DESCRIBING`.
"""

from probrev.comparison.metrics.case import Case, Measured, Row
from probrev.comparison.metrics.distance import DISTANCE
from probrev.comparison.metrics.family import MetricFamily
from probrev.comparison.metrics.likelihood import LIKELIHOOD
from probrev.comparison.metrics.position import POSITION
from probrev.comparison.metrics.predictive import PREDICTIVE
from probrev.comparison.metrics.reconstruction import RECONSTRUCTION
from probrev.comparison.metrics.risk import RISK
from probrev.comparison.metrics.support import SUPPORT
from probrev.comparison.metrics.truth_rank import TRUTH_RANK

DECIDING = {"risk": RISK, "truth_rank": TRUTH_RANK, "predictive": PREDICTIVE}
DESCRIBING = {
    "support": SUPPORT,
    "position": POSITION,
    "likelihood": LIKELIHOOD,
    "reconstruction": RECONSTRUCTION,
    "distance": DISTANCE,
}
FAMILIES = {**DECIDING, **DESCRIBING}

__all__ = ["DECIDING", "DESCRIBING", "FAMILIES", "Case", "Measured", "MetricFamily", "Row"]
