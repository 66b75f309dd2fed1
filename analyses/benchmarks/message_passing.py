"""What message passing costs beside the bare matrix products that it cannot do without.

    uv run python -m analyses.benchmarks.message_passing compute runs/message_passing
    uv run python -m analyses.benchmarks.message_passing plot runs/message_passing

`compute` first checks that a pass in blocks of rows and the plain one, with W^2 as an array, give
the same, then times an iteration beside W h, W^2 v, W^T g and (W^2)^T i, alternating, compilation
apart, and measures the peak memory of a whole run in a process of its own. It writes
message_passing.json. `plot` prints the table and draws the figure. Read times as ratios.
"""

import argparse
import json
import resource
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import matplotlib.figure
import numpy as np
import numpyro
from numpyro.distributions import HalfNormal
from rich.console import Console
from rich.table import Table

import probrev as pr
from analyses.benchmarks.timings import medians
from probrev.inference.messages.messages import init_messages, sweep_messages
from probrev.inference.messages.row_stream import stream_rows
from probrev.model.channel import observed_score
from probrev.runs.provenance import versions


def compute(out: Path, **sizes: Any) -> None:
    """Measures times and memory and writes message_passing.json.

    Args:
        out: folder to write in.
        **sizes: of `message_passing_cost`, smaller ones for tests.
    """
    out.mkdir(parents=True, exist_ok=True)
    device = jax.devices()[0]
    shape = {name: sizes[name] for name in ("n_visible", "n_hidden") if name in sizes}
    result = {
        "device": f"{device.platform}: {device.device_kind}",
        "versions": versions(),
        "cost": message_passing_cost(**sizes),
        "memory": [peak_memory(**shape)],
    }
    (out / "message_passing.json").write_text(json.dumps(result, indent=1))


def build(n_visible: int = 20_000, n_hidden: int = 4000) -> pr.LayeredModel:
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
    *, num_obs: tuple[int, ...] = (1, 8), n_visible: int = 20_000, n_hidden: int = 4000
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
    sweep = jax.jit(sweep_messages)
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


def peak_memory(n_visible: int = 20_000, n_hidden: int = 4000) -> dict[str, Any]:
    """Peak resident memory of a whole run on one observation, in a process of its own.

    Args:
        n_visible: n.
        n_hidden: m.
    """
    command = [
        sys.executable,
        "-m",
        "analyses.benchmarks.message_passing",
        "memory",
        f"{n_visible}x{n_hidden}",
    ]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def report_memory(n_visible: int, n_hidden: int) -> None:
    """Runs message passing and prints what memory it took, the interpreter's own apart."""
    numpyro.enable_x64()
    tiny = build(30, 5)
    pr.message_passing(tiny, tiny.simulate(jax.random.key(0), 1))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    model = build(n_visible, n_hidden)
    posterior = pr.message_passing(model, model.simulate(jax.random.key(0), 1))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    size = model.layers[0].weights.nbytes
    row = {
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
    print(json.dumps(row))


def plot(out: Path) -> Path:
    """Prints the tables and draws seconds per iteration beside the products.

    Args:
        out: folder that `compute` wrote in.
    """
    path = out / "message_passing.json"
    if not path.exists():
        raise FileNotFoundError(f"no message_passing.json in {out}: run `compute` first")
    result = json.loads(path.read_text())
    console = Console()
    for title in ("cost", "memory"):
        for row in result[title]:
            table = Table("quantity", "value", title=f"{title} ({result['device']})")
            for name, value in row.items():
                table.add_row(name, f"{value:,.3g}" if isinstance(value, float) else str(value))
            console.print(table)
    figure = matplotlib.figure.Figure(figsize=(6.5, 3), layout="constrained")
    axes = figure.subplots()
    kinds = ("iteration", "products", "products_squaring")
    for place, kind in enumerate(kinds):
        values = [row[f"{kind}_seconds"] for row in result["cost"]]
        axes.bar(np.arange(len(values)) + place / 4, values, width=0.22, label=kind)
    labels = [f"{row['num_obs']} observations" for row in result["cost"]]
    axes.set_xticks(np.arange(len(labels)) + 0.25, labels)
    axes.set_ylabel("seconds")
    axes.legend()
    figure.savefig(out / "message_passing.png", dpi=150)
    return out / "message_passing.png"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("step", choices=("compute", "plot", "memory"))
    parser.add_argument("out", help="folder; for memory, the size n x m, e.g. 20000x4000")
    arguments = parser.parse_args()
    numpyro.enable_x64()
    if arguments.step == "memory":
        report_memory(*map(int, arguments.out.split("x")))
    elif arguments.step == "compute":
        compute(Path(arguments.out))
    else:
        print(plot(Path(arguments.out)))
