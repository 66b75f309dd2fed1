"""probrev beside what a user could pick instead: same model, data, machine and run.

    uv run python analyses/benchmarks.py compute runs/benchmarks
    uv run python analyses/benchmarks.py plot runs/benchmarks

`compute` first checks that all sides compute the same thing, then times them, compilation apart,
and writes benchmarks.json. `plot` reads that and prints the table and draws the figure. Read times
as ratios: everything is measured in one run, but machines differ.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import arviz as az
import jax
import jax.numpy as jnp
import matplotlib.figure
import numpy as np
import numpyro
from numpyro.distributions import HalfNormal
from numpyro.infer import HMC, MCMC, NUTS, DiscreteGibbs, DiscreteHMCGibbs, MixedHMC
from numpyro.infer.gibbs import Gibbs, discrete_latent_sites
from rich.console import Console
from rich.table import Table

import probrev as pr
from probrev import registry
from probrev.inference.chain import run_chain
from probrev.inference.gibbs import gibbs_step, init_state, top_layer
from probrev.provenance import versions

REPEATS = 5


def compute(out: Path, **sizes: Any) -> None:
    """Measures everything and writes benchmarks.json.

    Args:
        out: folder to write in.
        **sizes: smaller settings for tests: see `samplers` and `enumeration`.
    """
    out.mkdir(parents=True, exist_ok=True)
    device = jax.devices()[0]
    result = {
        "device": f"{device.platform}: {device.device_kind}",
        "versions": versions(),
        "enumeration": enumeration(**sizes.get("enumeration", {})),
        "samplers": samplers(**sizes.get("samplers", {})),
    }
    (out / "benchmarks.json").write_text(json.dumps(result, indent=1))


def enumeration(*, num_obs: tuple[int, ...] = (1, 32), **parameters: Any) -> list[dict[str, Any]]:
    """Zero-row terms per second of `exact`, beside a bare erfc pass over as many numbers.

    A term is the log mass of one silent row under one state: states x silent rows. Observations
    share the terms, so they count once for each observation that uses them.

    Args:
        num_obs: how many observations to do at once, a row for each.
        **parameters: of the model `one_layer`.
    """
    model = registry.load("one_layer")(**parameters)
    obs = model.simulate(jax.random.key(0), max(num_obs))
    rows = []
    for number in num_obs:
        part = obs[:number]
        check_enumeration(model, part)
        terms = model.states().count * int((part.x == 0).sum())
        size = min(terms, 2**24)
        numbers = jnp.linspace(-4.0, 4.0, size)
        erfc = jax.jit(lambda t: jax.scipy.special.erfc(t).sum())
        ours, bare = medians(
            lambda part=part: pr.exact(model, part, num_draws=4),
            lambda numbers=numbers, erfc=erfc: erfc(numbers).block_until_ready(),
        )
        rate, erfc_rate = terms / ours, size / bare
        rows.append(
            {
                "num_obs": number,
                "states": model.states().count,
                "terms": terms,
                "seconds": ours,
                "terms_per_second": rate,
                "erfc_per_second": erfc_rate,
                "ratio": rate / erfc_rate,
            }
        )
    return rows


def check_enumeration(model: pr.LayeredModel, obs: pr.Observations) -> None:
    """Asserts that the table of `exact` is the model's log joint, on states drawn at random."""
    index = jax.random.randint(jax.random.key(1), (100,), 0, model.states().count)
    h = model.states()[index]
    pairs = model.log_joint(h[:, None, :], obs.x[None, :, :])
    np.testing.assert_allclose(model.log_joint_table(h, obs.x), pairs, rtol=1e-10)


def medians(*calls: Callable[[], Any]) -> list[float]:
    """Median seconds of each call, run in turn A B A B ... after one warm-up each."""
    times: list[list[float]] = [[] for _ in calls]
    for repeat in range(REPEATS + 1):
        for seconds, call in zip(times, calls, strict=True):
            start = time.perf_counter()
            call()
            if repeat:
                seconds.append(time.perf_counter() - start)
    return [float(np.median(seconds)) for seconds in times]


def samplers(
    *,
    n_visible: int = 100,
    n_hidden: int = 30,
    n_active: int = 3,
    noise_std: float = 0.7,
    keep_prob: float = 0.5,
    num_chains: tuple[int, ...] = (4, 16, 64),
    num_samples: int = 4000,
    num_samples_ours: int = 100_000,
) -> list[dict[str, Any]]:
    """Effective draws per second, smallest over units, of Gibbs and of NumPyro's samplers.

    One observation under uncapped spikes and a half-normal slab. Every sampler is warmed up, then
    timed on a second run that compiles nothing; each has every number of chains to do its best.

    Args:
        n_visible: n.
        n_hidden: m.
        n_active: expected number of active units.
        noise_std: sigma.
        keep_prob: rho.
        num_chains: numbers of chains to try.
        num_samples: timed draws of each of NumPyro's samplers, over all chains (200 each at least).
        num_samples_ours: timed draws of Gibbs, over all chains.
    """
    prior = pr.SpikeAndSlab(n_hidden, n_active / n_hidden, HalfNormal(1 / np.sqrt(n_active)))
    weights = np.asarray(jax.random.normal(jax.random.key(0), (n_visible, n_hidden)))
    model = pr.LayeredModel(prior, [pr.Layer(weights, keep_prob, noise_std)])
    obs = model.simulate(jax.random.key(1), 1)
    rows = []
    for chains in num_chains:
        steps = max(200, num_samples_ours // chains)
        rows.append(measure("gibbs", chains, *run_gibbs(model, obs, chains, steps)))
        for name, kernel in numpyro_kernels(model).items():
            draws = run_numpyro(kernel, obs.x[0], chains, max(200, num_samples // chains))
            rows.append(measure(name, chains, *draws))
            found = rows[-1]["ess_per_second"]
            print(f"{name}, {chains} chains: {found:.3g} effective draws/s", flush=True)
    agree(rows)
    for row in rows:
        del row["inclusion_prob"]
    return rows


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


def run_gibbs(
    model: pr.LayeredModel, obs: pr.Observations, chains: int, steps: int
) -> tuple[np.ndarray, float]:
    """Draws of h (chain, draw, hidden) and the seconds they took, warm and compiled."""
    state = init_state(jax.random.key(2), model, obs.x, chains)
    settings: dict[str, Any] = {"keep": top_layer, "num_warmup": 0}
    (h,) = run_chain(gibbs_step, state, (model, obs.x), **settings, num_samples=500).draws
    state = state._replace(h=jnp.asarray(h[-1]))
    start = time.perf_counter()
    (h,) = run_chain(gibbs_step, state, (model, obs.x), **settings, num_samples=steps).draws
    return np.moveaxis(h[:, :, 0], 0, 1), time.perf_counter() - start


def run_numpyro(
    kernel: Any, x: jax.Array, chains: int, num_samples: int
) -> tuple[np.ndarray, float]:
    """The same of a NumPyro kernel, adapted in a first run."""
    mcmc = MCMC(
        kernel,
        num_warmup=500,
        num_samples=num_samples,
        num_chains=chains,
        chain_method=jax.vmap,  # pyright: ignore[reportArgumentType]
        progress_bar=False,
    )
    keys = jax.random.split(jax.random.key(3), chains)
    mcmc.run(keys, x)
    _continue(mcmc, x)  # the first run from a post-warm-up state compiles once more
    return _continue(mcmc, x)


def _continue(mcmc: MCMC, x: jax.Array) -> tuple[np.ndarray, float]:
    state: Any = mcmc.last_state
    mcmc.post_warmup_state = state
    start = time.perf_counter()
    mcmc.run(state.rng_key, x)
    h = np.asarray(mcmc.get_samples(group_by_chain=True)["h"])
    return h, time.perf_counter() - start


def measure(name: str, chains: int, h: np.ndarray, seconds: float) -> dict[str, Any]:
    """Effective draws per second over the units that move, and what they say."""
    ess = az.ess(az.from_dict({"posterior": {"h": h}}), method="bulk")["h"].to_numpy()
    moving = (h != h[:1, :1]).any((0, 1))
    return {
        "name": name,
        "chains": chains,
        "draws": h.shape[0] * h.shape[1],
        "seconds": seconds,
        "ess_smallest": float(ess[moving].min()),
        "ess_median": float(np.median(ess[moving])),
        "ess_per_second": float(ess[moving].min() / seconds),
        "ess_median_per_second": float(np.median(ess[moving]) / seconds),
        "inclusion_prob": (h > 0).mean((0, 1)),
    }


def agree(rows: list[dict[str, Any]]) -> None:
    """Marks each row by whether its inclusion probabilities agree with the best-mixed one's.

    The tolerance is that of two samplers in `measure_agreement`: variances add.
    """
    best = max(rows, key=lambda row: row["ess_smallest"])
    for row in rows:
        p = (row["inclusion_prob"] + best["inclusion_prob"]) / 2
        sizes = [max(1.0, one["ess_smallest"]) for one in (row, best)]
        tolerance = 4 * np.sqrt(p * (1 - p) * sum(1 / size for size in sizes))
        tolerance += sum(2 / size for size in sizes)
        gap = np.abs(row["inclusion_prob"] - best["inclusion_prob"])
        row["agrees"] = bool(np.all(gap <= tolerance))
        row["largest_gap"] = float(gap.max())


def plot(out: Path) -> Path:
    """Prints the tables and draws ESS per second of every sampler at its best.

    Args:
        out: folder that `compute` wrote in.
    """
    path = out / "benchmarks.json"
    if not path.exists():
        raise FileNotFoundError(f"no benchmarks.json in {out}: run `compute` first")
    result = json.loads(path.read_text())
    console = Console()
    for title in ("enumeration", "samplers"):
        table = Table(*result[title][0], title=f"{title} ({result['device']})")
        for row in result[title]:
            table.add_row(*(_format(value) for value in row.values()))
        console.print(table)
    best: dict[str, dict[str, Any]] = {}
    for row in sorted(result["samplers"], key=lambda row: (row["agrees"], row["ess_per_second"])):
        best[row["name"]] = row  # the last one: agreeing, and the quickest of those
    rival = max(row["ess_per_second"] for name, row in best.items() if name != "gibbs")
    ours = best["gibbs"]["ess_per_second"]
    console.print(f"gibbs gives {ours / rival:.1f} times the smallest ESS/s of the best other")
    figure = matplotlib.figure.Figure(figsize=(6.5, 3), layout="constrained")
    axes = figure.subplots()
    order = sorted(best, key=lambda name: best[name]["ess_per_second"])
    axes.plot([best[name]["ess_per_second"] for name in order], order, "o")
    axes.set(xscale="log", xlabel="effective draws per second, smallest over units")
    axes.grid(axis="x", which="both", color="#e4e4e4")
    figure.savefig(out / "samplers.png", dpi=150)
    return out / "samplers.png"


def _format(value: Any) -> str:
    return f"{value:,.3g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("step", choices=("compute", "plot"))
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    numpyro.enable_x64()
    if arguments.step == "compute":
        compute(arguments.out)
    else:
        print(plot(arguments.out))
