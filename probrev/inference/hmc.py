"""NumPyro's own kernels on the model's program: an independent check, and any function prior."""

import re
import warnings
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import numpyro
from jaxtyping import PRNGKeyArray
from numpyro.infer import MCMC, NUTS, DiscreteGibbs, DiscreteHMCGibbs, Predictive

from probrev.model.kinds import check_one_law, overridden, refusal
from probrev.model.observations import Observations
from probrev.model.protocol import DENSITIES, Model, check_obs
from probrev.plumbing.progress import Progress
from probrev.plumbing.refusal import Refusal
from probrev.plumbing.timing import stopwatch
from probrev.posterior.posterior import Moments, Posterior, from_draws

# The top hidden vector, and those between it and x.
SIGNAL = re.compile(r"h(_\d+)?")


def hmc(
    key: PRNGKeyArray,
    model: Model,
    obs: Observations,
    *,
    num_obs: int | None = 2,
    num_warmup: int = 1000,
    num_samples: int = 2000,
    num_chains: int = 4,
    target_accept_prob: float = 0.9,
    progress: Progress | None = None,
) -> Posterior:
    """Draws from p(h | x) with NumPyro's samplers, straight from `model.program(x)`.

    It asks for nothing else: h may be of any law that NumPyro's kernels sample, negative too.

    The program's sites choose the kernel: all continuous NUTS, all discrete DiscreteGibbs, both
    DiscreteHMCGibbs around NUTS. Above x, masks and noise are sites of their own, so that what is
    left is smooth: with several layers this is a check at small size, not a method for large ones.

    Args:
        key: random key.
        model: a model whose program returns x and has the site `h`.
        obs: observations.
        num_obs: how many of the observations to do, from the first; None for all. They are done
            one by one, and each takes seconds to minutes.
        num_warmup: steps per chain that are thrown away (step size and mass are adapted).
        num_samples: steps per chain that are kept.
        num_chains: independent chains per observation.
        target_accept_prob: of NUTS, in (0, 1); nearer to 1 means smaller steps, fewer divergences.
        progress: where to report progress, in observations.

    Raises:
        ValueError: x does not fit the model, or the model has no program that these kernels can
            sample: none at all, one without a density, or one in which no single unit can move.
    """
    program = sampled_program(model)
    check_obs(model, obs)
    obs = obs if num_obs is None else obs[:num_obs]
    settings = {
        "num_warmup": num_warmup,
        "num_samples": num_samples,
        "num_chains": num_chains,
        "target_accept_prob": target_accept_prob,
    }
    with stopwatch() as timing:
        mcmc = MCMC(
            choose_kernel(program, model.n_visible, target_accept_prob),
            num_warmup=num_warmup,
            num_samples=num_samples,
            num_chains=num_chains,
            chain_method=jax.vmap,  # pyright: ignore[reportArgumentType]
            progress_bar=False,
            jit_model_args=True,
        )
        draws, below, diverging = [], [], []
        for index in range(obs.num_obs):
            key_obs = jax.random.fold_in(key, index)
            keys = jax.random.split(key_obs, num_chains)
            signals, stats = _run(program, mcmc, keys, obs.x[index])
            draws.append(signals["h"])
            names = sorted(signals.keys() - {"h"}, key=lambda name: int(name[2:]))
            below.append([_moments(signals[name]) for name in names])
            diverging.append(stats)
            if progress is not None:
                progress(index + 1, obs.num_obs)
    return from_draws(
        "hmc", np.stack(draws, axis=2), obs.x, model=model, settings=settings, timing=timing,
        starts_apart=True,
        sample_stats={"diverging": np.stack(diverging, axis=2)},
        intermediates=[Moments(*np.stack(parts, axis=1)) for parts in zip(*below, strict=True)],
    )  # fmt: skip


def sampled_program(model: Model) -> Callable[..., Any]:
    """The program that NumPyro's kernels run: the model's `sampled_program()`, else its `program`.

    Raises:
        ValueError: it has none, or none for these kernels.
    """
    check_one_law(model, uses=("program", "sampled_program"), others=DENSITIES)
    own = getattr(model, "sampled_program", None)
    if own is not None and not overridden(model, ("program",), since=("sampled_program",)):
        return own()
    program = getattr(model, "program", None)
    if program is None:
        raise refusal("hmc", model, "needs a model with a NumPyro program(x) that has a site h")
    return program


def check_program(model: Model) -> None:
    """Raises ValueError unless the model has a program that NumPyro's kernels can run."""
    _trace(sampled_program(model), model.n_visible)


def choose_kernel(program: Callable[..., Any], n_visible: int, target_accept_prob: float) -> Any:
    """The NumPyro kernel that fits the kinds of latent sites in a program."""
    trace = _trace(program, n_visible)
    latent = [
        site["fn"].is_discrete
        for site in trace.values()
        if site["type"] == "sample" and not site["is_observed"]
    ]
    if all(latent):
        return DiscreteGibbs(program)
    nuts = NUTS(program, target_accept_prob=target_accept_prob)
    return DiscreteHMCGibbs(nuts) if any(latent) else nuts


def _trace(program: Callable[..., Any], n_visible: int) -> dict[str, Any]:
    """The sites of a program, by name.

    Raises:
        ValueError: none of them is `h`.
    """
    with numpyro.handlers.block(), numpyro.handlers.seed(rng_seed=0):
        trace = numpyro.handlers.trace(program).get_trace(np.zeros(n_visible))
    if "h" not in trace:
        raise Refusal(
            f"hmc needs a program with a site h; its sites are {', '.join(trace)}: name the hidden "
            'vector by numpyro.sample("h", ...) or numpyro.deterministic("h", ...)'
        )
    return trace


def _run(
    program: Callable[..., Any], mcmc: MCMC, keys: jax.Array, x: jax.Array
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Draws of h, h_1, ... (chain, draw, unit) and whether each diverged, for one observation."""
    kernel = mcmc.sampler
    field = None if isinstance(kernel, DiscreteGibbs) else "diverging"
    if isinstance(kernel, DiscreteHMCGibbs):
        field = "hmc_state.diverging"
    with warnings.catch_warnings():
        # NumPyro donates a buffer that its collecting loop cannot use; nothing is lost by it.
        warnings.filterwarnings("ignore", "Some donated buffers were not usable")
        mcmc.run(keys, x, extra_fields=() if field is None else (field,))
    samples = mcmc.get_samples(group_by_chain=True)
    if "h" not in samples:  # DiscreteGibbs keeps what it sampled, not what follows from it
        recompute = Predictive(program, samples, batch_ndims=2, return_sites=["h"], parallel=True)
        samples = recompute(keys[0], x)
    signals = {name: np.asarray(h) for name, h in samples.items() if SIGNAL.fullmatch(name)}
    if field is None:
        return signals, np.zeros(signals["h"].shape[:2], dtype=bool)
    return signals, np.asarray(mcmc.get_extra_fields(group_by_chain=True)[field])


def _moments(h: np.ndarray) -> tuple[np.ndarray, ...]:
    over = (0, 1)
    return h.mean(over), h.var(over), (h > 0).mean(over)
