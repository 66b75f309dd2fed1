"""The end of a report: every number, what it means, and how to repeat the run."""

import shlex
from collections.abc import Mapping
from typing import Any

from probrev.report.answer import as_text
from probrev.report.blocks import Section, Table
from probrev.report.numbers import ABSENT, plain
from probrev.report.summary import Summary


def full_table(summary: Summary) -> Section:
    """Every number of the run."""
    rows = [
        [metric, subject, against or ABSENT, *(plain(number, 4) for number in row[2:])]
        for (metric, subject, against), row in summary.rows.items()
        if not (metric.startswith("support_") and subject in summary.never_zero)
    ]
    header = ["metric", "of", "against", "value", "std. error", "95 % low", "95 % high"]
    return Section("All numbers", tables=[Table(header, rows)], folded=True)


def glossary(summary: Summary) -> Section:
    """The metrics that this run has; the words that are linked are put before them."""
    rows = [[name, text] for name, text in summary.result.glossary.items()]
    return Section("Glossary", tables=[Table(["metric", "meaning"], rows)], has_words=True)


def provenance(summary: Summary) -> list[Section]:
    """Where the run comes from, and how to repeat it."""
    return provenance_sections(summary.provenance)


def provenance_sections(provenance: Mapping[str, Any]) -> list[Section]:
    """A record of `runs.provenance` as sections."""
    known = dict(provenance)
    sections = []
    source = known.pop("model_source", None)
    command = known.pop("command", None)
    if isinstance(command, list):
        command = shlex.join(map(str, command))
    lines = ["The command that repeats this run:"] if command else ["No command was recorded."]
    if not command and "call" in known:
        lines = ["The call that this run is of, made from Python:"]
        command = known.pop("call")
    for name in ("parameters", "model"):
        known.pop(name, None)
    rows = []
    for name, value in known.items():
        if isinstance(value, dict):
            rows += [[f"{name}: {key}", as_text(item)] for key, item in value.items()]
        else:
            rows.append([name, as_text(value)])
    tables = [Table(["what", "value"], rows)] if rows else []
    sections.append(Section("Provenance", lines, tables=tables, code=str(command or "")))
    if source:
        sections.append(Section("Text of the model file", folded=True, code=str(source)))
    return sections
