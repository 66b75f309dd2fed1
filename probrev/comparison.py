"""Inverses held against posteriors: the comparison, its table, its verdict, and its file."""

import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pandas as pd
import xarray as xr

from probrev.agreement import Agreement, Outcome, measure_agreement
from probrev.curve import noise_curve
from probrev.estimates import RandomInverse, as_estimate, sample_inverses, summarize_samples
from probrev.ladder import Inverse
from probrev.metrics import FAMILIES, Case, Measured, Row
from probrev.metrics.case import POSTERIOR
from probrev.model import Model, Observations, check_pytree
from probrev.posterior import Kind, Posterior, from_datatree
from probrev.replacing import replacing
from probrev.status import Status
from probrev.verdict import Verdict, judge

NAME = re.compile(r"[A-Za-z0-9_-]+")
# A call is timed so often, or until that took so long.
TIMED_CALLS, TIMED_SECONDS = 5, 1.0


@dataclass(frozen=True)
class Comparison:
    """A finished comparison; everything a report needs is in its tree.

    Groups: `data` (x), `truth` (h, absent for real x), `inverses` (estimates and seconds per
    observation), `random_inverses` (mean and standard deviation of their samples, absent where
    there are none), `posteriors/<name>` (see `Posterior`), `metrics/<name>` (arrays of each family
    against that posterior), `agreements` (outcomes in words, absent where no posterior is held
    against another), `table` (the summary, a row each), `verdicts`, and `curve` (the risk ratio
    over noise_std, where the model has one). The root's attributes are the provenance.

    Attributes:
        tree: the labelled results.
    """

    tree: xr.DataTree

    @property
    def inverses(self) -> list[str]:
        """Names of the inverses, in the order given."""
        return [str(name) for name in self.tree["inverses/h"]["inverse"].to_numpy()]

    @property
    def random_inverses(self) -> list[str]:
        """Names of the random inverses, in the order given."""
        if "random_inverses" not in self.tree:
            return []
        return [str(name) for name in self.tree["random_inverses/mean"]["sampler"].to_numpy()]

    @property
    def posteriors(self) -> dict[str, Posterior]:
        """The posteriors by name."""
        return {name: Posterior(node) for name, node in self.tree["posteriors"].children.items()}

    @property
    def verdicts(self) -> list[Verdict]:
        """One per inverse and posterior, those against the most trusted posterior first."""
        frame = self.tree["verdicts"].to_dataset().to_dataframe()
        rows = frame[list(Verdict._fields)].itertuples(index=False)
        return [Verdict(*row) for row in rows]

    @property
    def conclusive(self) -> bool:
        """Whether every posterior can be trusted."""
        return all(verdict.word != "inconclusive" for verdict in self.verdicts)

    def table(self) -> pd.DataFrame:
        """The summary as a tidy table: metric, subject, posterior, value, std_error, low, high."""
        return self.tree["table"].to_dataset().to_dataframe().reset_index(drop=True)

    def save(self, path: str | Path) -> None:
        """Writes the comparison to a netCDF file, whole or not at all.

        Raises:
            FileExistsError: the file exists; a run is never overwritten.
        """
        path = Path(path)
        if path.exists():
            raise FileExistsError(f"{path} exists, and a run is never overwritten: name another")
        encoding = {
            node.path: {
                name: {"zlib": True} for name, var in node.data_vars.items() if var.ndim > 2
            }
            for node in self.tree.subtree
            if node.data_vars
        }
        with replacing(path) as partial:
            self.tree.to_netcdf(partial, engine="h5netcdf", encoding=encoding)


def load(path: str | Path) -> Comparison:
    """Reads a comparison that `Comparison.save` wrote.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is not a saved comparison.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist: give the run.nc of a saved comparison")
    try:
        with xr.open_datatree(path, engine="h5netcdf") as stored:
            tree = stored.load()
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} is not a saved comparison: {error}") from error
    missing = {"data", "inverses", "posteriors", "table", "verdicts"} - set(tree.children)
    if missing:
        raise ValueError(f"{path} is not a saved comparison: it has no group {min(missing)!r}")
    return Comparison(tree)


def compare(
    model: Model,
    obs: Observations,
    inverses: Mapping[str, Inverse],
    posteriors: Mapping[str, Posterior | xr.DataTree],
    *,
    random_inverses: Mapping[str, RandomInverse] | None = None,
    seed: int = 0,
    provenance: Mapping[str, Any] | None = None,
) -> Comparison:
    """Measures how far each inverse is from each posterior.

    An inverse gives an estimate, which is held against the posterior's mean and intervals. A random
    one gives samples, which are held against the posterior's draws: is it a posterior sampler?

    Args:
        model: the model of x; posteriors that name none are taken to be under this one.
        obs: observations, with their h where they were simulated.
        inverses: by name, any callables x (obs, visible) -> h (obs, hidden).
        posteriors: by name, ours, or a DataTree of another tool with `h` in its `posterior` group.
        random_inverses: by name, any callables (x, key) -> h (obs, hidden), such as a
            `FeedforwardNet` with keep_prob < 1.
        seed: of ties, bootstrap, predictive draws, samples and directions; nothing else here is
            random.
        provenance: what to keep with the run, JSON-able.

    Raises:
        ValueError: a name, an inverse's output or a posterior's x does not fit; says which.
    """
    check_pytree(model)
    model.check(obs)
    random_inverses = random_inverses or {}
    for name in (*inverses, *random_inverses, *posteriors):
        if not NAME.fullmatch(name):
            raise ValueError(f"names must match [A-Za-z0-9_-]+; got {name!r}")
    if not inverses or not posteriors:
        raise ValueError("compare needs at least one inverse and one posterior")
    named = [POSTERIOR, *posteriors, *inverses, *random_inverses]
    taken = {name for name in (*inverses, *random_inverses) if named.count(name) > 1}
    if taken:
        raise ValueError(
            f"an inverse must not be named {POSTERIOR!r}, nor as a posterior or another inverse "
            f"is, since the table could not tell them apart; got {min(taken)!r}"
        )
    trusted = {name: _as_posterior(name, given, model, obs) for name, given in posteriors.items()}
    estimates, seconds = _run_inverses(model, obs, inverses)
    groups = {
        "data": xr.Dataset({"x": (("obs", "visible"), np.asarray(obs.x))}),
        "inverses": xr.Dataset({"h": estimates, "seconds_per_obs": ("inverse", seconds)}),
    }
    if obs.h is not None:
        groups["truth"] = xr.Dataset({"h": (("obs", "hidden"), np.asarray(obs.h))})
    samples = None
    if random_inverses:
        samples = sample_inverses(seed, model, obs, random_inverses)
        groups["random_inverses"] = summarize_samples(samples)
    frames = []
    for name, posterior in trusted.items():
        measured = _measure(model, obs, estimates, samples, posterior, seed)
        groups[f"metrics/{name}"] = xr.Dataset(measured.arrays)
        frames.append(pd.DataFrame(measured.rows).assign(posterior=name))
    found = _agreements(model, trusted, seed)
    if found:
        groups["agreements"] = xr.Dataset.from_dataframe(_outcomes(found).rename_axis("row"))
    agreements = _agreement_rows(found, trusted)
    costs = _costs(list(inverses), seconds, trusted)
    table = pd.concat([*frames, agreements, costs], ignore_index=True)
    names = ["metric", "subject", "posterior"]
    table[names] = table[names].map(str)
    groups["table"] = xr.Dataset.from_dataframe(table.rename_axis("row"))
    verdicts = _verdicts(model, table, found, trusted, has_truth=obs.h is not None)
    groups["verdicts"] = xr.Dataset.from_dataframe(pd.DataFrame(verdicts).rename_axis("row"))
    curve = noise_curve(jax.random.key(seed), model)
    if curve is not None:
        groups["curve"] = curve
    tree = xr.DataTree.from_dict(groups)
    tree["posteriors"] = xr.DataTree(
        children={name: posterior.tree.copy() for name, posterior in trusted.items()}
    )
    tree.attrs = {key: json.dumps(value) for key, value in (provenance or {}).items()}
    return Comparison(tree)


def _as_posterior(
    name: str, given: Posterior | xr.DataTree, model: Model, obs: Observations
) -> Posterior:
    """One of ours, checked to be about these observations."""
    posterior = given if isinstance(given, Posterior) else from_datatree(given, obs.x)
    numbers, width = posterior.obs, posterior.draws.sizes["hidden"]
    if width != model.n_hidden:
        raise ValueError(
            f"posterior {name!r} has {width} hidden units, but the model has {model.n_hidden}"
        )
    if numbers.size == 0 or numbers.max() >= obs.num_obs:
        raise ValueError(f"posterior {name!r} covers observations that are not there: {numbers}")
    if not np.array_equal(posterior.tree["observed_data/x"], np.asarray(obs.x)[numbers]):
        raise ValueError(
            f"posterior {name!r} was computed from another x than the observations given: "
            "compute it from these, or pass the observations it was computed from"
        )
    return posterior


def _run_inverses(
    model: Model, obs: Observations, inverses: Mapping[str, Inverse]
) -> tuple[xr.DataArray, np.ndarray]:
    """Every inverse's estimates, (inverse, obs, hidden), and its seconds per observation."""
    estimates, seconds = [], []
    for name, inverse in inverses.items():
        estimates.append(as_estimate(name, inverse(obs.x), model, obs))
        seconds.append(_seconds_per_call(lambda inverse=inverse: inverse(obs.x)) / obs.num_obs)
    coords = {
        "inverse": list(inverses),
        "obs": np.arange(obs.num_obs),
        "hidden": np.arange(model.n_hidden),
    }
    return xr.DataArray(np.stack(estimates), coords=coords), np.asarray(seconds)


def _seconds_per_call(call: Callable[[], Any]) -> float:
    """Median time of a call that has been made before, so without compilation."""
    times = []
    while len(times) < TIMED_CALLS and sum(times) < TIMED_SECONDS:
        start = time.perf_counter()
        jax.block_until_ready(call())
        times.append(time.perf_counter() - start)
    return float(np.median(times))


def _measure(
    model: Model,
    obs: Observations,
    estimates: xr.DataArray,
    samples: xr.DataArray | None,
    posterior: Posterior,
    seed: int,
) -> Measured:
    """All families of metrics against one posterior, on the observations that it covers."""
    numbers = posterior.obs
    truth = None
    if obs.h is not None:
        truth = xr.DataArray(np.asarray(obs.h), dims=("obs", "hidden")).isel(obs=numbers)
        truth = truth.assign_coords(obs=numbers)
    case = Case(
        posterior=posterior,
        estimates=estimates.sel(obs=numbers),
        truth=truth,
        x=xr.DataArray(np.asarray(obs.x)[numbers], dims=("obs", "visible")),
        model=model if posterior.model is None else posterior.model,
        seed=seed,
        samples=None if samples is None else samples.sel(obs=numbers),
    )
    found = [family(case) for family in FAMILIES]
    arrays = {name: array for one in found for name, array in one.arrays.items()}
    return Measured(arrays, [row for one in found for row in one.rows])


# By the names of the posterior that is judged and of the one that it is held against.
Agreements = dict[tuple[str, str], Agreement]


def _agreements(model: Model, posteriors: Mapping[str, Posterior], seed: int) -> Agreements:
    """Every posterior that is not exact beside every exact one, or beside samplers if none is.

    An approximation is never the judge. Posteriors under different models need not agree, so they
    are not held against each other.
    """
    under = {
        name: model if posterior.model is None else posterior.model
        for name, posterior in posteriors.items()
    }
    ranked = sorted(posteriors, key=lambda name: _distrust(posteriors[name]))
    found = {}
    for index, name in enumerate(ranked):
        if posteriors[name].kind is Kind.EXACT:
            continue
        judges = [
            one
            for one in ranked[:index]
            if posteriors[one].kind is not Kind.APPROXIMATE and _same_model(under[one], under[name])
        ]
        exact = [one for one in judges if posteriors[one].kind is Kind.EXACT]
        for reference in exact or judges:
            pair = posteriors[name], posteriors[reference]
            found[name, reference] = measure_agreement(*pair, seed=seed)
    return found


def _agreement_rows(agreements: Agreements, posteriors: Mapping[str, Posterior]) -> pd.DataFrame:
    """Their figures. Of an approximation only its error, which is not one of Monte Carlo."""
    rows = []
    for (name, reference), found in agreements.items():
        figures: dict[str, float | xr.DataArray] = {
            "inclusion_gap": found.inclusion_gap.max(),
            "total_variation": found.total_variation.mean(),
            "total_variation_floor": found.total_variation_floor.mean(),
        }
        if posteriors[name].kind is Kind.SAMPLED:
            within = (found.threshold_excess <= 1).where(found.threshold_excess.notnull())
            figures["agreement"] = within.mean()
            figures["threshold_excess"] = found.threshold_excess.max()
            figures["agreement_p"] = found.joint_p
            figures["agreement_checked"] = found.checked.mean()
        rows += [(*Row(metric, name, float(v)), reference) for metric, v in figures.items()]
    return pd.DataFrame(rows, columns=[*Row._fields, "posterior"])


def _outcomes(agreements: Agreements) -> pd.DataFrame:
    """What each came to, in words."""
    rows = [(*names, found.outcome.value, found.reason) for names, found in agreements.items()]
    return pd.DataFrame(rows, columns=["subject", "posterior", "outcome", "reason"])


def _distrust(posterior: Posterior) -> int:
    """0 for an exact posterior, 1 for a sampler's, 2 for an approximation."""
    return (Kind.EXACT, Kind.SAMPLED, Kind.APPROXIMATE).index(posterior.kind)


def _same_model(one: Model, other: Model) -> bool:
    """Whether two models are one object, or have the same structure and the same numbers."""
    (leaves, structure), (others, other_structure) = map(jax.tree.flatten, (one, other))
    return one is other or (
        structure == other_structure and all(map(np.array_equal, leaves, others))
    )


def _costs(
    inverses: list[str], seconds: np.ndarray, posteriors: Mapping[str, Posterior]
) -> pd.DataFrame:
    """Seconds per observation, compile time apart; posteriors from elsewhere have none."""
    rows = [
        Row("seconds_per_obs", name, float(value))
        for name, value in zip(inverses, seconds, strict=True)
    ]
    for name, posterior in posteriors.items():
        if "run_seconds" in posterior.tree.attrs:
            rows.append(Row("seconds_per_obs", name, posterior.seconds_per_obs))
            rows.append(Row("compile_seconds", name, posterior.tree.attrs["compile_seconds"]))
    return pd.DataFrame(rows).assign(posterior="")


def _verdicts(
    model: Model,
    table: pd.DataFrame,
    agreements: Agreements,
    posteriors: Mapping[str, Posterior],
    *,
    has_truth: bool,
) -> list[Verdict]:
    """A verdict per inverse and posterior; posteriors of a part of the observations give none."""
    most = max(len(posterior.obs) for posterior in posteriors.values())
    verdicts = []
    for name, posterior in posteriors.items():
        if len(posterior.obs) < most:
            continue
        rows = table.query("metric == 'risk_ratio' and posterior == @name")
        trouble = _trouble(name, posterior, agreements)
        for row in rows.to_dict("records"):
            verdict = judge(
                row["subject"],
                name,
                row["value"],
                row["low"],
                row["high"],
                setting=getattr(model, "setting", type(model).__name__),
                trouble=trouble,
                has_truth=has_truth,
                is_approximate=posterior.kind is Kind.APPROXIMATE,
            )
            verdicts.append(verdict)
    return sorted(verdicts, key=lambda verdict: _distrust(posteriors[verdict.posterior]))


def _trouble(name: str, posterior: Posterior, agreements: Agreements) -> str:
    """Why a posterior cannot be trusted; empty if it can.

    One that disagrees with its reference cannot. Where a part of the agreement could not be
    checked, the table and the report say so; only if no observation could be, by thresholds or
    jointly, is the posterior itself in doubt. An approximation is not expected to agree.
    """
    if posterior.status is not Status.OK:
        return f"{name} is {posterior.status} ({posterior.status_reason})"
    if posterior.kind is Kind.APPROXIMATE:
        return ""
    for (subject, reference), found in agreements.items():
        if subject != name:
            continue
        if found.outcome is Outcome.DISAGREES:
            return f"{name} disagrees with {reference} ({found.reason})"
        if not found.checked.any():
            return f"{name} could not be checked against {reference} ({found.reason})"
    return ""
