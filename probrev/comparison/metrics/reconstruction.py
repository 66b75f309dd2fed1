"""How well x comes back: up through an inverse, and down again."""

from collections.abc import Callable

import jax
import numpy as np
import xarray as xr
from jaxtyping import Array, Float

from probrev.comparison.metrics.case import POSTERIOR, Case, Measured, row_of_ratio
from probrev.comparison.metrics.family import MetricFamily
from probrev.comparison.metrics.likelihood import thin_pooled
from probrev.model.protocol import Model, has_answer


def reconstruction(case: Case) -> Measured:
    """Errors of x -> h -> x~, x~ = E[x | h] at the estimate; those of h -> x -> h~ are the risk.

    `reconstruction_error` is sum ||x~ - x||^2 / sum ||x||^2. It is no loss to minimise, since x
    itself would be best, noise and all. Where there is a truth, `reconstruction_risk` is
    sum ||x~ - E[x | h]||^2 / sum ||E[x | h]||^2, h the true one: how well the noiseless x is
    recovered. Of the posterior, x~ is the mean of E[x | h] over h drawn from it, which of all
    functions of x has the least `reconstruction_risk`: its Bayes limit. That is over 400 draws,
    fewer of more than 163 observations (`thin_pooled`); their Monte Carlo error, as of independent
    draws, is taken off.

    Empty where the model has no `visible_mean`.
    """
    estimates = case.estimates.transpose("inverse", "obs", "hidden")
    visible_mean = find_visible_mean(case.model, estimates[0].to_numpy())
    if visible_mean is None:
        return Measured()
    x = case.x.to_numpy()
    own = np.asarray(visible_mean(case.model, estimates.to_numpy()))
    drawn = np.asarray(visible_mean(case.model, thin_pooled(case.draws).to_numpy()))
    noise = np.zeros(len(x))
    if len(drawn) > 1:
        noise = drawn.var(0, ddof=1).sum(-1) / len(drawn)
    recovered = dict(zip(estimates["inverse"].to_numpy(), own, strict=True))
    recovered[POSTERIOR] = drawn.mean(0)
    taken_off = {name: noise * (name == POSTERIOR) for name in recovered}
    targets = {"reconstruction_error": x}
    if case.truth is not None:
        truth = case.truth.transpose("obs", "hidden").to_numpy()
        targets["reconstruction_risk"] = np.asarray(visible_mean(case.model, truth))
    arrays, rows = {}, []
    for metric, target in targets.items():
        energy = (target**2).sum(-1)
        errors = {
            name: ((found - target) ** 2).sum(-1) - taken_off[name]
            for name, found in recovered.items()
        }
        coords = {"recovered": list(recovered), "obs": estimates["obs"]}
        arrays[metric] = xr.DataArray(np.stack(list(errors.values())), coords)
        if energy.sum() > 0:
            rows += [
                row_of_ratio(metric, name, error, energy, case.seed)
                for name, error in errors.items()
            ]
    return Measured(arrays, rows)


RECONSTRUCTION = MetricFamily(
    reconstruction,
    {
        "reconstruction_error": "Σ‖x̃ − x‖² / Σ‖x‖², x̃ = E[x | ĥ]: x → ĥ → x̃. Not to be "
        "minimised: x itself would be best, noise and all. Of “posterior”: x̃ = E[x | h], mean "
        "over its draws.",
        "reconstruction_risk": "The same against E[x | h] at the true h, the noiseless x, of which "
        "“posterior” is the Bayes limit.",
    },
)


def find_visible_mean(model: Model, h: np.ndarray) -> Callable[..., Array] | None:
    """E[x | h] of a model as a compiled function, or None where it has none in closed form."""
    return _visible_means if has_answer(model, "visible_mean", h) else None


@jax.jit
def _visible_means(model, h: Float[Array, "draw obs hidden"]) -> Float[Array, "draw obs visible"]:
    """E[x | h], draw by draw, so that memory stays that of one."""
    return jax.lax.map(model.visible_mean, h)
