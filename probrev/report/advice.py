"""What to do next, by what came out."""

from probrev.comparison.verdict import Doubt, Word
from probrev.model.observations import Origin
from probrev.posterior.posterior import EXTERNAL, Posterior
from probrev.report.summary import Summary
from probrev.runs.provenance import is_of_command


def advise(summary: Summary) -> list[str]:
    """A line for each thing that is worth doing, in the terms of whoever made the run."""
    doubts = summary.result.doubts.items()
    steps = [_of_doubt(summary, doubt, summary.posteriors[name]) for name, doubt in doubts]
    steps = [*dict.fromkeys(steps), *_of_undecided(summary)]
    if "curve" in summary.result.tree:
        how = ": --set noise_std=…" if _is_command(summary) else ""
        steps.append(f"Ask at another noise{how}. R changes with it, see the figure.")
    return [*steps, *_checks(summary)]


def _of_doubt(summary: Summary, doubt: Doubt, posterior: Posterior) -> str:
    """What helps against it."""
    if doubt.word is Word.MISFIT:
        return (
            "Do not read R as an answer about these data: another model must first describe them. "
            "Of a net, judge another of its layers (--layer, or another of fit_net's levels), or "
            "give it more inputs; of a model of your own, change its prior or its layer."
        )
    # Commands draw until the posterior has converged, or until that would take too long.
    what = "Take another method (--posterior)"
    if not _is_command(summary):
        how = _MORE_DRAWS.get(posterior.method, "")
        what = f"Give the posterior more draws{how}, or take another method"
    return f"Do not read R yet. {what}, until nothing below speaks against it."


# How, by method.
_MORE_DRAWS = {
    "gibbs": " (until_converged=True, or a larger num_samples)",
    "hmc": " (a larger num_samples)",
    EXTERNAL: " where they come from",
}


def _of_undecided(summary: Summary) -> list[str]:
    """How many observations would decide what is planned and undecided."""
    if summary.result.doubts:
        return []
    wanted = {one.inverse: one.num_wanted for one in summary.own_verdicts
              if one.planned and one.word is Word.UNDECIDED and one.num_wanted}  # fmt: skip
    if wanted:
        most = max(wanted.values())
        how = "with other draws"
        if _is_command(summary):
            how = f"--num-obs {most} --seed {summary.provenance['seed'] + 1}"
        return [
            f"About {most:,} observations would decide {', '.join(wanted)}, in 4 of 5 runs: ask in "
            f"a run of its own, {how}, since an interval that is looked at until it decides is too "
            "short."
        ]
    if summary.of_net.word is Word.UNJUDGED:
        return [f"For a word on the net: {summary.of_net.reason}."]
    return []


def _checks(summary: Summary) -> list[str]:
    """How a reader who trusts nobody goes on."""
    verify, check = "pr.verify, of the file that .save wrote,", "pr.check_calibration"
    if _is_command(summary):
        model = summary.provenance.get("model", "MODEL")
        verify, check = "probrev verify run.nc", f"probrev check {model}"
    steps = [f"Check this page: {verify} computes its numbers again."]
    if summary.result.tree["data"].attrs["origin"] == Origin.MODEL:
        steps.append(f"Check the method: {check} says whether its posteriors are the model's.")
    return steps


def _is_command(summary: Summary) -> bool:
    return is_of_command(summary.provenance)
