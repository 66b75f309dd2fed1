"""Grids, some model files, saved runs and interrupted work; `python -m tests.bad_input` has all."""

import pytest

from tests.bad_input import grids, model_files, saved_files, unfinished
from tests.bad_input.commands import ask
from tests.bad_input.files import write_files
from tests.bad_input.rows import Row, report


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    write_files(tmp_path)
    return tmp_path


@pytest.mark.slow
def test_bad_grids_are_refused_before_a_store_is_written(folder):
    answers = []
    for row in grids.ROWS:
        (folder / "grid.toml").write_text(row.typed)
        answer = ask(Row("sweep grid.toml", row.names), folder)
        answers.append(answer._replace(row=row))
    assert not report(answers), f"\n{report(answers)}"


@pytest.mark.slow
def test_bad_model_files_are_refused_with_their_line(folder):
    answers = [model_files.ask(case, folder) for case in model_files.CASES[::3]]
    assert not report(answers), f"\n{report(answers)}"


@pytest.mark.slow
def test_saved_runs_that_were_changed_are_refused_or_read(tmp_path):
    good, whole = tmp_path / "good.nc", tmp_path / "whole.nc"
    saved_files.save_run(good, with_model=False)
    saved_files.save_run(whole, with_model=True)
    answers = [
        *saved_files.answers(good, list(saved_files.changes(good))[::9]),
        *saved_files.answers(whole, list(saved_files.changes_of_models())[::3]),
    ]
    assert not report(answers), f"\n{report(answers)}"


@pytest.mark.slow
def test_interrupted_work_whose_files_were_changed_goes_on_or_is_refused(tmp_path):
    answers = list(unfinished.answers(tmp_path, every=5))
    assert not report(answers), f"\n{report(answers)}"
