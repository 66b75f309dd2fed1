"""Files of weights, a row a file in `weight_files`; what is no file; and the memory of reading."""

import os
import socket
import subprocess
import sys

import numpy as np
import pytest

import probrev as pr
from tests.bad_input import weight_files
from tests.bad_input.rows import report


def test_bad_files_of_weights_are_refused_in_a_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    answers = list(weight_files.answers(tmp_path, weight_files.files()))
    assert not report(answers), f"\n{report(answers)}"
    assert [path.name for path in tmp_path.iterdir()] == ["file.bin"]  # nothing of them ran


def test_what_is_no_regular_file_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(tmp_path / "socket"))
    for place in (tmp_path / "pipe", tmp_path / "socket", "/dev/zero", "/dev/tty"):
        with pytest.raises(pr.Refusal, match="got a pipe, a socket or a device"):
            pr.read_layers(place)
    for place in ("/proc/kmsg", "/proc/self/mem", "/proc/self/environ"):
        if os.path.exists(place):
            with pytest.raises(pr.Refusal, match="it is empty"):
                pr.read_layers(place)


def test_a_file_that_may_not_be_read_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "net.npy"
    np.save(path, np.ones((2, 2)))

    def forbidden(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.open", forbidden)
    with pytest.raises(pr.Refusal, match=r"net\.npy: cannot be read .* Permission denied"):
        pr.read_layers(path)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc for the memory")
def test_reading_takes_less_than_four_times_the_size_of_the_file():
    done = subprocess.run(
        [sys.executable, "-m", "tests.bad_input.memory"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
