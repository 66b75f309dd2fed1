"""Words of the command line: names, types and places, refused before anything heavy is loaded."""

import subprocess
import sys


def test_bad_words_are_refused_in_a_line_and_load_nothing():
    done = subprocess.run(
        [sys.executable, "-m", "tests.bad_input.commands"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
