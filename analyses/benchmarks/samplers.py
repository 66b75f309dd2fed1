"""Gibbs beside NumPyro's and PyMC's samplers: effective draws a second, and if they agree."""

import time
import warnings
from functools import partial
from typing import Any

import arviz as az
import jax
import numpy as np
from numpyro.distributions import HalfNormal
from numpyro.infer import HMC, MCMC, NUTS, DiscreteGibbs, DiscreteHMCGibbs, MixedHMC, Predictive
from numpyro.infer.gibbs import Gibbs, discrete_latent_sites
from scipy.stats import halfnorm

import probrev as pr
from probrev.inference.gibbs.chain import run_chain
from probrev.inference.gibbs.gibbs import init_groups, top_layer
from probrev.inference.gibbs.sweep import sweep_of
from probrev.plumbing.timing import stopwatch

OURS = "gibbs"
ESS_WANTED = 1000
NUM_WARMUP = 500


def samplers(
    *,
    n_visible: int,
    n_hidden: int,
    n_active: int,
    noise_std: float = 0.7,
    keep_prob: float = 0.5,
    num_chains: tuple[int, ...] = (4, 16, 64),
    seconds: float = 30.0,
    pymc_draws: int = 5000,
    is_finite: bool = False,
) -> list[dict[str, Any]]:
    """Effective draws per second, smallest and median over units, of every sampler.

    One observation under uncapped spikes and a half-normal slab, or four values in its place. Every
    sampler is warmed up and compiled, then timed until the unit that mixes worst has 1000 effective
    draws, or the time is up; each has every number of chains to do its best.

    Args:
        n_visible: n.
        n_hidden: m.
        n_active: expected number of active units k.
        noise_std: sigma.
        keep_prob: rho.
        num_chains: numbers of chains to try.
        seconds: most seconds of a timed run.
        pymc_draws: draws of each of PyMC's 4 chains (extra `bench`); 0 leaves it out.
        is_finite: active units take one of four values, so that every site is discrete.
    """
    scale = 1 / np.sqrt(n_active)
    quartiles = halfnorm.ppf((np.arange(4) + 0.5) / 4, scale=scale)
    slab = pr.FiniteSlab(quartiles, np.full(4, 0.25)) if is_finite else HalfNormal(scale)
    prior = pr.SpikeAndSlab(n_hidden, n_active / n_hidden, slab)
    weights = np.asarray(jax.random.normal(jax.random.key(0), (n_visible, n_hidden)))
    model = pr.LayeredModel(prior, [pr.Layer(weights, keep_prob, noise_std)])
    obs = model.simulate(jax.random.key(1), 1)
    slab_name = "finite" if is_finite else "half-normal"
    setting = {"n": n_visible, "m": n_hidden, "k": n_active, "slab": slab_name}
    runs = []
    for chains in num_chains:
        runs.append((OURS, chains, *run_gibbs(model, obs, chains, seconds)))
        for name, kernel in numpyro_kernels(model, is_finite=is_finite).items():
            runs.append((name, chains, *run_numpyro(model, kernel, obs.x[0], chains, seconds)))
            # Compiled programs are mapped into memory, and a process has so many maps and no more.
            jax.clear_caches()
    if pymc_draws:
        runs.append(("PyMC", 4, *run_pymc(model, np.asarray(obs.x[0]), 4, pymc_draws)))
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
    sweep = sweep_of(model)
    states = init_groups(jax.random.key(2), sweep, model, obs.x, chains, NUM_WARMUP)
    go_on = partial(
        run_chain, sweep.step, args=(sweep.lay_out(model), obs.x), keep=top_layer, num_warmup=0
    )
    parts, spent = [], 0.0
    with stopwatch() as timing:
        states = go_on(states, num_samples=NUM_WARMUP).states
    while not enough(parts, spent, seconds):
        start = time.perf_counter()
        chain = go_on(states, num_samples=max(500, 100_000 // chains))
        spent += time.perf_counter() - start
        states = chain.states
        parts.append(chain.draws.h[:, :, 0])
    return np.concatenate(parts, axis=1), spent, timing.compile_seconds


def enough(parts: list[np.ndarray], spent: float, seconds: float) -> bool:
    """Whether the draws so far have the effective size wanted, or the time is up."""
    return bool(parts) and (spent > seconds or smallest_ess(np.concatenate(parts, 1)) > ESS_WANTED)


def numpyro_kernels(model: pr.LayeredModel, *, is_finite: bool) -> dict[str, Any]:
    """NumPyro's samplers for programs with discrete sites alone, or with continuous ones too."""
    program = model.program
    if is_finite:
        return {
            "DiscreteGibbs": DiscreteGibbs(program),
            "DiscreteGibbs, modified": DiscreteGibbs(program, random_walk=True, modified=True),
        }
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
    model: pr.LayeredModel, kernel: Any, x: jax.Array, chains: int, seconds: float
) -> tuple[np.ndarray, float, float]:
    """The same of a NumPyro kernel, adapted in a first run."""
    mcmc = MCMC(
        kernel,
        num_warmup=NUM_WARMUP,
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
        samples = go_on(mcmc, x)
        spent += time.perf_counter() - start
        parts.append(h_of(model, samples, x))
    return np.concatenate(parts, axis=1), spent, timing.compile_seconds


def go_on(mcmc: MCMC, x: jax.Array) -> dict[str, jax.Array]:
    """Every site as many times again, from where the chains are."""
    state: Any = mcmc.last_state
    mcmc.post_warmup_state = state
    mcmc.run(state.rng_key, x)
    return jax.block_until_ready(mcmc.get_samples(group_by_chain=True))


def h_of(model: pr.LayeredModel, samples: dict[str, jax.Array], x: jax.Array) -> np.ndarray:
    """Draws of h, which DiscreteGibbs does not keep."""
    if "h" not in samples:
        sites = {"batch_ndims": 2, "return_sites": ["h"], "parallel": True}
        samples = Predictive(model.program, samples, **sites)(jax.random.key(0), x)
    return np.asarray(samples["h"])


def run_pymc(
    model: pr.LayeredModel, x: np.ndarray, chains: int, num_draws: int
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
        sample: dict[str, Any] = {
            "tune": NUM_WARMUP,
            "chains": chains,
            "cores": 2,
            "random_seed": 1,
        }
        quiet: dict[str, Any] = {"progressbar": False, "compute_convergence_checks": False}
        start = time.perf_counter()
        with warnings.catch_warnings():
            # PyMC forks its workers, which never call the JAX that this warns of.
            warnings.filterwarnings("ignore", "os.fork", RuntimeWarning)
            tree = pm.sample(10, **sample, **quiet)
            elapsed = time.perf_counter() - start
            tree = pm.sample(num_draws, **sample, **quiet)
    stats = tree["sample_stats"]
    # NUTS notes when it begins, and all else that a draw takes lies between two beginnings. Chains
    # run side by side, so each core has its share of their time.
    begun = stats["perf_counter_start"].to_numpy()
    spans = (begun[:, -1] - begun[:, 0]) * begun.shape[1] / (begun.shape[1] - 1)
    spent = float(spans.sum()) / min(2, chains)
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

    Within 4 standard errors of the difference, and 2 / ESS each for units that few draws visit. The
    probabilities themselves are taken out.
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
