"""Whether a posterior's probabilities mean what they say, by the truth."""

import arviz as az
import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from probrev.comparison.comparison import Comparison
from probrev.plumbing.arviz_defaults import arviz_defaults
from probrev.report.plots.canvas import POSTERIOR_COLOR, figure_of, styled

NUM_DRAWS = 500
BAND_PROB = 0.95


@styled
@arviz_defaults()
def plot_calibration(result: Comparison, posterior: str) -> Figure:
    """Inclusion probabilities against how often their units were active (PAV-adjusted).

    The band is where the curve of a calibrated posterior lies with probability 95 % at each point:
    it is made of joint draws of the indicators, so it knows that units compete.

    Args:
        result: a comparison with a truth, and a posterior with an atom.
        posterior: name of the posterior.

    Source: Dimitriadis, Gneiting and Jordan 2021, through ArviZ's `plot_ppc_pava`.
    """
    one = result.posteriors[posterior]
    draws = one.draws.stack(sample=("chain", "draw"), create_index=False)
    keep = np.linspace(0, draws.sizes["sample"] - 1, min(NUM_DRAWS, draws.sizes["sample"]))
    active = (draws.isel(sample=keep.astype(int)) > 0).transpose("sample", "obs", "hidden")
    flat = active.to_numpy().reshape(1, active.sizes["sample"], -1).astype(int)
    truth = (result.tree["truth/h"].to_numpy()[one.obs] > 0).ravel().astype(int)
    tree = az.from_dict(
        {"posterior_predictive": {"active": flat}, "observed_data": {"active": truth}}
    )
    collection = az.plot_ppc_pava(
        tree, ci_prob=BAND_PROB, backend="matplotlib", figure_kwargs={"figsize": (4.2, 3.8)},
        visuals={"title": False, "lines": {"color": POSTERIOR_COLOR},
                 "credible_interval": {"color": POSTERIOR_COLOR},
                 "xlabel": {"text": "inclusion probability"},
                 "ylabel": {"text": "share of units active"}},
    )  # fmt: skip
    return figure_of(collection)


@styled
@arviz_defaults()
def plot_pit(result: Comparison, posterior: str) -> Figure:
    """Δ-ECDF of the truth's randomised PIT: 0 everywhere for a perfect posterior.

    Args:
        result: a comparison with a truth.
        posterior: name of the posterior.

    Source: ArviZ's `plot_ecdf_pit`; ties at the atom were broken at random beforehand.
    """
    pit = result.tree[f"metrics/{posterior}/truth_pit"].to_numpy().ravel()
    tree = xr.DataTree.from_dict({"prior_sbc": xr.Dataset({"pit": (("chain", "draw"), pit[None])})})
    collection = az.plot_ecdf_pit(
        tree, backend="matplotlib", figure_kwargs={"figsize": (4.2, 3.8)},
        visuals={"title": False, "ecdf_lines": {"color": POSTERIOR_COLOR},
                 "xlabel": {"text": "PIT of the truth"},
                 "ylabel": {"text": "ECDF − uniform"}},
    )  # fmt: skip
    return figure_of(collection)
