"""Inverses held against posteriors: the comparison, its table, its verdict, and its file."""

import json
import re
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pandas as pd
import xarray as xr

from probrev.agreement import measure_agreement
from probrev.curve import noise_curve
from probrev.doubt import find_doubt
from probrev.estimates import RandomInverse, as_estimate, sample_inverses, summarize_samples
from probrev.ladder import Inverse
from probrev.metrics import FAMILIES, Case, Measured, Row
from probrev.metrics.case import INTERVAL_PROB, POSTERIOR
from probrev.metrics.risk import spares_truth
from probrev.model import Model, Observations, check_pytree, same_numbers
from probrev.posterior import Kind, Posterior, from_datatree
from probrev.replacing import replacing
from probrev.streams import stream
from probrev.verdict import Doubt, Ratio, Verdict, Word, judge

NAME = re.compile(r"[A-Za-z0-9_-]+")
# A call is timed so often, or until that took so long.
TIMED_CALLS, TIMED_SECONDS = 5, 1.0


@dataclass(frozen=True)
class Comparison:
    """A finished comparison; everything a report needs is in its tree.

    Groups: `data` (x), `truth` (h, absent for real x), `inverses` (estimates and seconds per
    observation), `random_inverses` (mean and standard deviation of their samples, absent where
    there are none), `posteriors/<name>` (see `Posterior`), `metrics/<name>` (arrays of each family
    against that posterior), `table` (the summary, a row each), `verdicts`, and `curve` (the risk
    ratio over noise_std, where the model has one). The root's attributes are the provenance.

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
        """One per inverse and posterior, those against the most trusted posterior first.

        Posteriors of a part of the observations come last.
        """
        frame = self.tree["verdicts"].to_dataset().to_dataframe()
        rows = frame[list(Verdict._fields)].itertuples(index=False)
        return [
            verdict._replace(word=Word(verdict.word), planned=bool(verdict.planned))
            for verdict in map(Verdict._make, rows)
        ]

    @property
    def judge(self) -> str:
        """Name of the posterior whose verdicts are the answer: the first of `verdicts`."""
        return self.verdicts[0].posterior

    @property
    def doubts(self) -> dict[str, Doubt]:
        """Of each posterior that may not judge the reason; empty where all may."""
        nodes = self.tree["metrics"].children
        found = {name: json.loads(node.attrs["doubt"]) for name, node in nodes.items()}
        return {name: Doubt(Word(one[0]), one[1]) for name, one in found.items() if one}

    @property
    def conclusive(self) -> bool:
        """Whether every posterior can be trusted, and its model fits."""
        return not self.doubts

    @property
    def headline(self) -> str:
        """The answer in a line: what stands against it, or how many inverses are decided, and how.

        Terminal and report begin with it.
        """
        return _headline(self.verdicts, self.doubts)

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
    interval_prob: float = INTERVAL_PROB,
    planned: Collection[str] | None = None,
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
        interval_prob: probability of the intervals that verdicts are made of; nearer to 1 where
            several looks are taken (see `compare_until`).
        planned: the inverses whose verdicts it was decided beforehand to read; by default all. Each
            verdict errs in its own 5 %, so of many some are wrong.
        provenance: what to keep with the run, JSON-able.

    Raises:
        ValueError: a name, an inverse's output or a posterior's x does not fit; says which.
    """
    if not 0 < interval_prob < 1:
        raise ValueError(f"interval_prob must lie between 0 and 1; got {interval_prob}")
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
    planned = list(inverses) if planned is None else planned
    for name in planned:
        if name not in inverses:
            raise ValueError(f"planned names {name!r}, which is none of the inverses")
    trusted = {name: _as_posterior(name, given, model, obs) for name, given in posteriors.items()}
    estimates, seconds = _run_inverses(model, obs, inverses)
    groups = {
        "data": xr.Dataset(
            {"x": (("obs", "visible"), np.asarray(obs.x))}, attrs={"origin": obs.origin.value}
        ),
        "inverses": xr.Dataset({"h": estimates, "seconds_per_obs": ("inverse", seconds)}),
    }
    if obs.h is not None:
        groups["truth"] = xr.Dataset({"h": (("obs", "hidden"), np.asarray(obs.h))})
    samples = None
    if random_inverses:
        samples = sample_inverses(seed, model, obs, random_inverses)
        groups["random_inverses"] = summarize_samples(samples)
    frames, cases = [], {}
    for name, posterior in trusted.items():
        cases[name] = _make_case(model, obs, estimates, samples, posterior, seed, interval_prob)
        measured = _measure(cases[name])
        groups[f"metrics/{name}"] = xr.Dataset(measured.arrays)
        frames.append(pd.DataFrame(measured.rows).assign(posterior=name))
    agreements = _agreements(model, trusted, seed)
    costs = _costs(list(inverses), seconds, trusted)
    table = pd.concat([*frames, agreements, costs], ignore_index=True)
    names = ["metric", "subject", "posterior"]
    table[names] = table[names].map(str)
    groups["table"] = xr.Dataset.from_dataframe(table.rename_axis("row"))
    doubts = {
        name: find_doubt(name, trusted[name], case.origin, table) for name, case in cases.items()
    }
    for name, doubt in doubts.items():
        groups[f"metrics/{name}"].attrs = {
            "origin": cases[name].origin.value, "doubt": json.dumps(doubt)
        }  # fmt: skip
    verdicts = pd.DataFrame(_verdicts(table, cases, doubts, planned))
    verdicts["word"] = verdicts["word"].map(str)
    groups["verdicts"] = xr.Dataset.from_dataframe(verdicts.rename_axis("row"))
    curve = noise_curve(stream(seed, "curve"), model)
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


def _make_case(
    model: Model,
    obs: Observations,
    estimates: xr.DataArray,
    samples: xr.DataArray | None,
    posterior: Posterior,
    seed: int,
    interval_prob: float,
) -> Case:
    """One posterior and what to hold against it, on the observations that it covers."""
    numbers = posterior.obs
    truth = None
    if obs.h is not None:
        truth = xr.DataArray(np.asarray(obs.h), dims=("obs", "hidden")).isel(obs=numbers)
        truth = truth.assign_coords(obs=numbers)
    own = model if posterior.model is None else posterior.model
    return Case(
        posterior=posterior,
        estimates=estimates.sel(obs=numbers),
        truth=truth,
        x=xr.DataArray(np.asarray(obs.x)[numbers], dims=("obs", "visible")),
        model=own,
        seed=seed,
        samples=None if samples is None else samples.sel(obs=numbers),
        origin=obs.origin_under(own),
        interval_prob=interval_prob,
    )


def _measure(case: Case) -> Measured:
    """All families of metrics against one posterior."""
    found = [family(case) for family in FAMILIES]
    arrays = {name: array for one in found for name, array in one.arrays.items()}
    return Measured(arrays, [row for one in found for row in one.rows])


def _agreements(model: Model, posteriors: Mapping[str, Posterior], seed: int) -> pd.DataFrame:
    """Every posterior that is not exact beside every exact one, or beside samplers if none is.

    An approximation is never the judge, and what is told of it is its error, not whether that is
    within Monte Carlo error. Posteriors under different models need not agree, so they are not held
    against each other.
    """
    under = {
        name: model if posterior.model is None else posterior.model
        for name, posterior in posteriors.items()
    }
    ranked = sorted(posteriors, key=lambda name: _distrust(posteriors[name]))
    rows = []
    for index, name in enumerate(ranked):
        if posteriors[name].kind is Kind.EXACT:
            continue
        judges = [
            one
            for one in ranked[:index]
            if posteriors[one].kind is not Kind.APPROXIMATE
            and same_numbers(under[one], under[name])
        ]
        exact = [one for one in judges if posteriors[one].kind is Kind.EXACT]
        for reference in exact or judges:
            found = measure_agreement(posteriors[name], posteriors[reference], seed=seed)
            figures = {
                "inclusion_gap": found.inclusion_gap.max(),
                "total_variation": found.total_variation.mean(),
                "total_variation_floor": found.total_variation_floor.mean(),
            }
            if posteriors[name].kind is Kind.SAMPLED:
                figures["agreement"] = found.agrees.mean()
                figures["inclusion_excess"] = found.inclusion_excess.max()
            rows += [(*Row(metric, name, float(v)), reference) for metric, v in figures.items()]
    return pd.DataFrame(rows, columns=[*Row._fields, "posterior"])


def _distrust(posterior: Posterior) -> int:
    """0 for an exact posterior, 1 for a sampler's, 2 for an approximation."""
    return (Kind.EXACT, Kind.SAMPLED, Kind.APPROXIMATE).index(posterior.kind)


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
    table: pd.DataFrame,
    cases: Mapping[str, Case],
    doubts: Mapping[str, Doubt | None],
    planned: Collection[str],
) -> list[Verdict]:
    """A verdict per inverse and posterior, those of the judge first; see `Comparison.verdicts`."""
    most = max(len(case.posterior.obs) for case in cases.values())
    ranked = sorted(
        cases,
        key=lambda one: (len(cases[one].posterior.obs) < most, _distrust(cases[one].posterior)),
    )
    verdicts = []
    for name in ranked:
        case = cases[name]
        rows = table.query("metric == 'risk_ratio' and posterior == @name")
        for row in rows.to_dict("records"):
            ratio = Ratio(
                row["subject"], name, row["value"], row["low"], row["high"], case.interval_prob,
                len(case.posterior.obs), case.origin, case.truth is not None, spares_truth(case),
            )  # fmt: skip
            verdict = judge(
                ratio,
                setting=getattr(case.model, "setting", type(case.model).__name__),
                doubt=doubts[name],
                is_approximate=case.posterior.kind is Kind.APPROXIMATE,
                planned=name == ranked[0] and row["subject"] in planned,
            )
            verdicts.append(verdict)
    return verdicts


def _headline(verdicts: list[Verdict], doubts: Mapping[str, Doubt]) -> str:
    """See `Comparison.headline`."""
    for doubt in doubts.values():
        return f"{doubt.word.capitalize()}: {doubt.reason}."
    own = [verdict for verdict in verdicts if verdict.posterior == verdicts[0].posterior]
    by_word = {word: [verdict.inverse for verdict in own if verdict.word is word] for word in Word}
    said = "; ".join(f"{word}: {', '.join(names)}" for word, names in by_word.items() if names)
    if len(by_word[Word.UNJUDGED]) == len(own):
        return f"Unjudged: {own[0].reason}."
    num_decided = sum(len(by_word[word]) for word in (Word.AS_GOOD, Word.NEAR, Word.FAR))
    return f"{num_decided} of {len(own)} inverses decided against {own[0].posterior}. {said}."
