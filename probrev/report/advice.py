"""What to do next, by what came out."""

from probrev.comparison.verdict import Word
from probrev.report.summary import Summary


def advise(summary: Summary) -> list[str]:
    """A line for each thing that is worth doing."""
    steps = [_OF_DOUBTS[doubt.word] for doubt in summary.result.doubts.values()]
    steps = [*dict.fromkeys(steps), *_of_undecided(summary)]
    if "curve" in summary.result.tree:
        steps.append(
            "Ask at another noise: R changes with it, see the figure; --set noise_std=… on the "
            "command line."
        )
    steps.append(
        "Check this page: probrev verify run.nc computes its numbers again, and probrev check "
        "whether the method's posteriors are the model's."
    )
    return steps


_OF_DOUBTS = {
    Word.INCONCLUSIVE: "Do not read R yet. Give the posterior more draws, or another method, until "
    "nothing below speaks against it.",
    Word.MISFIT: "Do not read R as an answer about these data: another model must first describe "
    "them. Of a net, judge another of its layers (--layer), or give it more inputs; of a model of "
    "your own, change its prior or its layer.",
}


def _of_undecided(summary: Summary) -> list[str]:
    """How many observations would decide what is planned and undecided."""
    if summary.result.doubts:
        return []
    wanted = {one.inverse: one.num_wanted for one in summary.own_verdicts
              if one.planned and one.word is Word.UNDECIDED and one.num_wanted}  # fmt: skip
    if wanted:
        most = max(wanted.values())
        return [f"About {most:,} observations would decide {', '.join(wanted)}: --num-obs {most}."]
    if summary.of_net.word is Word.UNJUDGED:
        return [f"For a word on the net: {summary.of_net.reason}."]
    return []
