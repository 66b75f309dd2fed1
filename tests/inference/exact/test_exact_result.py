"""When an exact posterior may be called "ok"."""

import numpy as np

from probrev.inference.exact.exact_result import ExactResult, judge


def result(unvisited, error):
    nothing = np.zeros((len(error), 0))
    fields = dict.fromkeys(ExactResult._fields, nothing)
    fields |= {"unvisited_mass": np.array(unvisited), "integration_error": np.array(error)}
    return ExactResult(**fields)


def test_targets_met():
    assert judge(result([5e-4, 0.0], [1e-4, 0.0]), "all done") == ("ok", "all done")


def test_targets_missed_are_told_with_their_figures():
    status, reason = judge(result([0.0, 0.03, 6e-4], [0.0, 2.5e-4, 0.0]), "all done")
    assert status == "inaccurate"
    assert reason == (
        "all done; unvisited_mass is up to 0.03 (target 0.0005), above it in 2 of 3 observations; "
        "integration_error is up to 0.00025 (target 0.0001), above it in 1 of 3 observations"
    )


def test_what_is_not_a_number_meets_no_target():
    status, reason = judge(result([0.0], [np.nan]), "all done")
    assert status == "inaccurate"
    assert "up to nan" in reason
