"""A row of bad input, and what is wrong with how it was answered."""

import statistics
import time
from collections.abc import Callable, Iterable
from typing import NamedTuple

from probrev.plumbing.refusal import LONGEST, REFUSALS


class Row(NamedTuple):
    """A case: what is typed, and what the line must name (of several words, any one)."""

    typed: str
    names: str | tuple[str, ...]


class Answer(NamedTuple):
    """What came of a row: seconds, the line, and what is wrong with it; empty if nothing."""

    row: Row
    seconds: float
    line: str
    wrong: str


def expand(template: str, values: Iterable[str], *names: str) -> list[Row]:
    """A row for each value that is put for {}."""
    return [Row(template.replace("{}", value), names) for value in values]


def fault_of(line: str, names: str | tuple[str, ...]) -> str:
    """What is wrong with a line; empty if nothing."""
    names = (names,) if isinstance(names, str) else names
    if "\n" in line.strip():
        return "more than one line"
    if not line.strip().isprintable():
        return "cannot be printed"
    if not any(name in line for name in names):
        return f"does not name {' or '.join(names)}"
    if len(line) > LONGEST:
        return f"{len(line)} characters"
    return ""


def ask(row: Row, run: Callable[[str], object]) -> Answer:
    """Runs what was typed as Python, which must raise a refusal."""
    start = time.perf_counter()
    try:
        run(row.typed)
    except REFUSALS as error:
        line = str(error)
        wrong = fault_of(line, row.names)
    except Exception as error:
        line = f"{type(error).__name__}: {error}"
        wrong = "not a refusal"
    else:
        line, wrong = "", "accepted"
    return Answer(row, time.perf_counter() - start, line, wrong)


def report(answers: Iterable[Answer]) -> str:
    """The rows that were not refused well, a line each."""
    return "\n".join(
        f"{answer.row.typed!r}: {answer.wrong}: {answer.line[:300]!r}"
        for answer in answers
        if answer.wrong
    )


def summary(answers: Iterable[Answer]) -> str:
    """How many rows, and how long it took to refuse them."""
    answers = list(answers)
    seconds = [answer.seconds for answer in answers]
    longest = max(answers, key=lambda answer: answer.seconds)
    return (
        f"{len(answers)} rows, median {statistics.median(seconds):.2g} s, longest "
        f"{longest.seconds:.2g} s: {longest.row.typed[-60:]!r}"
    )
