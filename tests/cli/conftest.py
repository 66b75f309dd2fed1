import contextlib
import io
import json
import math
from importlib.resources import files
from typing import NamedTuple
from unittest import mock

import pytest
from jsonschema import Draft202012Validator

from probrev import cli

SMALL = ("--set", "n_visible=40", "--set", "n_hidden=6", "--set", "max_active=2", "--num-obs", "3")


class Done(NamedTuple):
    """A command line that has run: exit status, stdout, stderr."""

    status: int
    out: str
    err: str


def run_in(folder, *tokens):
    """Runs a command line in a folder."""
    out, err = io.StringIO(), io.StringIO()
    with (
        contextlib.chdir(folder),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        # How far slow work is depends on the machine.
        mock.patch("probrev.cli.pace.FIRST_SECONDS", math.inf),
    ):
        status = cli.main([str(token) for token in tokens])
    return Done(status, out.getvalue(), err.getvalue())


@pytest.fixture
def probrev(tmp_path, monkeypatch):
    """Runs a command line in an empty folder."""
    monkeypatch.setenv("COLUMNS", "100")

    def run(*tokens):
        return run_in(tmp_path, *tokens)

    return run


@pytest.fixture
def read_json():
    """Reads what a command printed with --json, and holds it against its schema."""
    return _read_json


def _read_json(command, text):
    schema = json.loads((files(cli) / "schemas" / f"{command}.json").read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(schema)
    said = json.loads(text)
    Draft202012Validator(schema).validate(said)
    return said


@pytest.fixture(scope="session")
def small_run(tmp_path_factory):
    """A folder in which a small comparison has been run into `first`, and what it said."""
    folder = tmp_path_factory.mktemp("small")
    rungs = ("--inverse", "universal", "--inverse", "calibrated", "--inverse", "first_step")
    words = ("compare", "one_layer", *SMALL, "--posterior", "exact", *rungs, "--out", "first")
    done = run_in(folder, *words)
    return folder, done
