"""Gibbs sampling of p(h | x), any size and depth: one pure step for all chains together."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple, override

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray
from numpyro.infer.mcmc import MCMCKernel

# They register the sweeps of their models.
import probrev.inference.gibbs.block_sweep
import probrev.inference.gibbs.layered_sweep  # noqa: F401
from probrev.inference.gibbs.auxiliary_step import draw_auxiliary
from probrev.inference.gibbs.chain import run_chain
from probrev.inference.gibbs.sweep import State, Sweep, sweep_of
from probrev.model import door as model_door
from probrev.model.observations import Observations
from probrev.model.protocol import Model, check_obs, check_pytree
from probrev.model.sites import prior_program, site_dims
from probrev.plumbing import door
from probrev.plumbing.progress import Progress
from probrev.plumbing.readable import Table, cut, readable, summarize
from probrev.plumbing.refusal import Refusal
from probrev.plumbing.timing import Timing, stopwatch
from probrev.posterior.posterior import Moments, Posterior, from_draws
from probrev.posterior.shortfall import missing_draws

# Draws of each chain: by default; at first and at most where they go on until they have converged,
# and then bytes of the draws of all observations together, at 8 a number.
NUM_SAMPLES, FIRST_SAMPLES, MOST_SAMPLES, MOST_BYTES = 2000, 1000, 32_000, 2**30
# Fixed, so that draws do not depend on the machine: two keep most cores busy (see `run_chain`).
NUM_GROUPS = 2


@door.guard(
    key=door.random_key,
    model=model_door.model,
    obs=model_door.observations,
    num_warmup=door.count(0),
    num_samples=door.optional(door.count()),
    max_samples=door.optional(door.count()),
    until_converged=door.flag,
    num_chains=door.count(),
    keep_layers=door.flag,
    start=door.one_of("prior", "truth"),
    checkpoint=door.optional(door.checkpoint_path),
    progress=door.optional(door.function),
)
def gibbs(
    key: PRNGKeyArray,
    model: Model,
    obs: Observations,
    *,
    num_warmup: int = 500,
    num_samples: int | None = None,
    max_samples: int | None = None,
    until_converged: bool = False,
    num_chains: int = 4,
    keep_layers: bool = False,
    start: Literal["prior", "truth"] = "prior",
    checkpoint: str | Path | None = None,
    progress: Progress | None = None,
) -> Posterior:
    """Draws from p(h | x) by Gibbs sampling.

    Of a LayeredModel with dropout and rectified values made explicit: a sweep goes up the layers.
    In each it draws which silent rows were kept and their negative pre-activations; then each
    unit's spike and value jointly, given all others and the layer above; at the top it now and then
    moves an active unit elsewhere. After warm-up every other sweep, at random, has a quadratic
    stand for silent rows instead, and is accepted or rejected as a whole: that holds on to less
    (see `surrogate`). Chains start from draws of the model.

    A single layer of 4096 weights or more, under a `SpikeAndSlab` or `KSparse` whose slab has a
    closed form, has sweeps of another kind with the same law, whose cost follows what changes and
    not what there is (see `held_sweep`): up to 99 of 100 have the quadratic, fewer the less it was
    seen to fit in warm-up. Not where their Gram matrices, num_obs n_hidden^2 numbers, would take
    more than 128 MiB, nor of more than 4000 rows, or units times values of a finite slab.

    A prior whose units are spikes and slabs given something, a rate, a factor, the state of a
    group, has that renewed after every sweep, given h; a discrete variable jointly with the units
    that it decides over. It is kept, as a variable of the posterior.

    Of a Boltzmann machine by blocks: the odd layers together, then the even ones; of a deep one
    every 20th such sweep is one of the sweeps counted here. Chains start from fair coins.

    Of another model by its own sweep, see `Sweep`.

    Args:
        key: random key.
        model: a Boltzmann machine; or ReLU layers (the one next to x may be an identity), all with
            noise_std > 0, under a prior with a spike and a slab, by itself or given what is drawn
            before it (see `ConditionalPrior`); or a model with a method `gibbs_sweep`.
        obs: observations; all of them, and all chains, advance in one compiled call.
        num_warmup: sweeps per chain that are thrown away.
        num_samples: sweeps per chain that are kept; by default 2000, or 1000 to begin with
            `until_converged`.
        max_samples: how many may be kept where the posterior is not "ok" after `num_samples`: then
            chains go on by as much as their R-hat and ESS say is missing (see `missing_draws`),
            again and again. The draws alone decide it, never the clock; a posterior that is not
            "ok" even then says so in its status.
        until_converged: as the command line does it: `max_samples` is 32,000 where it is not given,
            or fewer where all draws would take more than 1 GiB.
        num_chains: independent chains per observation.
        keep_layers: keep the draws of intermediate layers too, as `h_1` (next to x), ...; their
            moments are kept in any case.
        start: where chains start: as the sweep does, blind to what made x; or at the h that made
            it, which is no way to a posterior, but shows one that blind chains do not find. What
            the prior drew before h is taken from `obs.sites`, or drawn given h.
        checkpoint: file to save the chains in as they run, and to go on from where it holds them:
            an interrupted run resumes, a finished one is extended, bit for bit.
        progress: where to report progress, in sweeps.

    Raises:
        ValueError: the model is not one that Gibbs can sample, x does not fit it, or the
            checkpoint belongs to another run.

    Source: data augmentation after Albert and Chib 1993; the spike and its value are drawn jointly
    as in George and McCulloch 1997.
    """
    sweep = sweep_of(model)
    check_pytree(model)
    check_obs(model, obs)
    if num_samples is None:
        num_samples = FIRST_SAMPLES if until_converged else NUM_SAMPLES
    at_most = num_samples if max_samples is None else max_samples
    if until_converged and max_samples is None:
        room = MOST_BYTES // (8 * num_chains * obs.num_obs * model.n_hidden)
        at_most = max(num_samples, min(room, MOST_SAMPLES))
    first_samples = num_samples
    if at_most < num_samples:
        raise Refusal(f"max_samples must be at least num_samples = {num_samples}; got {at_most}")
    settings: dict[str, Any] = {
        "num_warmup": num_warmup,
        "num_samples": num_samples,
        "num_chains": num_chains,
    }
    if start != "prior":
        settings["start"] = start
    timing, chain = Timing(), None
    with stopwatch(timing):
        states = init_groups(key, sweep, model, obs.x, num_chains, num_warmup)
        if start != "prior":
            states = [_at_truth(state, model, obs, start) for state in states]
        laid_out = sweep.lay_out(model)
    while True:
        with stopwatch(timing):
            chain = run_chain(
                sweep.step, states, (laid_out, obs.x),
                keep=every_layer if keep_layers else top_layer, average=powers,
                num_warmup=num_warmup, num_samples=num_samples, max_samples=at_most, extend=chain,
                checkpoint=checkpoint, progress=progress,
            )  # fmt: skip
        kept: Kept = chain.draws
        num_samples = kept.h.shape[1]
        means = [[power.mean(0) for power in layer] for layer in chain.means]
        posterior = from_draws(
            "gibbs", kept.h, obs.x, model=model, settings=settings | {"num_samples": num_samples},
            timing=timing, starts_apart=start == "prior",
            intermediates=[Moments(mean, square - mean**2, on) for mean, square, on in means],
            intermediate_draws=list(map(np.asarray, kept.intermediates)),
            sites=_all_sites(model, kept),
            site_dims=site_dims(prior_program(model)) if kept.auxiliary else {},
        )  # fmt: skip
        missing = missing_draws(posterior)
        if missing and num_samples == at_most > first_samples:
            posterior.tree.attrs["status_reason"] += f"; stopped at {at_most:,} draws of each chain"
        if not missing or num_samples == at_most:
            return posterior
        num_samples = min(num_samples + missing, at_most)


def _at_truth(state: Any, model: Model, obs: Observations, start: str) -> Any:
    """A group's state with its hidden vectors, and what they are given, where they were.

    Of real h it is not known what they are given: it is drawn given h.
    """
    if start != "truth":
        raise Refusal(f"start must be 'prior' or 'truth'; got {start!r}")
    auxiliary = getattr(state, "auxiliary", {})
    depth, missing = len(_between(state)), auxiliary.keys() - obs.sites.keys()
    prior: Any = getattr(model, "prior", None)
    if not hasattr(state, "_replace"):
        raise Refusal("start='truth' needs a sweep whose state is a NamedTuple")
    if obs.h is None or len(obs.intermediates) != depth or (missing and prior is None):
        raise Refusal(
            "start='truth' needs observations with all that made x: h, and the vectors between; "
            "those that the model simulated have them"
        )
    like = lambda value, old: jnp.broadcast_to(jnp.asarray(value, old.dtype), old.shape)  # noqa: E731
    found: dict[str, Any] = {"h": like(obs.h, state.h)}
    if _between(state):
        found["intermediates"] = tuple(map(like, obs.intermediates, state.intermediates))
    if missing:
        found["auxiliary"] = draw_auxiliary(state.rng_key, prior, auxiliary, found["h"])
    elif auxiliary:
        found["auxiliary"] = {name: like(obs.sites[name], old) for name, old in auxiliary.items()}
    return state._replace(**found)


class Kept(NamedTuple):
    """What every draw keeps, each (chain, obs, ...), and of all draws (chain, draw, obs, ...).

    Attributes:
        h: the top hidden vectors.
        auxiliary: what their prior is given, by name.
        intermediates: the hidden vectors below them, from x up, where they are asked for.
    """

    h: Array
    auxiliary: Mapping[str, Array]
    intermediates: tuple[Array, ...] = ()


def top_layer(state: State) -> Kept:
    """The top hidden vectors, and what they are given."""
    return Kept(state.h, getattr(state, "auxiliary", {}))


def every_layer(state: State) -> Kept:
    """The same, and the layers between."""
    return top_layer(state)._replace(intermediates=_between(state))


def _all_sites(model: Model, kept: Kept) -> dict[str, np.ndarray]:
    """What h is given, and what the prior's program makes of it under names of its own."""
    complete = getattr(model, "complete_sites", None)
    found = kept.auxiliary
    if found and complete is not None:
        found = complete(found, kept.h)
    return {name: np.asarray(values) for name, values in found.items()}


def powers(state: State) -> tuple[tuple[Array, ...], ...]:
    """What the moments of each intermediate layer are averages of."""
    return tuple((h, h**2, (h > 0).astype(h.dtype)) for h in _between(state))


def _between(state: State) -> tuple[Array, ...]:
    return getattr(state, "intermediates", ())


def init_groups(
    key: PRNGKeyArray,
    sweep: Sweep,
    model: Model,
    x: Float[Array, "obs visible"],
    num_chains: int,
    num_warmup: int,
) -> list[State]:
    """Starts of all chains, in groups of equal size that can run side by side."""
    num_groups = NUM_GROUPS if num_chains % NUM_GROUPS == 0 else 1
    return [
        sweep.init(jax.random.fold_in(key, group), model, x, num_chains // num_groups, num_warmup)
        for group in range(num_groups)
    ]


@readable
class GibbsKernel(MCMCKernel):
    """A sweep of `gibbs` as a kernel for `numpyro.infer.MCMC`, all observations in a chain's state.

    Run it as `MCMC(GibbsKernel(model), ...).run(key, x)` with x (num_obs, n_visible); the samples
    are h, (num_samples, 1, num_obs, n_hidden). With one chain they are those of `gibbs`.

    Args:
        model: see `gibbs`.
    """

    def __init__(self, model: Model):
        self._sweep = sweep_of(model)
        self._model, self._laid_out = model, self._sweep.lay_out(model)

    def __repr__(self) -> str:
        return cut(f"GibbsKernel({summarize(self.model)})")

    def _table(self) -> Table:
        return Table("GibbsKernel", {"model": self.model})

    @property
    def model(self) -> Model:
        """The model whose posteriors are drawn from."""
        return self._model

    @property
    @override
    def sample_field(self) -> str:
        return "h"

    @override
    def init(self, rng_key, num_warmup, init_params, model_args, model_kwargs) -> Any:
        """Starts as the sweep does; `init_params` is not used."""
        return self._sweep.init(rng_key, self._model, model_args[0], 1, num_warmup)

    @override
    def sample(self, state, model_args, model_kwargs) -> State:
        """One sweep."""
        return self._sweep.step(state, self._laid_out, model_args[0])
