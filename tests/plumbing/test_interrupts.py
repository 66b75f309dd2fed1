"""Ctrl-C, and a stdout that takes no more, end a command in a word."""

import os
import signal
import subprocess
import sys
import time

import pytest

from probrev.plumbing import interrupts
from probrev.plumbing.interrupts import insisting

MAIN = [sys.executable, "-m", "probrev"]


def test_an_interrupt_that_is_dropped_is_raised_again(monkeypatch):
    monkeypatch.setattr(interrupts, "SECONDS_TO_INSIST", 0.05)
    handler = signal.getsignal(signal.SIGINT)
    with insisting() as asked:
        assert not asked.is_set()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)  # and dropped, as a library would
        with pytest.raises(KeyboardInterrupt):
            time.sleep(10)
        assert asked.is_set()
    assert signal.getsignal(signal.SIGINT) is handler
    time.sleep(0.1)  # nothing comes after the block


DROPPING = """
import sys, time
from probrev import cli
from probrev.plumbing import interrupts
interrupts.SECONDS_TO_INSIST = 0.1

def dropping():
    try:
        print("begun", flush=True)
        time.sleep(30)
    except KeyboardInterrupt:
        print("dropped", flush=True)
    time.sleep(SECONDS)
    return 0

cli.main = dropping
from probrev.__main__ import start
sys.exit(start())
"""


@pytest.mark.parametrize(("seconds", "said"), [("30", "no file was left"), ("0", "work was done")])
def test_a_command_whose_interrupt_is_dropped_ends_all_the_same(seconds, said):
    script = DROPPING.replace("SECONDS)", f"{seconds})")
    run = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert run.stdout is not None
    assert run.stdout.readline() == "begun\n"
    run.send_signal(signal.SIGINT)
    out, err = run.communicate(timeout=120)
    assert (run.returncode, out) == (130, "dropped\n")
    assert err.startswith("probrev: interrupted")
    assert said in err
    assert len(err.splitlines()) == 1


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
@pytest.mark.parametrize("words", [["models"], ["--version"]])
def test_a_full_stdout_is_one_line(words):
    with open("/dev/full", "w") as full:
        done = subprocess.run([*MAIN, *words], stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 2
    assert done.stderr == "probrev: cannot write to stdout: No space left on device\n"


@pytest.mark.parametrize("words", [["models"], ["--version"]])
def test_a_reader_that_goes_away_is_no_error(words):
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([*MAIN, *words], stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")
