"""Gibbs beside NumPyro's and PyMC's samplers: effective draws a second, and if they agree."""

import time
import warnings
from typing import Any

import arviz as az
import jax
import jax.numpy as jnp
import numpy as np
from numpyro.distributions import HalfNormal
from numpyro.infer import HMC, MCMC, NUTS, DiscreteGibbs, DiscreteHMCGibbs, MixedHMC
from numpyro.infer.gibbs import Gibbs, discrete_latent_sites

import probrev as pr
from probrev.inference.chain import run_chain
from probrev.inference.gibbs import gibbs_step, init_groups, top_layer
from probrev.timing import stopwatch

OURS = "gibbs"
ESS_WANTED = 1000


def samplers(
    *,
    n_visible: int,
    n_hidden: int,
    n_active: int,
    noise_std: float = 0.7,
    keep_prob: float = 0.5,
    num_chains: tuple[int, ...] = (4, 16, 64),
    seconds: float = 30.0,
    with_pymc: bool = True,
) -> list[dict[str, Any]]:
    """Effective draws per second, smallest and median over units, of every sampler.

    One observation under uncapped spikes and a half-normal slab. Every sampler is warmed up and
    compiled, then timed until the unit that mixes worst has 1000 effective draws, or the time is
    up; each has every number of chains to do its best.

    Args:
        n_visible: n.
        n_hidden: m.
        n_active: expected number of active units k.
        noise_std: sigma.
        keep_prob: rho.
        num_chains: numbers of chains to try.
        seconds: most seconds of a timed run.
        with_pymc: measure PyMC too (extra `bench`), on 4 chains.
    """
    prior = pr.SpikeAndSlab(n_hidden, n_active / n_hidden, HalfNormal(1 / np.sqrt(n_active)))
    weights = np.asarray(jax.random.normal(jax.random.key(0), (n_visible, n_hidden)))
    model = pr.LayeredModel(prior, [pr.Layer(weights, keep_prob, noise_std)])
    obs = model.simulate(jax.random.key(1), 1)
    setting = {"n": n_visible, "m": n_hidden, "k": n_active}
    runs = []
    for chains in num_chains:
        runs.append((OURS, chains, *run_gibbs(model, obs, chains, seconds)))
        for name, kernel in numpyro_kernels(model).items():
            runs.append((name, chains, *run_numpyro(kernel, obs.x[0], chains, seconds)))
    if with_pymc:
        runs.append(("PyMC", 4, *run_pymc(model, np.asarray(obs.x[0]), 4, seconds)))
    rows = []
    for name, chains, h, spent, compiling in runs:
        rows.append({**setting, "name": name, "chains": chains, **measure(h, spent, compiling)})
        print(f"{name}, {chains} chains: {rows[-1]['ess_per_second']:.3g} a second", flush=True)
    agree(rows)
    return rows


def run_gibbs(
    model: pr.LayeredModel, obs: pr.Observations, chains: int, seconds: float
) -> tuple[np.ndarray, float, float]:
    """Draws of h (chain, draw, hidden), the seconds they took, and those of compilation."""
    states = init_groups(jax.random.key(2), model, obs.x, chains)
    settings: dict[str, Any] = {"keep": top_layer, "num_warmup": 0}
    steps = max(500, 100_000 // chains)
    parts, spent = [], 0.0
    with stopwatch() as timing:
        (h,) = run_chain(gibbs_step, states, (model, obs.x), **settings, num_samples=500).draws
    while not enough(parts, spent, seconds):
        starts = np.split(h[:, -1], len(states))
        states = [
            state._replace(
                h=jnp.asarray(start), rng_key=jax.random.fold_in(state.rng_key, len(parts))
            )
            for state, start in zip(states, starts, strict=True)
        ]
        start = time.perf_counter()
        (h,) = run_chain(gibbs_step, states, (model, obs.x), **settings, num_samples=steps).draws
        spent += time.perf_counter() - start
        parts.append(h[:, :, 0])
    return np.concatenate(parts, axis=1), spent, timing.compile_seconds


def enough(parts: list[np.ndarray], spent: float, seconds: float) -> bool:
    """Whether the draws so far have the effective size wanted, or the time is up."""
    return bool(parts) and (spent > seconds or smallest_ess(np.concatenate(parts, 1)) > ESS_WANTED)


def numpyro_kernels(model: pr.LayeredModel) -> dict[str, Any]:
    """NumPyro's samplers for programs with discrete and continuous sites."""
    program = model.program
    return {
        "DiscreteHMCGibbs": DiscreteHMCGibbs(NUTS(program)),
        "DiscreteHMCGibbs, modified": DiscreteHMCGibbs(
            NUTS(program), random_walk=True, modified=True
        ),
        "MixedHMC": MixedHMC(HMC(program, trajectory_length=1.2), num_discrete_updates=20),
        "block Gibbs": Gibbs(
            [(DiscreteGibbs(program), discrete_latent_sites), (NUTS(program), None)]
        ),
    }


def run_numpyro(
    kernel: Any, x: jax.Array, chains: int, seconds: float
) -> tuple[np.ndarray, float, float]:
    """The same of a NumPyro kernel, adapted in a first run."""
    mcmc = MCMC(
        kernel,
        num_warmup=500,
        num_samples=max(200, 4000 // chains),
        num_chains=chains,
        chain_method=jax.vmap,  # pyright: ignore[reportArgumentType]
        progress_bar=False,
    )
    with stopwatch() as timing:
        mcmc.run(jax.random.split(jax.random.key(3), chains), x)
        go_on(mcmc, x)  # the first run from a post-warm-up state compiles once more
    parts, spent = [], 0.0
    while not enough(parts, spent, seconds):
        start = time.perf_counter()
        parts.append(go_on(mcmc, x))
        spent += time.perf_counter() - start
    return np.concatenate(parts, axis=1), spent, timing.compile_seconds


def go_on(mcmc: MCMC, x: jax.Array) -> np.ndarray:
    """As many draws again, from where the chains are."""
    state: Any = mcmc.last_state
    mcmc.post_warmup_state = state
    mcmc.run(state.rng_key, x)
    return np.asarray(mcmc.get_samples(group_by_chain=True)["h"])


def run_pymc(
    model: pr.LayeredModel, x: np.ndarray, chains: int, seconds: float
) -> tuple[np.ndarray, float, float]:
    """The same of PyMC's compound step, on both cores, masks and noise summed out."""
    import pymc as pm
    import pytensor.tensor as pt

    layer, prior = model.layers[0], model.sparse_prior
    weights, seen = np.asarray(layer.weights), x > 0
    keep_prob, noise_std = float(layer.keep_prob), float(layer.noise_std)
    logit = np.asarray(prior.inclusion_logit)
    with pm.Model():
        active = pm.Bernoulli("active", 1 / (1 + np.exp(-logit)), shape=len(logit))
        value = pm.HalfNormal("value", float(getattr(prior.slab, "scale")), shape=len(logit))  # noqa: B009
        h = pm.Deterministic("h", active * value)
        z: Any = pt.dot(weights, h)
        pm.Normal("y", z[seen], noise_std, observed=x[seen] / float(layer.gain))
        silent: Any = pt.erfc(z[~seen] / (noise_std * np.sqrt(2)))
        mass: Any = pt.log(1 - keep_prob + 0.5 * keep_prob * silent)
        pm.Potential("silence", mass.sum())
        sample: dict[str, Any] = {"tune": 500, "chains": chains, "cores": 2, "random_seed": 1}
        quiet: dict[str, Any] = {"progressbar": False, "compute_convergence_checks": False}
        start, draws = time.perf_counter(), 250
        with warnings.catch_warnings():
            # PyMC forks its workers, which never call the JAX that this warns of.
            warnings.filterwarnings("ignore", "os.fork", RuntimeWarning)
            tree = pm.sample(draws, **sample, **quiet)
            elapsed = time.perf_counter() - start
            tree = pm.sample(int(np.clip(draws * seconds / elapsed, 50, 4000)), **sample, **quiet)
    stats = tree["sample_stats"]
    # Chains run side by side, so each core has its share of their time.
    spent = float(stats["perf_counter_diff"].sum()) / min(2, chains)
    compiling = elapsed - float(tree["posterior"].attrs["sampling_time"])
    return tree["posterior"]["h"].to_numpy(), spent, max(compiling, 0.0)


def smallest_ess(h: np.ndarray) -> float:
    """Smallest bulk ESS over the units that move."""
    return float(effective_sizes(h).min())


def effective_sizes(h: np.ndarray) -> np.ndarray:
    """Bulk ESS of each unit that moves, from draws (chain, draw, hidden)."""
    moving = (h != h[:1, :1]).any((0, 1))
    ess = az.ess(az.from_dict({"posterior": {"h": h[..., moving]}}), method="bulk")["h"]
    return np.nan_to_num(ess.to_numpy(), nan=1.0)


def measure(h: np.ndarray, seconds: float, compile_seconds: float) -> dict[str, Any]:
    """Effective draws per second over the units that move, and what they say."""
    ess = effective_sizes(h)
    return {
        "draws": h.shape[0] * h.shape[1],
        "seconds": seconds,
        "compile_seconds": compile_seconds,
        "ess_smallest": float(ess.min()),
        "ess_per_second": float(ess.min() / seconds),
        "ess_median_per_second": float(np.median(ess) / seconds),
        "inclusion_prob": (h > 0).mean((0, 1)),
    }


def agree(rows: list[dict[str, Any]]) -> None:
    """Marks each row by whether its inclusion probabilities agree with the best-mixed one's.

    The tolerance is that of two samplers in `measure_agreement`: variances add. The probabilities
    themselves are taken out.
    """
    best = max(rows, key=lambda row: row["ess_smallest"])
    reference = best["inclusion_prob"]
    for row in rows:
        own = row.pop("inclusion_prob")
        p = (own + reference) / 2
        sizes = [max(1.0, one["ess_smallest"]) for one in (row, best)]
        tolerance = 4 * np.sqrt(p * (1 - p) * sum(1 / size for size in sizes))
        tolerance += sum(2 / size for size in sizes)
        gap = np.abs(own - reference)
        row["agrees"] = bool(np.all(gap <= tolerance))
        row["largest_gap"] = float(gap.max())
