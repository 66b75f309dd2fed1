"""Gibbs beside NumPyro's and PyMC's samplers and one by hand: effective draws, agreement."""

import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple

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


class Run(NamedTuple):
    """Draws of a sampler, and what they took.

    Attributes:
        h: (chain, draw, hidden).
        seconds: of the clock.
        cpu_seconds: of all cores together.
        compile_seconds: of compilation, which is in neither.
    """

    h: np.ndarray
    seconds: float
    cpu_seconds: float
    compile_seconds: float


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
    """Effective draws per second, of the clock and of CPU, of every sampler.

    One observation under uncapped spikes and a half-normal slab, or four values in its place. Every
    sampler is warmed up and compiled, then timed until the unit that mixes worst has 1000 effective
    draws, or the time is up; each of ours and NumPyro's has every number of chains to do its best.

    Args:
        n_visible: n.
        n_hidden: m.
        n_active: expected number of active units k.
        noise_std: sigma.
        keep_prob: rho.
        num_chains: numbers of chains to try.
        seconds: most seconds of a timed run.
        pymc_draws: draws of each of PyMC's 4 chains, and of those of `run_numba` (extra `bench`);
            0 leaves both out.
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
        runs.append((OURS, chains, run_gibbs(model, obs, chains, seconds)))
        for name, kernel in numpyro_kernels(model, is_finite=is_finite).items():
            runs.append((name, chains, run_numpyro(model, kernel, obs.x[0], chains, seconds)))
            # Compiled programs are mapped into memory, and a process has so many maps and no more.
            jax.clear_caches()
    if pymc_draws:
        runs.append(("PyMC", 4, run_pymc(model, np.asarray(obs.x[0]), 4, pymc_draws)))
        runs.append(("Numba", 4, run_by_hand(model, np.asarray(obs.x[0]), 4, pymc_draws)))
    rows = []
    for name, chains, found in runs:
        row = {**setting, "name": name, "chains": chains, **measure(found)}
        a_second, a_cpu_second = row["ess_per_second"], row["ess_per_cpu_second"]
        print(
            f"{name}, {chains} chains: {a_second:.3g} a second, {a_cpu_second:.3g} of CPU",
            flush=True,
        )
        rows.append(row)
    agree(rows)
    return rows


def run_gibbs(model: pr.LayeredModel, obs: pr.Observations, chains: int, seconds: float) -> Run:
    """Gibbs of this package."""
    sweep = sweep_of(model)
    states = init_groups(jax.random.key(2), sweep, model, obs.x, chains, NUM_WARMUP)
    go_on = partial(
        run_chain, sweep.step, args=(sweep.lay_out(model), obs.x), keep=top_layer, num_warmup=0
    )
    with stopwatch() as timing:
        states = go_on(states, num_samples=NUM_WARMUP).states

    def draw() -> np.ndarray:
        nonlocal states
        chain = go_on(states, num_samples=max(500, 100_000 // chains))
        states = chain.states
        return chain.draws.h[:, :, 0]

    return run_until_enough(draw, seconds, timing.compile_seconds)


def run_until_enough(draw: Callable[[], np.ndarray], seconds: float, compile_seconds: float) -> Run:
    """Draws again and again until the effective size is what is wanted, or the time is up."""
    parts, spent, of_cpu = [], 0.0, 0.0
    while not parts or (spent < seconds and smallest_ess(np.concatenate(parts, 1)) < ESS_WANTED):
        start, start_cpu = time.perf_counter(), time.process_time()
        parts.append(draw())
        spent += time.perf_counter() - start
        of_cpu += time.process_time() - start_cpu
    return Run(np.concatenate(parts, axis=1), spent, of_cpu, compile_seconds)


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
) -> Run:
    """A NumPyro kernel, adapted in a first run."""
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
    return run_until_enough(lambda: h_of(model, go_on(mcmc, x), x), seconds, timing.compile_seconds)


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


def run_pymc(model: pr.LayeredModel, x: np.ndarray, chains: int, num_draws: int) -> Run:
    """PyMC's compound step, on both cores, masks and noise summed out."""
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
    spent = float(spans.sum())
    compiling = elapsed - float(tree["posterior"].attrs["sampling_time"])
    h_drawn = tree["posterior"]["h"].to_numpy()
    return Run(h_drawn, spent / min(2, chains), spent, max(compiling, 0.0))


def run_by_hand(model: pr.LayeredModel, x: np.ndarray, chains: int, num_draws: int) -> Run:
    """The sampler of `numba_sampler`, on both cores."""
    from analyses.benchmarks.numba_sampler import run_numba

    layer, prior = model.layers[0], model.sparse_prior
    columns = np.ascontiguousarray(np.asarray(layer.weights).T)
    scale = float(getattr(prior.slab, "scale"))  # noqa: B009

    def one(seed: int, num_warmup: int = NUM_WARMUP, num_samples: int = num_draws) -> np.ndarray:
        return run_numba(
            np.random.default_rng(seed), columns, x, float(layer.gain), float(layer.keep_prob),
            float(layer.noise_std), float(prior.inclusion_logit[0]), scale, num_warmup, num_samples,
        )  # fmt: skip

    with stopwatch() as timing:
        one(0, 1, 1)

    start, start_cpu = time.perf_counter(), time.process_time()
    with ThreadPoolExecutor(2) as pool:
        h = np.stack(list(pool.map(one, range(chains))))
    share = num_draws / (NUM_WARMUP + num_draws)  # all sweeps take as long
    seconds, of_cpu = time.perf_counter() - start, time.process_time() - start_cpu
    return Run(h, share * seconds, share * of_cpu, timing.run_seconds)


def smallest_ess(h: np.ndarray) -> float:
    """Smallest bulk ESS over the units that move."""
    return float(effective_sizes(h).min())


def effective_sizes(h: np.ndarray) -> np.ndarray:
    """Bulk ESS of each unit that moves, from draws (chain, draw, hidden)."""
    moving = (h != h[:1, :1]).any((0, 1))
    ess = az.ess(az.from_dict({"posterior": {"h": h[..., moving]}}), method="bulk")["h"]
    return np.nan_to_num(ess.to_numpy(), nan=1.0)


def measure(found: Run) -> dict[str, Any]:
    """Effective draws per second over the units that move, and what they say."""
    ess = effective_sizes(found.h)
    return {
        "draws": found.h.shape[0] * found.h.shape[1],
        "seconds": found.seconds,
        "cpu_seconds": found.cpu_seconds,
        "compile_seconds": found.compile_seconds,
        "ess_smallest": float(ess.min()),
        "ess_per_second": float(ess.min() / found.seconds),
        "ess_per_cpu_second": float(ess.min() / found.cpu_seconds),
        "ess_median_per_second": float(np.median(ess) / found.seconds),
        "inclusion_prob": (found.h > 0).mean((0, 1)),
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
