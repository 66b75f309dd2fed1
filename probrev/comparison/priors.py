"""Models side by side on one x: their evidence, and how much each posterior owes to its prior."""

from collections.abc import Mapping
from typing import NamedTuple

import arviz as az
import numpy as np
import xarray as xr
from jaxtyping import PRNGKeyArray

from probrev.comparison.metrics.case import Case
from probrev.inference.partition import Estimate
from probrev.model.observations import same_numbers
from probrev.plumbing.arviz_defaults import arviz_defaults
from probrev.plumbing.refusal import Refusal
from probrev.plumbing.streams import stream
from probrev.posterior.posterior import Posterior

# Sensitivities are of the first so many observations, by so many draws of each chain or fewer.
MOST_OBS, MOST_DRAWS = 16, 500


def tabulate_priors(
    key: PRNGKeyArray, cases: Mapping[str, Case], given: Mapping[str, Estimate]
) -> xr.Dataset | None:
    """The group `priors`: a row for each different model, called by the first posterior under it.

    - `posteriors`: names of all that were computed under it.
    - `log_evidence`, `log_evidence_error` (model, obs): as given, else as an exact posterior or one
      of weighed samples knows it; NaN where nothing does.
    - `evidence`, `difference`, `difference_error` (model): mean over the observations that all
      models with an evidence have, the difference to the largest, and its standard error, paired
      over observations; in nats per observation. `num_obs` is the number of these observations.
    - `prior_sensitivity`, `likelihood_sensitivity` (model, obs): how fast the posterior of the unit
      that moves most changes with the power of the prior, and of the likelihood (`az.psense`); NaN
      beyond the first 16 observations, and where the model does not say its densities.

    Args:
        key: random key.
        cases: by posterior.
        given: evidence of each observation that a posterior covers, by posterior.

    Returns:
        The table; None where there is one model only.

    Raises:
        ValueError: what is given is of no posterior, or of other observations.

    Source: Kallioinen, Paananen, Bürkner and Vehtari 2024, for the sensitivities.
    """
    for name, estimate in given.items():
        if name not in cases:
            raise Refusal(f"log_evidence names {name!r}, which is none of the posteriors")
        size = len(cases[name].posterior.obs)
        if np.shape(estimate.value) != (size,):
            raise Refusal(
                f"log_evidence of {name!r} must have a value for each of the {size} observations "
                f"that the posterior covers; got shape {np.shape(estimate.value)}"
            )
    groups = _by_model(cases)
    if len(groups) < 2:
        return None
    rows = [
        _row(stream(key, names[0]), {name: _under(cases[name]) for name in names}, given)
        for names in groups
    ]
    obs = np.unique(np.concatenate([row["obs"] for row in rows]))
    labels = xr.DataArray([names[0] for names in groups], dims="model", name="model")
    table = xr.concat([row.reindex(obs=obs) for row in rows], dim=labels)
    table["posteriors"] = ("model", [", ".join(names) for names in groups])
    return table.assign(_differences(table["log_evidence"])._asdict())


def _under(case: Case) -> Posterior:
    """A case's posterior, which may not name the model that the case takes it to be under."""
    return Posterior(case.posterior.tree, case.model)


def _by_model(cases: Mapping[str, Case]) -> list[list[str]]:
    """Names of the posteriors under each different model."""
    groups: list[list[str]] = []
    for name, case in cases.items():
        for names in groups:
            if same_numbers(cases[names[0]].model, case.model):
                names.append(name)
                break
        else:
            groups.append([name])
    return groups


def _row(
    key: PRNGKeyArray, posteriors: Mapping[str, Posterior], given: Mapping[str, Estimate]
) -> xr.Dataset:
    """What is known of one model, (obs,)."""
    first = next(iter(posteriors.values()))
    row = xr.Dataset(coords={"obs": first.obs})
    for name in ("log_evidence", "log_evidence_error"):
        row[name] = ("obs", np.full(len(first.obs), np.nan))
    for name, posterior in posteriors.items():
        known = _evidence(posterior, given.get(name))
        if known is not None:
            row = row.assign(known.reindex(obs=first.obs))
            break
    return xr.merge([row, _sensitivities(key, first)])


def _evidence(posterior: Posterior, given: Estimate | None) -> xr.Dataset | None:
    """Log p(x) and its error, as far as a posterior has them."""
    if given is not None:
        value, error = given
    elif "exact" in posterior.tree:
        found = posterior.tree["exact"]
        value, error = found["log_evidence"].to_numpy(), found["integration_error"].to_numpy()
    elif "importance" in posterior.tree:
        found = posterior.tree["importance"]
        value, error = (found[name].to_numpy() for name in ("log_evidence", "log_evidence_error"))
    else:
        return None
    columns = {"log_evidence": ("obs", value), "log_evidence_error": ("obs", error)}
    return xr.Dataset(columns, {"obs": posterior.obs})


class _Differences(NamedTuple):
    """Of each model, see `tabulate_priors`."""

    evidence: xr.DataArray
    difference: xr.DataArray
    difference_error: xr.DataArray
    num_obs: xr.DataArray


def _differences(log_evidence: xr.DataArray) -> _Differences:
    """Models held against the one with the largest evidence, on what all of them have."""
    known = log_evidence.notnull().any("obs")
    common = log_evidence.notnull() | ~known
    shared = log_evidence.where(common.all("model"))
    evidence = shared.mean("obs")
    if not bool(evidence.notnull().any()):
        return _Differences(evidence, evidence, evidence, known.astype(int))
    gaps = shared - shared.sel(model=evidence.idxmax("model").item())
    num_obs = gaps.notnull().sum("obs")
    error = gaps.std("obs", ddof=1).where(num_obs > 1) / np.sqrt(num_obs)
    return _Differences(evidence, gaps.mean("obs"), error, num_obs)


def _sensitivities(key: PRNGKeyArray, posterior: Posterior) -> xr.Dataset:
    """How much a posterior owes to the prior and to the likelihood, (obs,)."""
    numbers = posterior.obs[:MOST_OBS]
    part = posterior.of([int(number) for number in numbers])
    step = -(-part.draws.sizes["draw"] // MOST_DRAWS)
    thinned = Posterior(part.tree.isel(draw=slice(None, None, step)), posterior.model)
    names = ("prior_sensitivity", "likelihood_sensitivity")
    try:
        tree = thinned.with_groups(key, ["log_likelihood", "log_prior"]).tree
    except ValueError:  # the model does not say its densities
        return xr.Dataset({name: ("obs", np.full(len(numbers), np.nan)) for name in names},
                          {"obs": numbers})  # fmt: skip
    each = [_largest(tree.sel(obs=number)) for number in numbers]
    columns = zip(names, np.array(each).T, strict=True)
    return xr.Dataset({name: ("obs", values) for name, values in columns}, {"obs": numbers})


@arviz_defaults()
def _largest(tree: xr.DataTree) -> tuple[float, float]:
    """The sensitivities of the unit of one observation where they are largest; NaN of no unit."""
    moving = tree["posterior/h"].std(("chain", "draw")) > 0
    if not bool(moving.any()):
        return np.nan, np.nan
    hidden = moving["hidden"].to_numpy()
    coords = {"hidden": hidden[moving.to_numpy()]}
    found: list[xr.Dataset] = []
    with np.errstate(invalid="ignore", divide="ignore"):
        for group in ("prior", "likelihood"):
            found.append(az.psense(tree, var_names=["h"], group=group, coords=coords))
    prior, likelihood = (float(one["h"].max()) for one in found)
    return prior, likelihood
