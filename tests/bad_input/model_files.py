"""Model files that exit, raise, or return what is no model: rows are what stands in a file."""

import time
from pathlib import Path
from typing import NamedTuple

from tests.bad_input.commands import ask as ask_command
from tests.bad_input.rows import Answer, Row

HEAD = """import sys
import numpy as np
import probrev as pr

def parts():
    weights = np.random.default_rng(5).normal(size=(6, 3))
    prior = pr.SpikeAndSlab(3, 0.25, pr.FiniteSlab([0.5], [1.0]))
    return prior, pr.Layer(weights, 0.7, 1.2)

class Widths:
    n_visible, n_hidden = 6, 3

class Mute(Exception):
    def __str__(self):
        raise RuntimeError
"""
BUILD = """
def build():
    prior, layer = parts()
    return pr.LayeredModel(prior, [layer])
"""
# Statements that raise, each in a line of its own.
RAISE = (
    "sys.exit(0)", "sys.exit('bye')", "raise SystemExit", "raise KeyError('rate')", "1 / 0",
    "raise RuntimeError('no luck')", "[][3]", "None.rate", "assert False", "raise Exception",
    "raise NotImplementedError", "raise StopIteration", "raise MemoryError", "open('nothing')",
    "raise ValueError('several\\nlines')", "raise ValueError('x' * 5000)", "raise Mute",
    "raise BaseException('odd')", "import no_such_module", "float('text')", "len(3)",
    "b'\\xff'.decode()", "pr.Layer([[1.0]], keep_prob=2.0)", "pr.Layer([[1.0]], keep=2.0)",
    "pr.exact()", "pr.no_such_name", "exec('def f(:')", "int('9' * 9999)",
    "raise ExceptionGroup('two', [ValueError('a'), KeyError('b')])",
    "(lambda f: f(f))(lambda f: f(f))",
)  # fmt: skip
NO_MODELS = (
    "None", "3", "'model'", "[layer]", "(prior, layer)", "pr.LayeredModel", "layer", "prior", "np",
    "(n for n in [1])", "lambda: None", "{'model': layer}", "np.ones((6, 3))", "Widths",
    "type('M', (), {'n_visible': 2.5, 'n_hidden': 3})()",
    "type('M', (), {'n_visible': 0, 'n_hidden': 3})()",
    "type('M', (), {'n_visible': property(lambda self: 1 / 0), 'n_hidden': 3})()",
)  # fmt: skip
NO_OBSERVATIONS = (
    "None", "3", "np.ones((2, 6))", "pr.Observations", "pr.Observations(np.ones((2, 5)))",
    "pr.Observations(np.full((2, 6), np.nan))", "pr.Observations(np.ones((1, 6)))", "'x'",
)  # fmt: skip
NO_INVERSES = (
    "None", "3", "[abs]", "{'a': 3}", "{0: abs}", "{'': abs}", "{'a b': abs}", "{'theory': abs}",
    "abs", "{'posterior': abs}", "{'a': pr.FeedforwardNet}",
)  # fmt: skip
NO_ESTIMATES = (
    "None", "3", "x", "'h'", "x[:, :3] * np.nan", "x[:, :3] * 1j", "x[0, :3]", "[[1], [1, 2]]",
)  # fmt: skip
ARGUMENTS = "--posterior exact --num-obs 2"


class Case(NamedTuple):
    """A file, and what the line must name; the number of the line with `# here` too."""

    source: str
    names: str


def _cases() -> list[Case]:
    rows = [Case(f"{HEAD}{one}  # here\n{BUILD}", "mine.py") for one in RAISE]
    rows += [Case(f"{HEAD}\ndef build():\n    {one}  # here\n", "mine.py") for one in RAISE]
    rows += [
        Case(f"{HEAD}\ndef build():\n    prior, layer = parts()\n    return {one}\n", "build")
        for one in NO_MODELS
    ]
    rows += [
        Case(f"{HEAD}\nasync def build():\n    return None\n", "build"),
        Case(f"{HEAD}\ndef build():\n    yield 3\n", "build"),
        Case(f"{HEAD}\ndef build(a, /):\n    return Widths()\n", "a"),
        Case(f"{HEAD}\ndef build(*, a):\n    return Widths()\n", "a"),
        Case(f"{HEAD}{BUILD}\nbuild = 3\n", "build"),
        Case(f"{HEAD}{BUILD}\ndel build\n", "build"),
        Case(f"{HEAD}{BUILD}\nbuild = lambda a: a\n", "build"),
    ]
    hooks = {
        "observe": ("key, model, num_obs", NO_OBSERVATIONS),
        "inverses": ("model", NO_INVERSES),
        "checks": ("model", ("3", "'fine'", "[3]", "['fine']", "abs", "pr.Check")),
    }
    for hook, (arguments, returned) in hooks.items():
        rows += [
            Case(f"{HEAD}{BUILD}\ndef {hook}({arguments}):\n    {one}  # here\n", "mine.py")
            for one in RAISE[::2]
        ]
        rows += [
            Case(f"{HEAD}{BUILD}\ndef {hook}({arguments}):\n    return {one}\n", hook)
            for one in returned
        ]
        rows += [Case(f"{HEAD}{BUILD}\n{hook} = {one}\n", hook) for one in ("3", "[1]", "pr.Layer")]
        rows.append(Case(f"{HEAD}{BUILD}\ndef {hook}({arguments}, other):\n    ...\n", hook))
    own = f"{HEAD}{BUILD}\ndef inverses(model):\n    return {{'own': own}}\n\ndef own(x):\n"
    rows += [Case(f"{own}    {one}  # here\n", "mine.py") for one in RAISE[::3]]
    rows += [Case(f"{own}    return {one}\n", "own") for one in NO_ESTIMATES]
    model = (
        f"{HEAD}\ndef inverses(model):\n    return {{'own': lambda x: x[:, :3]}}\n"
        "\ndef build():\n    return Mine()\n"
        "\nclass Mine(Widths):\n    def simulate(self, key, n):\n"
    )
    rows += [Case(f"{model}        {one}  # here\n", "mine.py") for one in RAISE[::3]]
    rows += [
        Case(f"{model}        return {one}\n", "simulate")
        for one in ("None", "3", "pr.Observations", "(1, 2)")
    ]
    return rows


CASES = _cases()


def ask(case: Case, folder: Path, words: str = ARGUMENTS) -> Answer:
    """Compares under a file, which must be refused in a line."""
    (folder / "mine.py").write_text(case.source)
    start = time.perf_counter()
    answer = ask_command(Row(f"compare mine.py {words}", case.names), folder)
    here = next((n for n, line in enumerate(case.source.split("\n"), 1) if "# here" in line), None)
    wrong = answer.wrong
    if not wrong and here is not None and f"line {here}" not in answer.line:
        wrong = f"does not name line {here}"
    typed = case.source.removeprefix(HEAD).replace(BUILD, "")
    return Answer(Row(typed, case.names), time.perf_counter() - start, answer.line, wrong)
