"""Lines on how far work is, where there is no terminal."""

import io
from contextlib import redirect_stderr

import pytest

from probrev.cli.display import stages
from probrev.cli.pace import Pace, in_words


def test_it_speaks_now_and_then_and_says_what_it_measured():
    lines, at = [], [0.0]
    pace = Pace("gibbs", lines.append, lambda: at[0])
    times, counts = (4, 6, 12, 13, 23, 44, 45), (100, 102, 104, 105, 115, 136, 200)
    for seconds, done in zip(times, counts, strict=True):
        at[0] = seconds
        pace(done, 200)
    quick = Pace("quick", lines.append, lambda: at[0])
    for seconds, done in ((61, 50), (62, 148)):  # due, but nothing is known but the first stretch
        at[0] = seconds
        quick(done, 1500)
    # What was there at the first report took another time, and what came next was compiled.
    assert lines == [
        "gibbs: 104 of 200, about 5 min left",
        "gibbs: 115 of 200, about 2 min left",
        "gibbs: 136 of 200, about 72 s left",
    ]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "1 s"), (41.4, "41 s"), (100, "2 min"), (3600, "60 min"), (9000, "2.5 h")],
)
def test_times_in_words(seconds, words):
    assert in_words(seconds) == words


@pytest.mark.parametrize("quiet", [False, True])
def test_lines_stand_for_bars_where_there_is_no_terminal(quiet, monkeypatch):
    monkeypatch.setattr("probrev.cli.pace.FIRST_SECONDS", 0.0)
    with redirect_stderr(io.StringIO()) as err, stages(quiet) as stage:
        stage.say("4 batches")
        report = stage("grid: batches")
        report(0, 4)
        report(1, 4)
    said = ["4 batches", "grid: batches: 1 of 4, at most about 1 s left"]
    assert err.getvalue().splitlines() == ([] if quiet else said)
