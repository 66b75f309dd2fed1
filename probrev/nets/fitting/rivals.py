"""What a fitted layer's likelihood is held against: no h, weights of no use, weights of its own."""

from dataclasses import replace

import numpy as np
from jaxtyping import Float
from scipy.linalg import cho_factor, cho_solve
from scipy.special import log_ndtr, logit

from probrev.nets.fitting.likelihood import LayerData, Parameters, Slopes, differentiate
from probrev.nets.fitting.priors import fit_truncated_normal

# Ridges of a decoder, in units of the squared inverse of (weights over noise), h at unit mean
# square; the likeliest on a fifth of the observations is taken.
RIDGES = (1000.0, 300.0, 100.0, 30.0, 10.0, 3.0)
VALIDATION, FEW_ROWS = 5, 48
# A step is the last where it gains no more than so many nats a row and observation.
MOST_STEPS, TOLERANCE = 200, 1e-5


def null_log_likelihood(
    x: Float[np.ndarray, "obs visible"], held_out: Float[np.ndarray, "held_out visible"]
) -> Float[np.ndarray, " held_out"]:
    """Log p of rows that are independent of h and each other, each with its own law.

    A share of zeros, (number of zeros + 1/2) / (N + 1), and for what is not 0 the likeliest normal,
    on x > 0 alone where no x is negative; each row is fitted to one more of average size. Where x
    has no 0 there is no such share, and a 0 is a value like any other.
    """
    off = x == 0
    count = (~off).sum(0)
    share = (off.sum(0) + 0.5) / (len(x) + 1)
    mean = (x.sum(0) + x[~off].mean()) / (count + 1)
    square = ((x**2).sum(0) + (x[~off] ** 2).mean()) / (count + 1)
    if (x >= 0).all():
        loc, scale = fit_truncated_normal(mean, square)
        log_mass = log_ndtr(loc / scale)
    else:
        loc, scale, log_mass = mean, np.sqrt(square - mean**2), 0.0
    log_density = (
        -0.5 * ((held_out - loc) / scale) ** 2 - np.log(scale * np.sqrt(2 * np.pi)) - log_mass
    )
    if off.any():
        log_density = np.where(held_out == 0, np.log(share), np.log1p(-share) + log_density)
    return log_density.sum(1)


def decoder_log_likelihood(
    data: LayerData,
    h: Float[np.ndarray, "obs hidden"],
    held_out: LayerData,
    held_out_h: Float[np.ndarray, "held_out hidden"],
    start: Parameters,
    weights: Float[np.ndarray, "visible hidden"],
) -> Float[np.ndarray, " held_out"]:
    """Log p(x | h) under the same likelihood with its own keep_prob, noise, bias and weights.

    The weights have a ridge, whose strength is chosen on observations of the fit.

    Args:
        data: pairs that it is fitted to.
        h: of these.
        held_out: pairs that it is judged by.
        held_out_h: of these.
        start: the fitted layer's parameters.
        weights: the fitted layer's weights.
    """
    scale = np.sqrt(np.mean(h**2))
    h, held_out_h = h / scale, held_out_h / scale
    begin = _Decoder(scale * np.exp(start.log_t) * weights, start)
    ridge = _choose_ridge(data, h, begin)
    return begin.fit(data, h, ridge).slopes(held_out, held_out_h).log_likelihood


def _choose_ridge(data: LayerData, h: np.ndarray, begin: "_Decoder") -> float:
    """The ridge that does best on observations of the fit, by some of the rows."""
    rows = np.random.default_rng(0).permutation(len(begin.weights))[:FEW_ROWS]
    data, decoder = data.rows(rows), begin.rows(rows)
    is_validation = np.arange(len(h)) % VALIDATION == 0
    train, rest = data.draw(~is_validation), data.draw(is_validation)
    best, chosen = -np.inf, RIDGES[0]
    for ridge in RIDGES:
        decoder = decoder.fit(train, h[~is_validation], ridge)
        found = decoder.slopes(rest, h[is_validation]).log_likelihood.sum()
        if found < best:
            break
        best, chosen = found, ridge
    return chosen


class _Decoder:
    """Weights over noise, with the other parameters, of which log_t is 0."""

    def __init__(self, weights: np.ndarray, at: Parameters):
        self.weights, self.at = weights, at._replace(log_t=0.0)

    def rows(self, chosen: np.ndarray) -> "_Decoder":
        """Some of the rows."""
        return _Decoder(self.weights[chosen], self.at._replace(b=self.at.b[chosen]))

    def slopes(self, data: LayerData, h: np.ndarray) -> Slopes:
        """Log likelihood and derivatives."""
        return differentiate(replace(data, z=h @ self.weights.T), self.at)

    def fit(self, data: LayerData, h: np.ndarray, ridge: float) -> "_Decoder":
        """The likeliest one with a ridge, from here, by expectation maximisation.

        What a row that is not seen was before its activation is expected to be off W h + bias by
        the likelihood's derivative, so that weights and bias come by a regression on the h.
        """
        design = np.column_stack([h, np.ones(len(h))])
        penalty = np.append(np.full(h.shape[1], ridge), 1e-8)
        factor = cho_factor(design.T @ design + np.diag(penalty))
        decoder, best = self, -np.inf
        for _ in range(MOST_STEPS):
            found = decoder.slopes(data, h)
            total = found.log_likelihood.sum() - 0.5 * ridge * (decoder.weights**2).sum()
            if total - best < TOLERANCE * data.z.size:
                break
            best = total
            step = design.T @ found.own
            step[:-1] -= ridge * decoder.weights.T
            step = cho_solve(factor, step)
            at = decoder.at._replace(b=decoder.at.b + step[-1])
            decoder = _Decoder(decoder.weights + step[:-1].T, at)
            decoder.at = decoder._scale(data, h, found)
        return decoder

    def _scale(self, data: LayerData, h: np.ndarray, found: Slopes) -> Parameters:
        """The likeliest log_s given the weights, and keep_prob by what was expected to be kept."""
        v = h @ self.weights.T + self.at.b
        square, product = ((data.seen * data.values * one).sum() for one in (data.values, v))
        s = (product + np.sqrt(product**2 + 4 * square * data.seen.sum())) / (2 * square)
        # d log p / d logit_keep of a row is the probability that it was kept, less keep_prob.
        keep = min(self.at.keep_prob + found.shared[:, 2].sum() / data.z.size, 1.0)
        with np.errstate(divide="ignore"):
            return self.at._replace(log_s=float(np.log(s)), logit_keep=float(logit(keep)))
