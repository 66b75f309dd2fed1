"""What message passing costs beside the bare matrix products that it cannot do without.

    uv run python -m analyses.benchmarks.message_passing compute runs/message_passing
    uv run python -m analyses.benchmarks.message_passing plot runs/message_passing

`compute` first checks that a pass in blocks of rows and the plain one, with W^2 as an array, give
the same, then times an iteration beside W h, W^2 v, W^T g and (W^2)^T i, alternating, compilation
apart, and measures the peak memory of a whole run in a process of its own. `plot` prints the tables
and draws the figure. Read times as ratios.
"""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
from matplotlib.figure import Figure
from numpyro.distributions import HalfNormal

import probrev as pr
from analyses.benchmarks.memory import peak_bytes
from analyses.benchmarks.timings import medians
from analyses.script import load, run, save
from analyses.table import print_table, to_dataset
from probrev.inference.messages.messages import init_messages, pass_messages
from probrev.inference.messages.row_stream import stream_rows
from probrev.model.channel import observed_score

SIZES = {"full": {"num_obs": (1, 8), "n_visible": 20_000, "n_hidden": 4000}}


def compute(out: Path, *, num_obs: tuple[int, ...], n_visible: int, n_hidden: int) -> None:
    """Measures times and memory, and writes cost.nc and memory.nc.

    Args:
        out: folder to write in.
        num_obs: how many observations to do at once.
        n_visible: n.
        n_hidden: m.
    """
    save(out, "cost", to_dataset(message_passing_cost(num_obs, n_visible, n_hidden)))
    save(out, "memory", to_dataset([peak_memory(n_visible, n_hidden)]))


def build(n_visible: int, n_hidden: int) -> pr.LayeredModel:
    """A layer of N(0, 1) weights, one unit in 40 active, made without a second copy of W."""
    n_active = max(1, n_hidden // 40)
    prior = pr.SpikeAndSlab(n_hidden, n_active / n_hidden, HalfNormal(1 / np.sqrt(n_active)))
    weights = random_rows(jax.random.key(0), n_visible, n_hidden)
    return pr.LayeredModel(prior, [pr.Layer(weights, 0.5, 0.7)])


@partial(jax.jit, static_argnums=(1, 2))
def random_rows(key: jax.Array, n_visible: int, n_hidden: int) -> jax.Array:
    """N(0, 1) weights drawn row by row, so that nothing else of their size is ever held."""
    return jax.lax.map(
        lambda row: jax.random.normal(jax.random.fold_in(key, row), (n_hidden,)),
        jnp.arange(n_visible),
    )


def message_passing_cost(
    num_obs: tuple[int, ...], n_visible: int, n_hidden: int
) -> list[dict[str, Any]]:
    """Seconds of an iteration over those of its four matrix products, a row per `num_obs`.

    Args:
        num_obs: how many observations to do at once.
        n_visible: n.
        n_hidden: m.
    """
    model = build(n_visible, n_hidden)
    layer, rows = model.layers[0], []
    squares = jax.jit(jnp.square)(layer.weights)
    sweep = jax.jit(pass_messages)
    for number in num_obs:
        obs = model.simulate(jax.random.key(0), number)
        state = init_messages(model, obs.x)
        messages = state.layers[0]
        check_pass(layer, squares, obs.x, messages)
        hidden, visible = (messages.mean, messages.var), (messages.g + 1.0, messages.g + 2.0)
        ours, bare, on_the_fly = medians(
            partial(sweep, state, model, obs.x, 1e-6),
            partial(bare_products, layer.weights, squares, *hidden, *visible),
            partial(products_squaring, layer.weights, *hidden, *visible),
        )
        rows.append(
            {
                "num_obs": number,
                "n_visible": n_visible,
                "n_hidden": n_hidden,
                "iteration_seconds": ours,
                "products_seconds": bare,
                "products_squaring_seconds": on_the_fly,
                "ratio": ours / bare,
                "ratio_squaring": ours / on_the_fly,
            }
        )
    return rows


@jax.jit
def bare_products(W, W2, h, v, g, information):
    """The four products of an iteration, W^2 at hand."""
    down = partial(jnp.einsum, "oi,ji->oj")
    return down(h, W), down(v, W2), g @ W, information @ W2


@jax.jit
def products_squaring(W, h, v, g, information):
    """The same where W^2 has to be made first, once."""
    return bare_products(W, jnp.square(W), h, v, g, information)


def check_pass(layer: pr.Layer, W2: jax.Array, x: jax.Array, messages: Any) -> None:
    """Asserts that a pass in blocks of rows gives what whole matrices give."""
    g = messages.g + 0.1
    found = jax.jit(stream_rows, static_argnums=1)(
        layer, observed_score, (x,), messages.mean, messages.var, g
    )
    V = messages.var @ W2.T
    omega = messages.mean @ layer.weights.T - V * g
    score = jax.jit(observed_score)(layer, x, omega, V)
    wanted = (omega, V, score.g, score.g @ layer.weights, score.information @ W2)
    for mine, plain in zip(found, wanted, strict=True):
        np.testing.assert_allclose(mine, plain, rtol=1e-8, atol=1e-8 * np.abs(plain).max())


def peak_memory(n_visible: int, n_hidden: int) -> dict[str, Any]:
    """Peak resident memory of a whole run on one observation, in a process of its own.

    Args:
        n_visible: n.
        n_hidden: m.
    """
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(measure_memory, n_visible, n_hidden).result()


def measure_memory(n_visible: int, n_hidden: int) -> dict[str, Any]:
    """Runs message passing and says what memory it took, the interpreter's own apart."""
    numpyro.enable_x64()
    tiny = build(30, 5)
    pr.message_passing(tiny, tiny.simulate(jax.random.key(0), 1))
    before = peak_bytes()
    model = build(n_visible, n_hidden)
    posterior = pr.message_passing(model, model.simulate(jax.random.key(0), 1))
    peak = peak_bytes()
    size = model.layers[0].weights.nbytes
    return {
        "n_visible": n_visible,
        "n_hidden": n_hidden,
        "status": posterior.status_reason,
        "run_seconds": posterior.tree.attrs["run_seconds"],
        "weights_bytes": size,
        "python_and_jax_bytes": before,
        "peak_bytes": peak,
        "peak_over_weights": peak / size,
        "peak_over_weights_without_python_and_jax": (peak - before) / size,
    }


def plot(out: Path) -> Path:
    """Prints the tables and draws seconds per iteration beside the products."""
    cost, memory = (load(out, name) for name in ("cost", "memory"))
    for title, data in (("cost", cost), ("memory", memory)):
        print(f"{title} ({data.attrs['device']})")
        print_table(data.to_dataframe(), ",.3g")
    figure = Figure(figsize=(6.5, 3), layout="constrained")
    axes = figure.subplots()
    kinds = ("iteration", "products", "products_squaring")
    for place, kind in enumerate(kinds):
        values = cost[f"{kind}_seconds"].to_numpy()
        axes.bar(np.arange(len(values)) + place / 4, values, width=0.22, label=kind)
    labels = [f"{number} observations" for number in cost["num_obs"].to_numpy()]
    axes.set_xticks(np.arange(len(labels)) + 0.25, labels)
    axes.set_ylabel("seconds")
    axes.legend()
    figure.savefig(out / "message_passing.png", dpi=150)
    return out / "message_passing.png"


if __name__ == "__main__":
    run(__doc__, compute, plot, SIZES)
