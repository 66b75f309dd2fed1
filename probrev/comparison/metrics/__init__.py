"""What a comparison measures, one family a file.

A family is a function from a `Case` (estimates and one posterior on the same observations) to
`Measured`: labelled arrays, and rows of the summary table. Some families decide the verdict, the
others describe what it stands on. A new metric is a new function in the family it belongs to, or a
new family in `DESCRIBING`.
"""

from probrev.comparison.metrics.case import Case, Measured, Row
from probrev.comparison.metrics.distance import distance
from probrev.comparison.metrics.likelihood import likelihood
from probrev.comparison.metrics.position import position
from probrev.comparison.metrics.predictive import predictive
from probrev.comparison.metrics.reconstruction import reconstruction
from probrev.comparison.metrics.risk import risk
from probrev.comparison.metrics.support import support
from probrev.comparison.metrics.truth_rank import truth_rank

DECIDING = (risk, truth_rank, predictive)
DESCRIBING = (support, position, likelihood, reconstruction, distance)
FAMILIES = (*DECIDING, *DESCRIBING)

__all__ = ["DECIDING", "DESCRIBING", "FAMILIES", "Case", "Measured", "Row"]
