"""A finished comparison: its table, its verdicts, the answer in a line, and its file."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
import xarray as xr

from probrev.comparison.models import MODELS, Models, tabulate_models
from probrev.comparison.verdict import Doubt, Verdict, Word
from probrev.plumbing.netcdf import write_netcdf
from probrev.plumbing.readable import Table, cut, readable
from probrev.plumbing.refusal import ExistingFileRefusal, Refusal, taken_for
from probrev.plumbing.trees import read_tree
from probrev.posterior.posterior import Posterior

# What every saved run has.
GROUPS = ("data", "inverses", "metrics", "posteriors", "table", "verdicts")


@readable
@dataclass(frozen=True)
class Comparison:
    """A finished comparison; everything a report needs is in its tree.

    Groups: `data` (x), `truth` (h, absent for real x), `inverses` (estimates and seconds per
    observation), `random_inverses` (mean and standard deviation of their samples, absent where
    there are none), `posteriors/<name>` (see `Posterior`), `metrics/<name>` (arrays of each family
    against that posterior), `own_metrics/<name>/<metric>` (arrays of each metric that was given to
    `compare`, absent where none was), `agreements` (outcomes in words, absent where no posterior is
    held against another), `table` (the summary, a row each), `glossary` (a sentence for each metric
    of the table), `verdicts`, `checks` (of a model fitted to a real net, absent of others),
    `priors` (see `tabulate_priors`, absent where there is one model), and `curve` (the risk ratio
    over noise_std, where the model has one). A saved one has `models` too (see `tabulate_models`).
    The root's attributes are the provenance.

    Attributes:
        tree: the labelled results.
        models: what is known of the models.
    """

    tree: xr.DataTree
    models: Models = field(default_factory=Models)

    def __repr__(self) -> str:
        return cut(f"Comparison: {self.headline}")

    def _table(self) -> Table:
        rows = [(v.inverse, v.posterior, v.word, v.ratio, v.low, v.high) for v in self.verdicts]
        names = ["inverse", "posterior", "verdict", "ratio", "low", "high"]
        return Table(self.headline, pd.DataFrame(rows, columns=names))

    @property
    def model(self) -> Any:
        """The model of x; None in a loaded run that does not know it: see `models.why_unknown`."""
        return self.models.of_x

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
        """The posteriors by name, each with its model where that is known."""
        known = self.models.of_posteriors
        nodes = self.tree["posteriors"].children
        return {name: Posterior(node, known.get(name)) for name, node in nodes.items()}

    @cached_property
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

    @property
    def glossary(self) -> dict[str, str]:
        """What each metric of the table means."""
        found = self.tree["glossary"].to_dataset()
        pairs = zip(found["metric"].to_numpy(), found["sentence"].to_numpy(), strict=True)
        return {str(metric): str(sentence) for metric, sentence in pairs}

    def save(self, path: str | Path) -> None:
        """Writes the comparison to a netCDF file, whole or not at all, its models with it.

        Raises:
            FileExistsError: the file exists; a run is never overwritten.
        """
        path = Path(path)
        if path.exists():
            raise ExistingFileRefusal(
                f"{path} exists, and a run is never overwritten: name another"
            )
        tree = self.tree
        if MODELS not in tree and self.model is not None:
            tree = tree.copy()
            tree[MODELS] = xr.DataTree(tabulate_models(self.models))
        encoding = {
            node.path: {
                name: {"zlib": True} for name, var in node.data_vars.items() if var.ndim > 2
            }
            for node in tree.subtree
            if node.data_vars
        }
        write_netcdf(tree, path, encoding=encoding)


def read(path: str | Path) -> Comparison:
    """Reads a comparison that `Comparison.save` wrote, without its models.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is not a saved comparison.
    """
    path = Path(path)
    tree = read_tree(path, "a saved comparison", GROUPS)
    nodes = tree["metrics"].children.values()
    if "glossary" not in tree or any("doubt" not in node.attrs for node in nodes):
        raise Refusal(
            f"{path} was saved by an earlier probrev, whose runs this one cannot read: run its "
            "command again"
        )
    found = Comparison(tree)
    with taken_for(path, "a saved comparison"):
        _ = found.headline, found.glossary, found.table()["value"], found.inverses
        _ = found.random_inverses, [posterior.status for posterior in found.posteriors.values()]
    return found


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
    return f"{num_decided} of {len(own)} inverses decided against {own[0].posterior} ({said})."
