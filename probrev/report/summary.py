"""The saved table, looked up by metric, subject and posterior."""

import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from probrev.comparison.comparison import Comparison
from probrev.comparison.metrics.case import POSTERIOR, Row
from probrev.comparison.verdict import Verdict
from probrev.posterior.posterior import Posterior
from probrev.report.plots.rows import rows_of

# Of several nets it is the one that the paper is about.
PAPERS_NET = "universal"


@dataclass(frozen=True)
class Summary:
    """A comparison as the report asks for it.

    Attributes:
        result: the comparison.
    """

    result: Comparison

    @cached_property
    def rows(self) -> dict[tuple[str, str, str], Row]:
        """The table, by metric, subject and posterior."""
        return rows_of(self.result)

    @cached_property
    def verdicts(self) -> list[Verdict]:
        """Those against the most trusted posterior first."""
        return self.result.verdicts

    @cached_property
    def posteriors(self) -> dict[str, Posterior]:
        """By name."""
        return self.result.posteriors

    @cached_property
    def agreements(self) -> dict[tuple[str, str], tuple[str, str]]:
        """Outcome and reason by the names of a posterior and of what it was held against."""
        if "agreements" not in self.result.tree:
            return {}
        frame = self.result.tree["agreements"].to_dataset().to_dataframe()
        columns = ["subject", "posterior", "outcome", "reason"]
        rows = frame[columns].itertuples(index=False, name=None)
        return {(subject, other): (outcome, reason) for subject, other, outcome, reason in rows}

    @property
    def judge(self) -> str:
        """Name of the most trusted posterior, which the report is about."""
        return self.result.judge

    @property
    def net(self) -> str:
        """Name of the net that the report is about: the paper's, or else the first planned."""
        return self.of_net.inverse

    @property
    def of_net(self) -> Verdict:
        """The verdict of the net."""
        own = self.own_verdicts
        planned = [one for one in own if one.planned] or own
        return next((one for one in planned if one.inverse == PAPERS_NET), planned[0])

    @property
    def best(self) -> Verdict:
        """The verdict of the inverse that is nearest to Bayes."""
        known = [one for one in self.own_verdicts if one.ratio == one.ratio]
        return min(known or self.own_verdicts, key=lambda one: one.ratio)

    @property
    def own_verdicts(self) -> list[Verdict]:
        """Those against the most trusted posterior."""
        return [one for one in self.verdicts if one.posterior == self.judge]

    @cached_property
    def never_zero(self) -> list[str]:
        """Inverses that never say exactly 0, of which a support says nothing."""
        estimates = self.result.tree["inverses"].to_dataset()["h"]
        full = (estimates > 0).all(["obs", "hidden"]).to_numpy()
        return [name for name, one in zip(self.result.inverses, full, strict=True) if one]

    @property
    def has_truth(self) -> bool:
        """Whether the h that made x is known."""
        return "truth" in self.result.tree

    @property
    def has_atom(self) -> bool:
        """Whether the posterior that the report is about has supports to speak of."""
        return self.get("support_prob", self.net) is not None

    @cached_property
    def provenance(self) -> dict[str, Any]:
        """Where the run comes from, as it was recorded."""
        return {str(key): json.loads(text) for key, text in self.result.tree.attrs.items()}

    def get(self, metric: str, subject: str = POSTERIOR, against: str | None = None) -> Row | None:
        """A row of the table, or None where the metric does not apply."""
        return self.rows.get((metric, subject, self.judge if against is None else against))

    def value(self, metric: str, subject: str, against: str | None = None) -> float:
        """A row's value; NaN where there is no row."""
        row = self.get(metric, subject, against)
        return float("nan") if row is None else row.value

    def seconds(self, name: str) -> float:
        """Run time per observation of an inverse or a posterior; NaN where it is unknown."""
        return self.value("seconds_per_obs", name, "")
