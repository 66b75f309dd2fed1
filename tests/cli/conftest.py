import contextlib
import io
from typing import NamedTuple

import pytest

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


@pytest.fixture(scope="session")
def small_run(tmp_path_factory):
    """A folder in which a small comparison has been run into `first`, and what it said."""
    folder = tmp_path_factory.mktemp("small")
    rungs = ("--inverse", "universal", "--inverse", "calibrated", "--inverse", "first_step")
    words = ("compare", "one_layer", *SMALL, "--posterior", "exact", *rungs, "--out", "first")
    done = run_in(folder, *words)
    return folder, done
