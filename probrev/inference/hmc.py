"""NumPyro's own kernels on the model's program: an independent check, and any function prior."""

import warnings
from collections.abc import Callable, Collection
from typing import Any, NamedTuple

import jax
import numpy as np
import numpyro
from jaxtyping import PRNGKeyArray
from numpyro.infer import MCMC, NUTS, DiscreteGibbs, DiscreteHMCGibbs, Predictive

from probrev.model import door as model_door
from probrev.model.kinds import check_one_law, overridden, refusal
from probrev.model.observations import Observations
from probrev.model.protocol import DENSITIES, Model, check_obs
from probrev.model.sites import site_dims
from probrev.plumbing import door
from probrev.plumbing.progress import Progress
from probrev.plumbing.refusal import Refusal
from probrev.plumbing.timing import stopwatch
from probrev.posterior.posterior import SIGNAL, Moments, Posterior, from_draws


@door.guard(
    key=door.random_key,
    model=model_door.model,
    obs=model_door.observations,
    num_obs=door.optional(door.count()),
    num_warmup=door.count(0),
    num_samples=door.count(),
    num_chains=door.count(),
    target_accept_prob=door.inner_probability,
    progress=door.optional(door.function),
)
def hmc(
    key: PRNGKeyArray,
    model: Model,
    obs: Observations,
    *,
    num_obs: int | None = None,
    num_warmup: int = 1000,
    num_samples: int = 2000,
    num_chains: int = 4,
    target_accept_prob: float = 0.9,
    progress: Progress | None = None,
) -> Posterior:
    """Draws from p(h | x) with NumPyro's samplers, straight from `model.program(x)`.

    It asks for nothing else: h may be of any law that NumPyro's kernels sample, negative too. The
    program's own sites, drawn or deterministic, are kept beside h, with plates as dims.

    The program's sites choose the kernel: all continuous NUTS, all discrete DiscreteGibbs, both
    DiscreteHMCGibbs around NUTS. Above x, masks and noise are sites of their own, so that what is
    left is smooth: with several layers this is a check at small size, not a method for large ones.

    Args:
        key: random key.
        model: a model whose program returns x and has the site `h`.
        obs: observations.
        num_obs: how many of the observations to do, from the first; None for all. They are done
            one by one, and each takes seconds to minutes: as a check of another method a few do.
        num_warmup: steps per chain that are thrown away (step size and mass are adapted).
        num_samples: steps per chain that are kept.
        num_chains: independent chains per observation.
        target_accept_prob: of NUTS, in (0, 1); nearer to 1 means smaller steps, fewer divergences.
        progress: where to report progress, in observations.

    Raises:
        ValueError: x does not fit the model, or the model has no program that these kernels can
            sample: none at all, one without a density, or one in which no single unit can move; or
            the name of a site stands for something else.
    """
    program = sampled_program(model)
    check_obs(model, obs)
    kernel = choose_kernel(program, model.n_visible, target_accept_prob)
    dims = site_dims(program, np.zeros(model.n_visible))
    obs = obs if num_obs is None else obs[:num_obs]
    settings = {
        "num_warmup": num_warmup,
        "num_samples": num_samples,
        "num_chains": num_chains,
        "target_accept_prob": target_accept_prob,
    }
    with stopwatch() as timing:
        mcmc = MCMC(
            kernel,
            num_warmup=num_warmup,
            num_samples=num_samples,
            num_chains=num_chains,
            chain_method=jax.vmap,  # pyright: ignore[reportArgumentType]
            progress_bar=False,
            jit_model_args=True,
        )
        runs: list[_Run] = []
        for index in range(obs.num_obs):
            key_obs = jax.random.fold_in(key, index)
            keys = jax.random.split(key_obs, num_chains)
            runs.append(_run(program, mcmc, keys, obs.x[index], dims))
            if progress is not None:
                progress(index + 1, obs.num_obs)
    return from_draws(
        "hmc", np.stack([run.h for run in runs], axis=2), obs.x, model=model, settings=settings,
        timing=timing, starts_apart=True,
        sample_stats={"diverging": np.stack([run.diverging for run in runs], axis=2)},
        intermediates=[
            Moments(*np.stack(parts, axis=1))
            for parts in zip(*(run.below for run in runs), strict=True)
        ],
        sites={name: np.stack([run.sites[name] for run in runs], axis=2) for name in dims},
        site_dims=dims,
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
    """The NumPyro kernel that fits the kinds of latent sites in a program.

    Raises:
        ValueError: a discrete site's values cannot be listed.
    """
    trace = _trace(program, n_visible)
    latent = {
        name: site["fn"]
        for name, site in trace.items()
        if site["type"] == "sample" and not site["is_observed"]
    }
    discrete = {name: law for name, law in latent.items() if law.is_discrete}
    for name, law in discrete.items():
        try:
            law.enumerate_support(expand=False)
        except NotImplementedError as error:
            raise Refusal(
                f"hmc needs discrete sites whose values NumPyro can list, and those of {name!r}, "
                f"{type(law).__name__}, it cannot: a vector of independent ones is drawn in a "
                "numpyro.plate, not with to_event"
            ) from error
    if len(discrete) == len(latent):
        return DiscreteGibbs(program)
    nuts = NUTS(program, target_accept_prob=target_accept_prob)
    return DiscreteHMCGibbs(nuts) if discrete else nuts


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


class _Run(NamedTuple):
    """What the chains of one observation gave.

    Attributes:
        h: (chain, draw, hidden).
        below: moments of h_1, h_2, ...
        sites: the program's own, by name, (chain, draw, ...).
        diverging: whether each transition diverged, (chain, draw).
    """

    h: np.ndarray
    below: list[tuple[np.ndarray, ...]]
    sites: dict[str, np.ndarray]
    diverging: np.ndarray


def _run(
    program: Callable[..., Any], mcmc: MCMC, keys: jax.Array, x: jax.Array, own: Collection[str]
) -> _Run:
    """The chains of one observation."""
    kernel = mcmc.sampler
    field = None if isinstance(kernel, DiscreteGibbs) else "diverging"
    if isinstance(kernel, DiscreteHMCGibbs):
        field = "hmc_state.diverging"
    with warnings.catch_warnings():
        # NumPyro donates a buffer that its collecting loop cannot use; nothing is lost by it.
        warnings.filterwarnings("ignore", "Some donated buffers were not usable")
        mcmc.run(keys, x, extra_fields=() if field is None else (field,))
    samples = mcmc.get_samples(group_by_chain=True)
    follow = [name for name in ("h", *own) if name not in samples]
    if follow:  # DiscreteGibbs keeps what it sampled, not what follows from it
        recompute = Predictive(program, samples, batch_ndims=2, return_sites=follow, parallel=True)
        samples = {**samples, **recompute(keys[0], x)}
    signals = {name: np.asarray(h) for name, h in samples.items() if SIGNAL.fullmatch(name)}
    names = sorted(signals.keys() - {"h"}, key=lambda name: int(name[2:]))
    diverging = np.zeros(signals["h"].shape[:2], dtype=bool)
    if field is not None:
        diverging = np.asarray(mcmc.get_extra_fields(group_by_chain=True)[field])
    return _Run(
        signals["h"], [_moments(signals[name]) for name in names],
        {name: np.asarray(samples[name]) for name in own}, diverging,
    )  # fmt: skip


def _moments(h: np.ndarray) -> tuple[np.ndarray, ...]:
    over = (0, 1)
    return h.mean(over), h.var(over), (h > 0).mean(over)
