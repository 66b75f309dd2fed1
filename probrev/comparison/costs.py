"""What inverses and posteriors cost."""

from collections.abc import Mapping

import pandas as pd

from probrev.comparison.metrics.case import Row
from probrev.inverses.estimates import Estimates
from probrev.posterior.posterior import Posterior

SENTENCES = {
    "seconds_per_obs": "Run time per observation, without compilation.",
    "compile_seconds": "Time spent on compiling, once per shape.",
}


def tabulate_costs(estimates: Estimates, posteriors: Mapping[str, Posterior]) -> pd.DataFrame:
    """Seconds per observation, compile time apart; posteriors from elsewhere have none."""
    rows = [
        Row("seconds_per_obs", name, float(value))
        for name, value in zip(
            estimates.h["inverse"].to_numpy(), estimates.seconds_per_obs, strict=True
        )
    ]
    for name, posterior in posteriors.items():
        if "run_seconds" in posterior.tree.attrs:
            rows.append(Row("seconds_per_obs", name, posterior.seconds_per_obs))
            rows.append(Row("compile_seconds", name, posterior.tree.attrs["compile_seconds"]))
    return pd.DataFrame(rows).assign(posterior="")
