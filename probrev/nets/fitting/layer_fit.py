"""A generative layer fitted to the real activations on both sides of a trained one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
import pandas as pd
from jax.typing import ArrayLike
from jaxtyping import Float

from probrev.model.activations import Activation, as_activation
from probrev.model.layer import Layer
from probrev.nets.fitting.checks import (
    Check,
    Residuals,
    check_layer,
    draw_residuals,
    tabulate_checks,
    tied_share,
    zero_share,
)
from probrev.nets.fitting.likelihood import LayerData, Parameters, differentiate, read_pairs
from probrev.nets.fitting.maximum import Held, StandardErrors, maximise, standard_errors
from probrev.nets.fitting.rivals import decoder_log_likelihood, null_log_likelihood
from probrev.nets.weights.controls import gaussian_control
from probrev.plumbing import door
from probrev.plumbing.arrays import check_real
from probrev.plumbing.readable import Table, cut, readable
from probrev.plumbing.refusal import Refusal, TypeRefusal

FEWEST_PAIRS = 16
# Columns of a summary that a notebook shows.
SHOWN = ("check", "value", "std_error", "wanted", "holds")
RIVALS = ("null", "gaussian", "shuffled", "decoder")


@readable
@dataclass(frozen=True)
class LayerFit:
    """How a fitted layer came out, and whether it fits pairs that it was not fitted to.

    Attributes:
        layer: the fitted layer.
        std_errors: standard errors of its parameters, which allow for rows that err together.
        log_likelihood: held-out log p(x | h) in nats, by observation: of the `model`, and of what
            it is held against. `null`: rows independent of h and each other, each with its own
            share of zeros and its own law; `gaussian`: the same fit with Gaussian weights of W's
            mean and standard deviation; `shuffled`: the same fit with the h of other observations;
            `decoder`: the same likelihood with weights of its own, ridged.
        zeros: share of zeros of held-out x, as the layer predicts it and as it is.
        residuals: of held-out x.
        relative_noise: noise_std over the root mean square of W h + bias.
        num_pairs: pairs that were fitted.
        checks: all that was looked at, gates first, in their order.
    """

    layer: Layer
    std_errors: StandardErrors
    log_likelihood: Mapping[str, Float[np.ndarray, " held_out"]]
    zeros: tuple[float, float]
    residuals: Residuals
    relative_noise: float
    num_pairs: int
    checks: tuple[Check, ...]

    @property
    def passes(self) -> bool:
        """Whether every gate holds."""
        return all(check.holds for check in self.checks)

    @property
    def tied_share(self) -> float:
        """How much of what a decoder with weights of its own says more than the null W^T says."""
        return tied_share(self.log_likelihood)

    def per_row(self, name: str) -> float:
        """Held-out nats per row and observation, of the model or what it is held against."""
        return float(self.log_likelihood[name].mean()) / self.layer.n_visible

    def summary(self) -> pd.DataFrame:
        """The checks as a table: check, value, std_error, wanted, holds, sentence."""
        return tabulate_checks(self.checks)

    @property
    def about(self) -> str:
        """What was fitted, and the fitted parameters with their standard errors."""
        layer, errors = self.layer, self.std_errors
        return (
            f"LayerFit of {layer.n_visible} x {layer.n_hidden}, {self.num_pairs} pairs: keep_prob "
            f"{float(layer.keep_prob):.4f} ± {errors.keep_prob:.1g}, noise_std "
            f"{float(layer.noise_std):.4g} ± {errors.noise_std:.1g}, gain {float(layer.gain):.4g} "
            f"± {errors.gain:.1g}"
        )

    @property
    def outcome(self) -> str:
        """Which gates do not hold, by name."""
        failed = [check.name for check in self.checks if not check.holds]
        return f"what does not hold: {', '.join(failed)}" if failed else "every check holds"

    def __repr__(self) -> str:
        return cut(f"{self.about}; {self.outcome}")

    def __str__(self) -> str:
        failed = [check.sentence for check in self.checks if not check.holds]
        return "\n".join([self.about, *(failed or ["Every check holds."])])

    def _table(self) -> Table:
        return Table(f"{self.about}; {self.outcome}", self.summary().loc[:, [*SHOWN]])


_FREE = door.optional(
    door.number("be positive and finite, or None to be fitted", lambda value: 0 < value < np.inf)
)


def _pair(name: str, value: Any) -> None:
    """Two arrays, x and h."""
    if not isinstance(value, tuple | list) or len(value) != 2:
        raise TypeRefusal(f"{name} must be a pair of arrays, (x, h); got {door.shown(value)}")
    for part, one, width in zip("xh", value, ("n_visible", "n_hidden"), strict=True):
        door.finite_array("num_obs", width)(f"{part} of {name}", one)


@door.guard(
    weights=door.finite_array("n_visible", "n_hidden"),
    x=door.finite_array("num_obs", "n_visible"),
    h=door.finite_array("num_obs", "n_hidden"),
    held_out=_pair,
    keep_prob=door.optional(
        door.number("lie in (0, 1], or be None to be fitted", lambda value: 0 < value <= 1)
    ),
    noise_std=_FREE,
    gain=_FREE,
    bias=door.flag,
    seed=door.seed,
)
def fit_layer(
    weights: Float[ArrayLike, "visible hidden"],
    x: Float[ArrayLike, "obs visible"],
    h: Float[ArrayLike, "obs hidden"],
    *,
    held_out: tuple[Float[ArrayLike, "held_out visible"], Float[ArrayLike, "held_out hidden"]],
    keep_prob: float | None = None,
    noise_std: float | None = None,
    gain: float | None = None,
    bias: bool = True,
    activation: str | Activation = "relu",
    seed: int = 0,
) -> tuple[Layer, LayerFit]:
    """Fits a generative layer with given weights to real pairs, by maximum likelihood.

    Whatever is not given is fitted: keep_prob, noise_std and gain of the whole layer, and a bias of
    each row. keep_prob says how often x is 0 that need not be: dropout while the net was trained
    leaves none in it. A row that never fires gets the bias at which it would half a time in one
    observation more.

    Args:
        weights: W, of h = r(W^T x + b).
        x: real activations below it.
        h: real activations above it, on the same observations.
        held_out: pairs (x, h) in no fit, which the checks are made on.
        keep_prob: probability that a visible unit survives dropout, where it is known.
        noise_std: noise on W h, where it is known.
        gain: what an activated unit is multiplied by, where it is known.
        bias: whether rows have a bias.
        activation: of the layer: z above 0 and a multiple of z below; "identity" for x that may be
            negative.
        seed: of the controls and of residuals on atoms.

    Returns:
        The layer, and how it came out.

    Raises:
        ValueError: fewer than 16 pairs, arrays that do not fit the weights, x that the activation
            cannot give, that is all 0 or that follows from h without noise, an activation of
            another form, or a keep_prob outside (0, 1] or a noise_std or gain not above 0.

    Source: Tobin 1958 and Olsen 1978 for rows that are censored.
    """
    activation = as_activation(activation)
    weights = _as_matrix("weights", weights)
    pairs = [
        _as_pair(name, weights, *pair) for name, pair in (("", (x, h)), ("held-out ", held_out))
    ]
    (x, h), (x_new, h_new) = pairs
    held = _as_held(keep_prob, noise_std, gain, bias)
    for name, one in (("x", x), ("held-out x", x_new)):
        if not one.any():
            raise Refusal(f"{name} is 0 throughout: no row fires, so there is nothing to fit")
    if not (h @ weights.T).any():
        raise Refusal("W h is 0 throughout: no unit fires, or the weights are 0")
    data, at, new = _fit(activation, held, weights, pairs)

    rng = np.random.default_rng(seed)
    orders = [rng.permutation(len(one)) for one in (h, h_new)]
    random = gaussian_control(jax.random.key(seed), weights)
    found = {
        "model": differentiate(new, at).log_likelihood,
        "null": null_log_likelihood(x, x_new),
        "gaussian": _refit(activation, held, random, pairs),
        "shuffled": _refit(
            activation, held, weights, [(x, h[orders[0]]), (x_new, h_new[orders[1]])]
        ),
        "decoder": decoder_log_likelihood(data, h, new, h_new, at, weights),
    }
    layer = at.as_layer(weights, activation)
    residuals = draw_residuals(rng, new, at)
    zeros = float(zero_share(new, at).mean()), float((x_new == 0).mean())
    errors = standard_errors(data, at, held)
    z = data.z + at.bias
    checks = check_layer(x_new, found, zeros, residuals, at, errors, held)
    fit = LayerFit(
        layer, errors, found, zeros, residuals, at.noise_std / float(np.sqrt(np.mean(z**2))),
        len(x), tuple(checks),
    )  # fmt: skip
    return layer, fit


def _fit(
    activation: Activation,
    held: Held,
    weights: np.ndarray,
    pairs: Sequence[tuple[np.ndarray, np.ndarray]],
) -> tuple[LayerData, Parameters, LayerData]:
    """Pairs as they are fitted, the fit, and held-out pairs as it sees them.

    Without dropout a 0 on no flat is a value like any other, and whether there is dropout only the
    fit tells.
    """
    data = read_pairs(activation, weights, *pairs[0], held.keep_prob)
    at = maximise(data, held)
    return data, at, read_pairs(activation, weights, *pairs[1], at.keep_prob)


def _refit(
    activation: Activation,
    held: Held,
    weights: np.ndarray,
    pairs: Sequence[tuple[np.ndarray, np.ndarray]],
) -> np.ndarray:
    """Held-out log likelihood of the same fit to something else."""
    _, at, new = _fit(activation, held, weights, pairs)
    return differentiate(new, at).log_likelihood


def _as_held(
    keep_prob: float | None, noise_std: float | None, gain: float | None, bias: bool
) -> Held:
    return Held(keep_prob, noise_std, gain, bias)


def _as_matrix(name: str, value: ArrayLike) -> np.ndarray:
    check_real(name, value)
    value = np.asarray(value, dtype=float)
    if value.ndim != 2 or not value.size:
        raise Refusal(f"{name} must be a matrix of finite numbers; got shape {value.shape}")
    if not np.isfinite(value).all():
        raise Refusal(f"{name} must be a matrix of finite numbers: it has NaN or infinity")
    return value


def _as_pair(
    which: str, weights: np.ndarray, x: ArrayLike, h: ArrayLike
) -> tuple[np.ndarray, np.ndarray]:
    x, h = _as_matrix(f"{which}x", x), _as_matrix(f"{which}h", h)
    if len(x) != len(h) or weights.shape != (x.shape[1], h.shape[1]):
        raise Refusal(
            f"weights must have shape (n_visible, n_hidden), {which}x (num_obs, n_visible) and "
            f"{which}h (num_obs, n_hidden); got {weights.shape}, {x.shape} and {h.shape}"
        )
    if len(x) < FEWEST_PAIRS:
        raise Refusal(f"{which}x: a fit needs at least {FEWEST_PAIRS} pairs; got {len(x)}")
    return x, h
