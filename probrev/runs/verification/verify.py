"""Whether a saved run's numbers follow from what it holds."""

import json
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pandas as pd
import xarray as xr

from probrev.comparison.agreements import (
    Agreements,
    measure_agreements,
    tabulate_agreements,
    tabulate_outcomes,
)
from probrev.comparison.comparison import Comparison, read
from probrev.comparison.costs import tabulate_costs
from probrev.comparison.decision import conclude, tabulate
from probrev.comparison.glossary import SENTENCES
from probrev.comparison.metrics import FAMILIES
from probrev.comparison.metrics.case import Case, Measured, Row, make_case
from probrev.comparison.metrics.distance import DISTANCE
from probrev.comparison.metrics.family import measure
from probrev.comparison.models import MODELS
from probrev.inference.choice import estimate_seconds, infer
from probrev.inverses.estimates import Estimates, summarize_samples
from probrev.model.observations import Observations, Origin
from probrev.nets.fitting.checks import Check
from probrev.plumbing import door
from probrev.plumbing.readable import Table, cut, readable
from probrev.plumbing.refusal import Refusal, taken_for
from probrev.plumbing.streams import stream
from probrev.posterior.agreement import measure_agreement
from probrev.posterior.diagnostics import diagnose
from probrev.posterior.posterior import Kind, Posterior
from probrev.runs.saved_run import with_models
from probrev.runs.verification.agreed import Agreed, Pair, hold
from probrev.runs.verification.rerun import Rerun, rerun
from probrev.theory.curve import noise_curve

# Families that ask the model.
OF_MODELS = ("predictive", "likelihood", "reconstruction")
# What methods find that give the same again, of each observation alone.
REPEATABLE = {
    "exact": ("mean", "var", "inclusion_prob", "log_evidence"),
    "message_passing": ("mean", "var", "inclusion_prob"),
}
# Groups that the run does not hold all of, and what is missing.
NEEDS_MORE = {
    "fit": "R under other priors and refits, and on real x, needs the net's activations",
    "over_weights": "R under other weights needs their runs",
    "priors": "what models say beside each other needs log evidence that may have been given",
}
# A posterior is computed again on so many observations as take so long.
MOST_SECONDS = 10.0
FROM_DRAWS = "from draws, estimates, h"


@readable
@dataclass(frozen=True)
class Verification:
    """What became of a saved run's numbers when they were computed again.

    Attributes:
        rows: what was held against each other, a row for each kind of number.
        skipped: what could not be, by name, each with the reason.
    """

    rows: tuple[Agreed, ...]
    skipped: Mapping[str, str]

    def __repr__(self) -> str:
        return cut(f"Verification: {self.headline}")

    def _table(self) -> Table:
        return Table(self.headline, self.table())

    @property
    def convicted(self) -> bool:
        """Whether a number of the run does not follow from what it holds."""
        return not all(row.agrees for row in self.rows)

    @property
    def headline(self) -> str:
        """The answer in a line."""
        convicting = [row.what for row in self.rows if not row.agrees]
        if convicting:
            return f"Convicted: what the run says of its {', '.join(convicting)} does not follow."
        number, largest = sum(row.number for row in self.rows), max(r.relative for r in self.rows)
        return f"Verified: {number:,} numbers agree, the largest difference {largest:.1g} of one."

    def table(self) -> pd.DataFrame:
        """The rows: what, how, number, absolute, relative, worst."""
        return pd.DataFrame(list(self.rows), columns=list(Agreed._fields))


@door.guard(path=door.path)
def verify(path: str | Path, *, model: Any = None) -> Verification:
    """Computes a saved run's table and verdicts again, and reruns what is cheap.

    From the draws, the estimates and the h of the run follow its metrics, agreements, diagnostics,
    doubts, verdicts and table. A run of `probrev compare MODEL` has its x and h simulated and its
    inverses run anew. Exact posteriors and message passing are computed anew on as many
    observations as take ten seconds, and the curve over noise_std is. What else there is is named,
    with the reason. All of it is computed in the precision of the run, whatever JAX's is now.

    It finds what was changed in one place. It is no signature: whoever makes a whole run up can
    make up one that is consistent.

    Args:
        path: a run.nc.
        model: see `load`.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is not a saved comparison, or was saved by an earlier probrev.
    """
    result = read(path)
    known = {str(key): json.loads(value) for key, value in result.tree.attrs.items()}
    if "comparison_seed" not in known:
        raise Refusal(
            f"{path} was saved by an earlier probrev, which did not keep what to verify it by: run "
            "its command again"
        )
    with taken_for(path, "a saved comparison"), _precision_of(result):
        return _Saved(with_models(result, path, model), known).verify()


def _precision_of(result: Comparison) -> AbstractContextManager[Any]:
    """JAX's numbers as wide as when the run was saved: others would not follow from it."""
    if MODELS not in result.tree:
        return nullcontext()
    return jax.enable_x64(bool(result.tree[MODELS].attrs["wide"]))


class _Saved:
    """A saved run while it is verified."""

    def __init__(self, result: Comparison, known: Mapping[str, Any]):
        self.result, self.known = result, known
        self.seed = int(known["comparison_seed"])
        self.model, self.posteriors = result.model, result.posteriors
        self.estimates = result.tree["inverses"].to_dataset()["h"]
        tree = result.tree
        h = tree["truth/h"].to_numpy() if "truth" in tree else None
        origin = Origin(tree["data"].attrs["origin"])
        self.obs = Observations(tree["data/x"].to_numpy(), h, origin=origin)
        self.skipped: dict[str, str] = {}

    def verify(self) -> Verification:
        """Every kind of number."""
        made = self._rerun()
        rows = [*self._models(), *self._given(made), *self._posteriors(), *self._diagnostics()]
        rows += self._compared(None if made is None else made.samples)
        rows += self._curve()
        for name in NEEDS_MORE:
            if name in self.result.tree:
                self.skipped[f"group {name}"] = NEEDS_MORE[name]
        return Verification(tuple(rows), self.skipped)

    def _rerun(self) -> Rerun | None:
        sampled = 0
        if self.result.random_inverses:
            sampled = self.result.tree["random_inverses"].sizes["obs"]
        try:
            return rerun(self.result, self.known, self.obs, sampled)
        except ValueError as error:
            self.skipped["x, h and inverses"] = f"not made again: {error}"
            return None

    def _models(self) -> Iterator[Agreed]:
        """Whether each model is what its digest, and the hashes of its arrays, say."""
        if MODELS not in self.result.tree:
            self.skipped["models"] = self.result.models.why_unknown
            return
        group = self.result.tree[MODELS].attrs
        kept = [record["structure"] is not None for record in json.loads(group["records"])]
        whose = {"the model of x": (group["of_x"], self.model)}
        for name, number in json.loads(group["of_posteriors"]).items():
            whose[f"the model of {name}"] = number, self.posteriors[name].model
        pairs = []
        for name, (number, one) in whose.items():
            if kept[int(number)]:
                pairs.append((name, "as its digest", "as its digest" if one is not None else
                              self.result.models.why_unknown))  # fmt: skip
            elif one is None:
                self.skipped[name] = self.result.models.why_unknown
        yield hold("models", "digests", pairs)

    def _given(self, made: Rerun | None) -> Iterator[Agreed]:
        """The x of the posteriors; x, h and the inverses where they can be made again."""
        x = np.asarray(self.obs.x)
        pairs: list[Pair] = [
            (f"x of {name}", one.tree["observed_data/x"].to_numpy(), x[one.obs])
            for name, one in self.posteriors.items()
        ]
        yield hold("x of the posteriors", "x of the run", pairs)
        if made is None:
            return
        pairs = [("x", x, np.asarray(made.obs.x))]
        if self.obs.h is not None and made.obs.h is not None:
            pairs.append(("h", np.asarray(self.obs.h), np.asarray(made.obs.h)))
        yield hold("x and h", "simulated anew", pairs)
        saved = self.estimates
        yield hold(
            "inverses", "run anew",
            [(name, saved.sel(inverse=name), made.estimates.sel(inverse=name))
             for name in self.result.inverses],
        )  # fmt: skip
        if made.samples is not None:
            found, saved = summarize_samples(made.samples), self.result.tree["random_inverses"]
            yield hold(
                "random inverses", "run anew",
                [(name, saved[name], found[name]) for name in ("mean", "std")],
            )  # fmt: skip

    def _posteriors(self) -> Iterator[Agreed]:
        """Moments of those that can be computed anew, on the first observations."""
        for name, one in self.posteriors.items():
            if one.method not in REPEATABLE or one.model is None:
                self.skipped[f"draws of {name}"] = (
                    "its model is not known" if one.model is None else f"{one.method} is not rerun"
                )
                continue
            seconds = estimate_seconds(one.method, one.model)
            most = int(MOST_SECONDS / seconds) if seconds > 0 else len(one.obs)
            numbers = one.obs[: max(1, most)]
            own = json.loads(one.tree.attrs["settings"])
            own = {key: own[key] for key in ("max_iterations", "tolerance") if key in own}
            x = Observations(np.asarray(self.obs.x)[numbers])
            again = infer(one.method, stream(self.seed, "verify"), one.model, x, num_draws=4, **own)
            group = "exact" if one.kind is Kind.EXACT else "approximation"
            saved, found = (
                each.tree[group].to_dataset().isel(obs=slice(len(numbers))) for each in (one, again)
            )
            pairs = [
                (f"{what} of {name}", saved[what].transpose("obs", ...).to_numpy(),
                 found[what].transpose("obs", ...).to_numpy())
                for what in REPEATABLE[one.method]
            ]  # fmt: skip
            yield hold(f"posterior {name}", f"{len(numbers)} observations anew", pairs)

    def _diagnostics(self) -> Iterator[Agreed]:
        """R-hat, ESS and the like, of samplers."""
        pairs = []
        for name, one in self.posteriors.items():
            if one.kind is Kind.SAMPLED and "diagnostics" in one.tree:
                found = diagnose(one.draws, one.sampling)
                saved = one.tree["diagnostics"]
                pairs += [(f"{key} of {name}", saved[key].to_numpy(), found[key].to_numpy())
                          for key in map(str, found)]  # fmt: skip
        if pairs:
            yield hold("diagnostics", "from the draws", pairs)

    def _compared(self, samples: xr.DataArray | None) -> Iterator[Agreed]:
        """Metrics, agreements, doubts, verdicts and the table."""
        tree = self.result.tree
        cases = {name: self._case(name, one, samples) for name, one in self.posteriors.items()}
        measured = {name: self._measure(case) for name, case in cases.items()}
        agreements = self._agreements()
        kept = {name: tree[f"metrics/{name}"].to_dataset() for name in measured}
        arrays = [
            _aligned(f"{key} against {name}", kept[name].get(key), array)
            for name, found in measured.items()
            # As a run keeps them: what some observations have not is NaN there.
            for key, array in xr.Dataset(found.arrays).items()
        ]
        yield hold("metrics of observations", FROM_DRAWS, arrays)
        costs = tabulate_costs(
            Estimates(self.estimates, tree["inverses/seconds_per_obs"].to_numpy()),
            self.posteriors,
        )
        figures = tabulate_agreements(agreements, self.posteriors)
        yield hold("table", FROM_DRAWS, self._rows(tabulate(measured, figures, costs)))
        if agreements:
            saved = tree["agreements"].to_dataset().to_dataframe()
            pairs = _by_row(saved, tabulate_outcomes(agreements), ["subject", "posterior"])
            yield hold("agreements", "from the draws", pairs)
        yield from self._verdicts(cases, measured, agreements)

    def _case(self, name: str, posterior: Posterior, samples: xr.DataArray | None) -> Case:
        verdict = self.result.verdicts[0]
        case = make_case(
            self.model, self.obs, self.estimates, posterior, self.seed,
            verdict.interval_prob,
        )  # fmt: skip
        case = replace(case, origin=Origin(self.result.tree[f"metrics/{name}"].attrs["origin"]))
        if samples is None:
            return case
        common = np.intersect1d(posterior.obs, samples["obs"])
        return replace(case, samples=samples.sel(obs=common) if common.size else None)

    def _measure(self, case: Case) -> Measured:
        """What the families find that can be asked."""
        families = dict(FAMILIES)
        if case.model is None:
            families = {name: one for name, one in families.items() if name not in OF_MODELS}
        return measure(case, families)

    def _agreements(self) -> Agreements:
        """Of every pair that is to be held against each other; of unknown models, that was."""
        models = {name: one.model for name, one in self.posteriors.items()}
        if all(one is not None for one in models.values()):
            return measure_agreements(self.posteriors, models, self.seed)
        if "agreements" not in self.result.tree:
            return {}
        table = self.result.tree["agreements"].to_dataset()
        pairs = zip(table["subject"].to_numpy(), table["posterior"].to_numpy(), strict=True)
        return {
            (name, other): measure_agreement(
                self.posteriors[name], self.posteriors[other], seed=self.seed
            )
            for name, other in ((str(name), str(other)) for name, other in pairs)
        }

    def _rows(self, found: pd.DataFrame) -> Iterator[Pair]:
        """The table's rows beside those found again, but for what cannot be found again."""
        saved = self.result.table()
        why = [self._why_silent(row) for row in saved.to_dict("records")]
        self.skipped |= {
            name: said for name, said in zip(saved["metric"], why, strict=True) if said
        }
        kept = saved.drop(index=[row for row, said in enumerate(why) if said])
        yield from _by_row(kept, found, ["metric", "subject", "posterior"])

    def _why_silent(self, row: Mapping[str, Any]) -> str:
        """Why a row cannot be found again; empty where it can."""
        metric, against = row["metric"], self.posteriors.get(row["posterior"])
        if metric not in SENTENCES:
            return "a metric of one's own: its function is not in the run"
        is_random = row["subject"] in self.result.random_inverses or (
            metric in DISTANCE.sentences and metric != "relative_risk"
        )
        if is_random and "x, h and inverses" in self.skipped:
            return "samples of random inverses are not in the run"
        if against is not None and against.model is None and any(
            metric in FAMILIES[name].sentences for name in OF_MODELS
        ):  # fmt: skip
            return "the model is not known"
        return ""

    def _verdicts(
        self, cases: dict[str, Case], measured: dict[str, Measured], agreements: Agreements
    ) -> Iterator[Agreed]:
        """Doubts and verdicts, from what was found again, and from the table where nothing was."""
        tree, saved = self.result.tree, self.result.table()
        whole = {}
        for name, found in measured.items():
            there = {(row.metric, row.subject) for row in found.rows}
            rows = saved.query("posterior == @name").loc[:, list(Row._fields)]
            every = map(Row._make, rows.itertuples(index=False))
            rest = [row for row in every if (row.metric, row.subject) not in there]
            whole[name] = Measured(rows=[*found.rows, *rest])
        checks, starts = None, None
        if "checks" in tree:
            table = tree["checks"].to_dataset()
            frame = table.to_dataframe()[list(Check._fields)]
            checks = [Check._make(row) for row in frame.itertuples(index=False)]
            starts = dict(table.attrs) or None
        planned = {one.inverse for one in self.result.verdicts if one.planned}
        doubts, verdicts = conclude(
            cases, whole, agreements, planned=planned, checks=checks, starts=starts
        )
        pairs: list[Pair] = []
        for name, doubt in doubts.items():
            kept = json.loads(tree[f"metrics/{name}"].attrs["doubt"])
            words = [None if one is None else ": ".join(map(str, one)) for one in (kept, doubt)]
            pairs.append((f"doubt of {name}", words[0] or "none", words[1] or "none"))
        orders = [
            " ".join(f"{one.inverse}/{one.posterior}" for one in each)
            for each in (self.result.verdicts, verdicts)
        ]
        pairs.append(("the order of the verdicts", orders[0], orders[1]))
        frames = [pd.DataFrame(one) for one in (self.result.verdicts, verdicts)]
        if any(case.model is None for case in cases.values()):
            frames = [one.drop(columns="sentence") for one in frames]  # it names the setting
        pairs += _by_row(*frames, ["inverse", "posterior"])
        yield hold("verdicts", FROM_DRAWS, pairs)

    def _curve(self) -> Iterator[Agreed]:
        if "curve" not in self.result.tree:
            return
        found = None if self.model is None else noise_curve(stream(self.seed, "curve"), self.model)
        if found is None:
            self.skipped["group curve"] = "the model is not known, or has none"
            return
        saved = self.result.tree["curve"].to_dataset()
        pairs = [_aligned(name, saved[name], found[name]) for name in map(str, found)]
        yield hold("curve", "drawn anew", pairs)


def _aligned(label: str, saved: xr.DataArray | None, found: xr.DataArray) -> Pair:
    """Arrays with their axes in the same order."""
    if saved is None or {*saved.dims} != {*found.dims}:
        return label, saved, found
    return label, saved.transpose(*found.dims).to_numpy(), found.to_numpy()


def _by_row(saved: pd.DataFrame, found: pd.DataFrame, names: list[str]) -> Iterator[Pair]:
    """Every cell of two tables whose rows have these names."""
    tables = [one.astype(dict.fromkeys(names, str)).set_index(names) for one in (saved, found)]
    for name in tables[1].index.union(tables[0].index, sort=False):
        label = ", ".join(filter(None, name))
        if not all(name in one.index for one in tables):
            there = ["" if name in one.index else None for one in tables]
            yield label, there[0], there[1]
            continue
        for column in tables[1].columns:
            yield f"{column} of {label}", tables[0].at[name, column], tables[1].at[name, column]
