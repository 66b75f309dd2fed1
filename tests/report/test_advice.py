"""What the page says to do next, in the terms of whoever made the run."""

import json
from dataclasses import replace

import pytest

from probrev.model.observations import Origin
from probrev.report.advice import advise
from probrev.report.page import title
from probrev.report.summary import Summary
from tests import small_runs


def copy_of_one():
    run = small_runs.of_one()
    return replace(run, tree=run.tree.copy(deep=True))


def run_of_a_command(run):
    tree = run.tree.copy(deep=True)
    tree.attrs |= {"command": json.dumps("probrev compare mine.py"), "seed": json.dumps(3)}
    return replace(run, tree=tree)


def steps_of(run):
    return advise(Summary(run))


def test_a_command_s_run_is_told_of_commands():
    told = " ".join(steps_of(small_runs.full()))
    assert "probrev verify run.nc" in told
    assert f"probrev check {small_runs.HOSTILE} says" in told
    assert "--set noise_std" in told
    assert "pr." not in told


def test_a_run_from_python_is_told_of_functions():
    told = " ".join(steps_of(small_runs.of_two_in_six()))
    assert "pr.verify" in told
    assert "pr.check_calibration" in told
    assert "hmc covers 2 observations" in told
    assert "probrev " not in told
    assert "--" not in told


def test_what_is_undecided_is_asked_in_a_run_of_its_own():
    run = small_runs.full()
    tree = run.tree.copy(deep=True)
    verdicts = tree["verdicts"].to_dataset()
    verdicts["word"] = verdicts["word"].astype(object).where(False, "undecided")
    verdicts["num_wanted"] = verdicts["num_wanted"].where(False, 2000)
    tree["verdicts"] = verdicts.assign(planned=verdicts["planned"] | True)
    run = replace(run, tree=tree)
    (told,) = [step for step in steps_of(run) if "would decide" in step]
    assert "--num-obs 2000 --seed 8" in told  # that of the run is 7
    # What somebody else calls a command has no seed that a next one could be of.
    tree.attrs |= {"command": json.dumps("python mine.py"), "seed": json.dumps("mine")}
    (told,) = [step for step in steps_of(replace(run, tree=tree)) if "would decide" in step]
    assert "with other draws" in told


def test_a_posterior_that_cannot_be_trusted_gets_more_draws():
    first, *others = steps_of(small_runs.without_truth())
    assert first.startswith("Do not read R yet")
    assert "until_converged=True, or a larger num_samples" in first
    command = run_of_a_command(small_runs.without_truth())
    assert steps_of(command)[0].startswith("Do not read R yet. Take another method (--posterior)")
    # Nobody knows by which h these x were made, so that no calibration would be theirs.
    assert not any("calibration" in step for step in others)


@pytest.mark.parametrize(("origin", "is_told"), [(Origin.MODEL, True), (Origin.LAYERS, False)])
def test_calibration_is_of_a_model_that_can_be_simulated(origin, is_told):
    run = copy_of_one()
    run.tree["data"].attrs["origin"] = str(origin)
    assert any("check_calibration" in step for step in steps_of(run)) == is_told


def test_a_page_is_called_what_its_run_is_called():
    run = copy_of_one()
    assert title(Summary(run)) == "a model made in Python"
    run.tree.attrs["fitted"] = json.dumps({"layer": "layer 2"})
    assert title(Summary(run)) == "layer 2 of a net"
    run.tree.attrs["model"] = json.dumps("digits")
    assert title(Summary(run)) == "digits"
