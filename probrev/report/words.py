"""What words on the page mean: inverses, posteriors and terms, linked where they first stand."""

import html
import re
from collections.abc import Mapping

from markupsafe import Markup

PAPER = (
    "Arora, Liang and Ma 2015, Why are deep nets reversible: a simple theory, with implications "
    "for training, arXiv:1511.05653"
)
INVERSES = {
    "theory": "A ReLU net of one pass, Wᵀx with the paper's bias, −√(2 log m) standard deviations "
    "of the readout, as expected under the prior before x is seen.",
    "universal": "The paper's net: a ReLU net of one pass, Wᵀx with the paper's bias, −√(2 log m) "
    "standard deviations of the readout, read off each x.",
    "calibrated": "A ReLU net of one pass with as many standard deviations of bias as minimise the "
    "risk, and a scale and offsets where the readout is not unbiased.",
    "trained": "A ReLU net whose weights and biases are trained on draws from the model.",
    "as_trained": "The net as it was given: its own weights and biases.",
    "scalar": "Wᵀx with the best activation, E[hᵢ | uᵢ], of each unit's readout alone.",
    "first_step": "One step of message passing: the scalar rung, hearing rows that are 0 too.",
    "two_steps": "Two iterations of message passing.",
    "three_steps": "Three iterations of message passing.",
    "converged": "Message passing, as many iterations as it takes: units independent given x.",
    "sigmoid": "One pass up of sigmoids with the machine's own weights and biases.",
    "bottom_up": "One pass up of sigmoids with twice the input from below, where a layer above is "
    "yet to speak.",
    "affine": "One pass up of sigmoids with slopes and offsets that minimise squared error.",
    "mean_field": "The fixed point of mean field: every unit given the means of all others.",
    "dropout": "The calibrated net with dropout at test time: a random inverse.",
    "stochastic": "The pass up whose units are drawn, not averaged: a random inverse.",
}
POSTERIORS = {
    "exact": "Every state of h enumerated, or integrals with proved bounds: exact to the error "
    "that is reported.",
    "gibbs": "Gibbs sampling: one unit, or several, drawn at a time given the others; several "
    "chains, judged by R-hat and ESS.",
    "message_passing": "An approximation: units independent given x, by generalised approximate "
    "message passing.",
    "hmc": "NumPyro's Hamiltonian Monte Carlo (NUTS) on the model's program.",
    "external": "Draws that another tool made.",
    "importance": "Samples of an inverse, weighed into draws of the posterior.",
}
TERMS = {
    "net": "A feedforward pass from x to h. “The net” is the one that the page is about, named at "
    "its head.",
    "inverse": "Any function that estimates h from x: a net, or a rung of the ladder.",
    "ladder": "Inverses from the paper's net to Bayes, each with one thing more than the last.",
    "rung": "One of the ladder's inverses.",
    "look": "A number of observations, fixed beforehand, at which verdicts are given; the next, "
    "with more, is taken while one is undecided.",
    "site": "What the prior's program draws or names beside h, under the name it has there: a "
    "rate, a group, the factor of correlated units.",
    "posterior": "p(h | x): what the model allows h to be once x is seen.",
    "posterior mean": "E[h | x]: of all functions of x the one of least expected squared error.",
    "Bayes risk": "The squared error of the posterior mean, which no inverse can beat on average.",
    "risk": "Squared error of an estimate of h, pooled over observations.",
    "R": "Risk of an inverse over Bayes risk; 1 is as good as Bayes.",
    "excess risk": "Squared distance to the posterior mean: what an inverse loses to Bayes.",
    "posterior variance": "Σᵢ Var[hᵢ | x]: the squared error that the posterior expects of its "
    "mean.",
    "as good as Bayes": "The interval of R ends below 1.1.",
    "near": "The interval of R ends below 1.5.",
    "far": "The interval of R begins above 1.5.",
    "undecided": "The interval of R is too wide for a word.",
    "unjudged": "Figures without a word: too few observations, or x that the model did not make.",
    "inconclusive": "A posterior cannot be trusted, so it may not judge.",
    "misfit": "The model does not fit x, or its prior does not fit h, so it may not judge.",
    "planned": "Fixed beforehand as what would be read: each verdict errs in 5 % of runs, so the "
    "best of many is luck in part.",
    "bootstrap-t": "Intervals from resampled observations, each resample in units of its own "
    "standard error.",
    "noise_std": "σ, the standard deviation of the noise in a layer before it is rectified.",
    "state evolution": "What theory predicts of message passing in large layers with iid weights.",
    "support": "Which units are active, hᵢ > 0.",
    "atom": "A probability of exactly 0, as of a spike and slab prior.",
    "inclusion probability": "P(hᵢ > 0 | x).",
    "posterior predictive": "x drawn anew from the model, given h drawn from the posterior.",
    "PIT": "Probability integral transform: the rank of the true hᵢ among the posterior's draws, "
    "uniform if the posterior is right.",
    "R-hat": "Spread between chains over spread within: above 1.01 they have not met.",
    "ESS": "Effective sample size: how many independent draws the draws of a chain are worth.",
    "rank test": "Whether the h that made x could be one more draw from the posterior.",
    "log evidence": "log p(x) under a model.",
    "Bayes factor": "Ratio of the evidence of two models.",
    "energy distance": "A distance of two laws, 0 only if they are one; between samples, never 0.",
    "sliced Wasserstein": "Mean distance of two laws projected onto random directions.",
    "kappa": "How far the net's h lie from the posterior mean, over how wide the posterior is.",
}
OWN = "Given by whoever made this run."


class Linker:
    """Links each known word to the glossary, where it first stands on a page.

    Args:
        names: of inverses, posteriors and columns, and their meaning, beside the terms.

    Attributes:
        meanings: of every word that can be linked.
        linked: words that are.
    """

    def __init__(self, names: Mapping[str, str]):
        self.meanings = {**TERMS, **names}
        longest = sorted(self.meanings, key=len, reverse=True)
        words = "|".join(re.escape(word) for word in longest)
        self._words = re.compile(rf"(?<![\w-])({words})(?![\w-])")
        self.linked: list[str] = []

    def __call__(self, text: str) -> Markup:
        """A text as markup, its words linked that were not before."""
        pieces = self._words.split(text)
        return Markup("").join(
            self._link(piece) if number % 2 else Markup.escape(piece)
            for number, piece in enumerate(pieces)
        )

    def _link(self, word: str) -> Markup:
        if word in self.linked:
            return Markup.escape(word)
        self.linked.append(word)
        title = html.escape(self.meanings[word])
        return Markup(f'<a class="word" href="#{anchor(word)}" title="{title}">{word}</a>')

    @property
    def glossary(self) -> list[tuple[str, str, str]]:
        """Anchor, word and meaning of what is linked."""
        words = sorted(self.linked, key=str.lower)
        return [(anchor(word), word, self.meanings[word]) for word in words]


def anchor(word: str) -> str:
    """The place of a word in the glossary."""
    return "word-" + re.sub(r"\W+", "-", word)
