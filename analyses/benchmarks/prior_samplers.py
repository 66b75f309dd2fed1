"""Gibbs beside NumPyro's kernels under priors that are spikes and slabs given something."""

import time
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from jaxtyping import Array
from numpyro.infer import MCMC, NUTS, DiscreteGibbs, DiscreteHMCGibbs
from numpyro.infer.gibbs import Gibbs, discrete_latent_sites

import probrev as pr
from analyses.benchmarks.samplers import effective_sizes, go_on
from probrev.inference.gibbs.chain import run_chain
from probrev.inference.gibbs.gibbs import init_groups, top_layer
from probrev.inference.gibbs.sweep import sweep_of

NUM_WARMUP = 1000


def prior_samplers(
    *,
    prior: str,
    n_visible: int = 100,
    n_hidden: int = 30,
    num_chains: int = 4,
    gibbs_samples: int = 20_000,
    kernel_samples: int = 2000,
) -> list[dict[str, Any]]:
    """Effective draws per CPU-second, smallest over h and what it is given.

    Both compiled and adapted beforehand, on the same observation. CPU time is that of the process.

    Args:
        prior: "rate": spikes and half-normal slabs with a beta rate, against DiscreteHMCGibbs and
            blocks of DiscreteGibbs and NUTS on the same program; "correlated": a rectified
            Gaussian, against NUTS on v.
        n_visible: n.
        n_hidden: m.
        num_chains: of both.
        gibbs_samples: sweeps of each chain.
        kernel_samples: steps of each chain of NumPyro's kernel.
    """
    weights = np.asarray(jax.random.normal(jax.random.key(0), (n_visible, n_hidden)))
    own, program, kernels, noise_std = _setting(prior, n_hidden)
    layer = pr.Layer(weights, keep_prob=0.5, noise_std=noise_std)
    model = pr.LayeredModel(own, [layer])
    obs = model.simulate(jax.random.key(1), 1)

    def whole(x: Array) -> None:
        h = numpyro.deterministic("h", program())
        with numpyro.plate("visible", n_visible):
            numpyro.sample("x", layer.distribution(layer.pre_activation(jnp.asarray(h))), obs=x)

    rows, runs = [], {"gibbs": _run_gibbs(model, obs, num_chains, gibbs_samples)}
    for name, make in kernels.items():
        runs[name] = _run_kernel(make(whole), obs.x[0], num_chains, kernel_samples)
    for name, (draws, seconds) in runs.items():
        ess = min(float(effective_sizes(part).min()) for part in draws.values())
        rows.append(
            {
                "prior": prior, "n": n_visible, "m": n_hidden, "chains": num_chains, "name": name,
                "ess_smallest": ess, "cpu_seconds": seconds, "ess_per_cpu_second": ess / seconds,
                "mean": draws["h"].mean((0, 1)), "error": draws["h"].std((0, 1)) / np.sqrt(ess),
            }
        )  # fmt: skip
    own_rate = rows[0]["ess_per_cpu_second"]
    mean, error = rows[0]["mean"], rows[0]["error"]
    for row in rows:
        gap, both = np.abs(row.pop("mean") - mean), np.hypot(row.pop("error"), error)
        row["ratio"] = own_rate / row["ess_per_cpu_second"]
        row["agrees"] = bool((gap <= 4 * both + 1e-3).all())
        print(f"{prior}: gibbs has {row['ratio']:.1f} times the rate of {row['name']}", flush=True)
    return rows


def _setting(prior: str, n_hidden: int) -> tuple[Any, Any, dict[str, Any], float]:
    """The prior for Gibbs, its program for NumPyro's kernels, those, and the noise."""
    if prior == "rate":
        slab = dist.HalfNormal(0.6)

        def rate() -> Any:
            rate = numpyro.sample("rate", dist.Beta(1.0, 9.0))
            return numpyro.sample("h", pr.SpikeAndSlab(n_hidden, rate, slab))

        def unfolded() -> Any:
            rate = numpyro.sample("rate", dist.Beta(1.0, 9.0))
            with numpyro.plate("hidden", n_hidden):
                active = numpyro.sample("active", dist.Bernoulli(rate))
                return active * numpyro.sample("value", slab)

        kernels = {
            "DiscreteHMCGibbs": lambda program: DiscreteHMCGibbs(NUTS(program)),
            "block Gibbs": lambda program: Gibbs(
                [(DiscreteGibbs(program), discrete_latent_sites), (NUTS(program), None)]
            ),
        }
        return rate, unfolded, kernels, 0.7
    rng = np.random.default_rng(0)
    root = rng.normal(size=(n_hidden, 8))
    mean, covariance = 0.3 * rng.normal(size=n_hidden), root @ root.T / 10 + 0.1 * np.eye(n_hidden)

    def correlated() -> Any:
        v = numpyro.sample("v", dist.MultivariateNormal(mean, covariance))
        return jnp.maximum(v, 0.0)

    return pr.RectifiedGaussian(mean, covariance), correlated, {"NUTS": NUTS}, 2.0


def _run_gibbs(
    model: pr.LayeredModel, obs: pr.Observations, num_chains: int, num_samples: int
) -> tuple[dict[str, np.ndarray], float]:
    sweep = sweep_of(model)
    states = init_groups(jax.random.key(2), sweep, model, obs.x, num_chains, NUM_WARMUP)
    go_on = partial(
        run_chain, sweep.step, args=(sweep.lay_out(model), obs.x), keep=top_layer, num_warmup=0
    )
    states = go_on(states, num_samples=NUM_WARMUP).states
    start = time.process_time()
    kept = go_on(states, num_samples=num_samples).draws
    seconds = time.process_time() - start
    draws = {"h": kept.h, **kept.auxiliary}
    return {name: np.asarray(part).reshape(*part.shape[:2], -1) for name, part in draws.items()}, (
        seconds
    )


def _run_kernel(
    kernel: Any, x: Array, num_chains: int, num_samples: int
) -> tuple[dict[str, np.ndarray], float]:
    mcmc = MCMC(
        kernel, num_warmup=NUM_WARMUP, num_samples=num_samples, num_chains=num_chains,
        chain_method=jax.vmap,  # pyright: ignore[reportArgumentType]
        progress_bar=False,
    )  # fmt: skip
    mcmc.run(jax.random.split(jax.random.key(3), num_chains), x)
    go_on(mcmc, x)  # the first run from a post-warm-up state compiles once more
    start = time.process_time()
    samples = go_on(mcmc, x)
    seconds = time.process_time() - start
    kept = {one: np.asarray(samples[one]) for one in ("h", "rate") if one in samples}
    return {one: part.reshape(*part.shape[:2], -1) for one, part in kept.items()}, seconds
