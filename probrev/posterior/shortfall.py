"""How many draws a sampler's posterior lacks, as far as those that it has can tell."""

import math

import numpy as np

from probrev.posterior.diagnostics import ESS_MIN, R_HAT_MAX
from probrev.posterior.posterior import Posterior
from probrev.posterior.status import Status

# Both figures are estimates: a little more than they ask for.
MARGIN = 1.1
# What is added at a time, as a share of the draws so far: enough to be worth another look, and no
# more than what these can vouch for.
LEAST, MOST = 0.25, 1.0


def missing_draws(posterior: Posterior) -> int:
    """How many more draws of each chain should make a posterior "ok"; 0 where none would.

    ESS grows as the number of draws N, and R-hat - 1 falls as 1/N, so the N that is wanted is
    N max(400 / ESS, (R-hat - 1) / .01) of the worst unit or site, and a tenth more. At least a
    quarter of N is added and at most N: as much where nothing can be told, as of chains that are
    stuck.

    Args:
        posterior: of Markov chains.
    """
    sizes = posterior.draws.sizes
    if posterior.status is Status.OK or sizes["chain"] == 1:
        return 0
    growth = MARGIN * _lack(posterior) if posterior.status is Status.NOT_CONVERGED else math.inf
    return math.ceil(sizes["draw"] * np.clip(growth - 1, LEAST, MOST))


def _lack(posterior: Posterior) -> float:
    """The number of draws that is wanted, over the number that there is."""
    found = [1.0]
    for group in {"diagnostics", "site_diagnostics"} & set(posterior.tree):
        for name, values in posterior.tree[group].data_vars.items():
            figures = values.to_numpy().ravel()
            if str(name).endswith("r_hat"):
                found.append((np.fmax.reduce(figures) - 1) / (R_HAT_MAX - 1))
            elif str(name).endswith(("ess_bulk", "ess_tail")):
                found.append(ESS_MIN / np.fmin.reduce(figures))
    return float(np.fmax.reduce(found))
