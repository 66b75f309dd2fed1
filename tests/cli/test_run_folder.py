"""The folder of a run: whose it is, what it goes on from, and where a run goes that has no room."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import probrev as pr
from probrev.cli import compare, run_folder
from probrev.cli.output import RUN
from probrev.cli.run_folder import PROGRESS, alone, claim, write_run
from tests.cli.conftest import SMALL

COMMAND = {"command": "probrev compare mine", "model_source": "text"}


def leave_checkpoint(folder, command=COMMAND):
    """A run that was interrupted after its first checkpoint."""

    def run():
        with claim(folder, command) as claimed:
            (claimed.checkpoints / "gibbs-0.npz").write_text("draws")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt, match=f"the same command with --out {folder} goes on"):
        run()


def test_a_run_that_ends_well_leaves_nothing_of_its_way(tmp_path):
    with claim(tmp_path / "a" / "b", COMMAND) as claimed:
        assert claimed.num_resumed == 0
        (claimed.checkpoints / "gibbs-0.npz").write_text("draws")
        (tmp_path / "a" / "b" / RUN).write_text("run")
    assert os.listdir(tmp_path / "a" / "b") == [RUN]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_a_run_that_has_no_checkpoint_leaves_no_folder(tmp_path, error):
    with pytest.raises(error), claim(tmp_path / "a" / "b", COMMAND):
        raise error
    assert os.listdir(tmp_path) == []


def test_the_same_command_goes_on_and_another_is_refused(tmp_path):
    folder = tmp_path / "o"
    leave_checkpoint(folder)
    leave_checkpoint(folder)
    for changed in ({"command": "probrev compare other"}, {"model_source": "edited"}):
        with (
            pytest.raises(ValueError, match="holds checkpoints of another command, probrev compar"),
            claim(folder, COMMAND | changed),
        ):
            pytest.fail("it was given")
    with claim(folder, COMMAND) as claimed:
        assert claimed.num_resumed == 2
        assert (claimed.checkpoints / "gibbs-0.npz").read_text() == "draws"


def test_a_record_that_is_none_is_refused(tmp_path):
    leave_checkpoint(tmp_path)
    (tmp_path / PROGRESS / "command.json").write_text("[]")
    with (
        pytest.raises(ValueError, match=r"is not the record of a run.*: delete"),
        claim(tmp_path, COMMAND),
    ):
        pytest.fail("it was given")


OTHER = """
import sys
from pathlib import Path
from probrev.cli.run_folder import claim
try:
    with claim(Path(sys.argv[1]), {"command": "mine"}):
        print("given")
except ValueError as error:
    print(error)
"""


def test_two_runs_at_once_are_one(tmp_path):
    ask = [sys.executable, "-c", OTHER, tmp_path]
    with claim(tmp_path, COMMAND):
        other = subprocess.run(ask, capture_output=True, text=True, check=True)
        assert "another process is computing a run there: wait for it" in other.stdout
    other = subprocess.run(ask, capture_output=True, text=True, check=True)
    assert other.stdout == "given\n"


def no_room(path):
    raise OSError(28, "No space left on device", str(path))


def test_a_run_that_has_no_room_is_saved_elsewhere(tmp_path, monkeypatch):
    monkeypatch.setattr(run_folder.tempfile, "tempdir", str(tmp_path))

    def save(path):
        if path.parent.name == "o":
            no_room(path)
        path.write_text("run")

    with pytest.raises(
        ValueError,
        match=r"cannot write there: No space left on device; the run wa"
        r"s saved as .*probrev-.*run.nc, and `probrev report` makes",
    ) as refused:
        write_run(tmp_path / "o", RUN, "report.html", save, no_room)  # fmt: skip
    (saved,) = tmp_path.glob("probrev-*/run.nc")
    assert str(saved) in str(refused.value)
    with pytest.raises(ValueError, match="nor could the run be saved in"):
        write_run(tmp_path / "o", RUN, "report.html", no_room, no_room)
    with pytest.raises(ValueError, match="the run is saved: make room, then `probrev report "):
        write_run(tmp_path / "p", RUN, "report.html", Path.touch, no_room)


@pytest.mark.slow
def test_an_interrupted_comparison_goes_on_bit_for_bit(probrev, tmp_path, monkeypatch):
    words = ("compare", "one_layer", *SMALL, "--posterior", "gibbs", "--inverse", "universal")
    write, once = compare.write, []

    def interrupted(result, *_):
        once.append(result)
        raise KeyboardInterrupt

    monkeypatch.setattr(compare, "write", interrupted)
    done = probrev(*words, "--out", "o")
    assert done.status == 130
    assert "the same command with --out o goes on from its checkpoints" in done.err
    monkeypatch.setattr(compare, "write", write)
    other = probrev(*words, "--seed", "1", "--out", "o")
    assert other.status == 2
    assert "--out o: it holds checkpoints of another command, probrev compare one_l" in other.err
    assert probrev(*words, "--out", "o").status == 0
    again = pr.load(tmp_path / "o" / RUN)
    assert once[0].posteriors["gibbs"].draws.equals(again.posteriors["gibbs"].draws)
    assert "resumed" not in once[0].tree.attrs
    assert json.loads(again.tree.attrs["resumed"]).startswith("interrupted once, and gone on with")
    assert "interrupted once, and gone on with" in (tmp_path / "o" / "report.html").read_text()
    assert sorted(os.listdir(tmp_path / "o")) == ["report.html", RUN]
    (tmp_path / "o" / "report.html").unlink()
    told = probrev(*words, "--out", "o")
    assert told.status == 2
    assert "but no report: `probrev report o/run.nc` writes it" in told.err


@pytest.mark.parametrize("words", [("compare",), ("check",)])
def test_a_second_command_in_a_folder_is_refused(words, probrev, tmp_path):
    with alone(tmp_path / "o"):
        done = probrev(*words, "one_layer", "--out", "o")
    assert done.status == 2
    assert done.err.startswith("probrev: --out o: another process is computing a run there")
    assert os.listdir(tmp_path) == []
