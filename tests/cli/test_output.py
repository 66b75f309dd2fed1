import os
import re

import pytest

from probrev.cli.output import check_folder, default_folder


def test_default_folder_is_named_after_model_and_time():
    assert re.fullmatch(r"runs/toy-\d{8}T\d{6}Z", default_folder("some/where/toy.py").as_posix())


def test_a_new_folder_is_fine_and_not_created(tmp_path):
    check_folder(tmp_path)
    check_folder(tmp_path / "a" / "b")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_holds_a_run_is_refused(tmp_path):
    (tmp_path / "report.html").touch()
    with pytest.raises(ValueError, match=r"already holds report.html: choose another folder"):
        check_folder(tmp_path)
    (tmp_path / "run.nc").touch()
    with pytest.raises(ValueError, match=r"already holds run.nc: choose another folder"):
        check_folder(tmp_path)
    (tmp_path / "report.html").unlink()
    with pytest.raises(ValueError, match=r"run.nc, but no report: `probrev report .*run.nc` wri"):
        check_folder(tmp_path)


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(ValueError, match="file is a file; choose a folder"):
            check_folder(folder)


def test_a_folder_that_cannot_be_written_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(ValueError, match="no permission to write"):
        check_folder(tmp_path / "new")
