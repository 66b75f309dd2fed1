"""What code that only moves must leave as it is, bit for bit.

    uv run python tests/golden.py write runs/golden     # before
    uv run python tests/golden.py check runs/golden     # after, on the same machine

`write` runs `probrev compare` on every named model, at sizes of seconds, and `probrev sweep` on
three grids, and begins a Gibbs run with a checkpoint; it keeps digests of every number in the runs
and stores, times left out. `check` does the same again, and says what differs; it also loads two of
the runs that were written before, and goes on from the checkpoint, which may be refused in words
but not misread. It uses nothing but the command line and public names, so that it moves with the
code.
"""

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import jax
import numpy as np
import numpyro
import xarray as xr

import probrev as pr

COMPARISONS = {
    "one_layer": ("n_visible=60", "n_hidden=8"),
    "layered": ("n_visible=60", "n_intermediate=20", "n_hidden=8"),
    "baby_linear": ("n_visible=40", "n_hidden=8"),
    "rbm": ("n_visible=12", "n_hidden=6"),
    "dbm": ("n_visible=12", "n_intermediate=5", "n_top=5"),
    "digits": ("source=activations",),
}
GRIDS = {
    "noise": 'model = "one_layer"\nnum_obs = 16\n[axes]\nnoise_std = [0.7, 1.4]\n'
    "[fixed]\nn_visible = 40\nn_hidden = 6\n",
    "sampled": 'model = "layered"\nposteriors = ["gibbs"]\nnum_obs = 16\n'
    "[axes]\nkeep_prob = [0.5, 1.0]\n[fixed]\nn_visible = 40\nn_intermediate = 16\nn_hidden = 6\n",
    "machines": 'model = "rbm"\nnum_obs = 16\nnum_seeds = 2\n[axes]\ncoupling = [1.0, 2.0]\n'
    "[fixed]\nn_visible = 12\nn_hidden = 6\n",
}
LOADED = ("one_layer", "rbm")
TIMES = ("seconds", "created", "versions", "command")
DIGESTS = "digests.json"


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("step", choices=("write", "check"))
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    numpyro.enable_x64()
    if arguments.step == "write":
        arguments.folder.mkdir(parents=True)
        found = measure(arguments.folder)
        begin_gibbs(arguments.folder / "gibbs.npz")
        (arguments.folder / DIGESTS).write_text(json.dumps(found, indent=1))
        print(f"{len(found)} arrays and {len(COMPARISONS)} comparisons written")
        return
    before = json.loads((arguments.folder / DIGESTS).read_text())
    with TemporaryDirectory() as scratch:
        now = measure(Path(scratch))
        checkpoint = Path(scratch, "gibbs.npz")
        shutil.copy(arguments.folder / "gibbs.npz", checkpoint)
        kept = {"checkpoint": go_on(checkpoint)}
    for name in LOADED:
        kept[f"saved run of {name}"] = load_again(arguments.folder / name / "run.nc", before, name)
    for name, wrong in kept.items():
        print(f"{name}: {wrong or 'as it was, or refused'}")
    changed = [name for name in sorted({*before, *now}) if before.get(name) != now.get(name)]
    for name in changed:
        print(f"{name}: {before.get(name, 'absent')} -> {now.get(name, 'absent')}")
    print(f"{len(changed)} of {len(before)} differ")
    sys.exit(bool(changed or any(kept.values())))


def measure(folder: Path) -> dict[str, str]:
    """Runs every command into a folder, and digests what it wrote."""
    found = {}
    for name, settings in COMPARISONS.items():
        options = [part for setting in settings for part in ("--set", setting)]
        command = ["compare", name, *options, "--num-obs", "16", "--seed", "0"]
        probrev(*command, "--out", folder / name)
        found |= digest_run(name, pr.load(folder / name / "run.nc"))
    for name, text in GRIDS.items():
        grid = folder / f"{name}.toml"
        grid.write_text(text)
        store = folder / f"{name}.zarr"
        probrev("sweep", grid, "--out", store)
        found |= dict(digest(f"sweep {name}", pr.load_sweep(store)))
    return found


def digest_run(name: str, result: pr.Comparison) -> dict[str, str]:
    """Digests of a run: of each array, of each posterior's status, and verdicts as they read."""
    found = {}
    for node in result.tree.subtree:
        path = f"{name}{node.path}"
        data = node.to_dataset()
        if node.name == "table":
            kept = np.array(["seconds" not in str(one) for one in data["metric"].to_numpy()])
            data = data.isel({data["metric"].dims[0]: kept})
        found |= dict(digest(path, data))
        for key in ("status", "status_reason", "method", "origin", "doubt", "looks"):
            if key in node.attrs:
                found[f"{path}@{key}"] = str(node.attrs[key])
    for verdict in result.verdicts:
        found[f"{name}: {verdict.inverse} against {verdict.posterior}"] = verdict.sentence
    return found


def digest(path: str, data: xr.Dataset) -> Iterator[tuple[str, str]]:
    """A digest of every array of a dataset that holds no time."""
    for name, array in {**data.data_vars, **data.coords}.items():
        if any(part in str(name) for part in TIMES):
            continue
        values = array.to_numpy()
        if values.dtype.kind in "OUT":
            values = np.array([str(one) for one in values.ravel()])
        hashed = hashlib.sha256(np.ascontiguousarray(values).tobytes()).hexdigest()[:16]
        yield f"{path}/{name}", f"{values.dtype.kind} {array.shape} {hashed}"


def load_again(path: Path, before: dict[str, str], name: str) -> str:
    """What is wrong with a run that was saved before as it is read now; nothing if refused."""
    try:
        found = digest_run(name, pr.load(path))
    except ValueError as error:
        print(f"refused: {error}")
        return ""
    return ", ".join(key for key, value in found.items() if before.get(key) != value)


def gibbs(checkpoint: Path, num_samples: int) -> pr.Posterior:
    """A short run of a small model."""
    weights = np.random.default_rng(0).normal(size=(30, 6))
    model = pr.LayeredModel(
        pr.SpikeAndSlab(6, 0.3, pr.FiniteSlab([0.5, 1.0], [0.5, 0.5])),
        [pr.Layer(weights, keep_prob=0.6, noise_std=0.8)],
    )
    obs = model.simulate(jax.random.key(0), 4)
    return pr.gibbs(
        jax.random.key(1), model, obs, num_warmup=100, num_samples=num_samples,
        checkpoint=checkpoint,
    )  # fmt: skip


def begin_gibbs(checkpoint: Path) -> None:
    """Leaves the checkpoint of 200 draws."""
    gibbs(checkpoint, 200)


def go_on(checkpoint: Path) -> str:
    """What is wrong with a run that goes on from a checkpoint; nothing if refused."""
    whole = gibbs(checkpoint.with_name("whole.npz"), 400)
    try:
        resumed = gibbs(checkpoint, 400)
    except ValueError as error:
        print(f"refused: {error}")
        return ""
    return "" if np.array_equal(resumed.draws, whole.draws) else "other draws than in one run"


def probrev(*arguments: object) -> None:
    """One command; 3 is a verdict that is none."""
    done = subprocess.run(
        ["probrev", *map(str, arguments)], capture_output=True, text=True, check=False
    )
    if done.returncode not in (0, 3):
        sys.exit(f"probrev {' '.join(map(str, arguments))}: {done.stderr}")


if __name__ == "__main__":
    # A checkpoint is told by the text of a structure, which follows the hashes of strings.
    if os.environ.get("PYTHONHASHSEED") != "0":
        os.execve(
            sys.executable, [sys.executable, *sys.argv], {**os.environ, "PYTHONHASHSEED": "0"}
        )
    main()
