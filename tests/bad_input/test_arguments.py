"""Arguments of the public functions and classes: a row a case, in `arguments`."""

import itertools
import re

import pytest

from tests.bad_input import arguments
from tests.bad_input.rows import ask, report

CALLS = {
    call: list(rows)
    for call, rows in itertools.groupby(
        arguments.ROWS, lambda row: re.split(r"[(.]", row.typed.removeprefix("pr."))[0]
    )
}


@pytest.mark.parametrize("call", CALLS)
def test_bad_arguments_are_refused_in_a_line(call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    answers = [ask(row, arguments.run) for row in CALLS[call]]
    assert not report(answers), f"\n{report(answers)}"
    assert not list(tmp_path.iterdir())
