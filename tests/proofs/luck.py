"""Kills and full disks at random moments: nothing finished is damaged, what resumes is the same.

    uv run python -m tests.proofs.luck kills --number 100
    uv run python -m tests.proofs.luck disks --number 20

Each job runs once undisturbed. Then it is begun again and again, and killed (SIGKILL, the whole
group or one of its processes) after a random time, or given a random bound on the size of files, in
place of a full disk. After every such attempt each file that has a finished name must be whole;
after three, or where one gets through, the job runs to its end, and must give the bits of the
undisturbed run. Prints a line for each attempt, and the counts; exits with 1 if anything is amiss.
"""

import argparse
import contextlib
import hashlib
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import psutil
import xarray as xr

import probrev as pr

ATTEMPTS = 3
PROBREV = [sys.executable, "-m", "probrev"]
SMALL = ["--set", "n_visible=40", "--set", "n_hidden=6", "--set", "max_active=2", "--num-obs", "3"]
GIBBS = """
import jax, numpy as np, numpyro, probrev as pr
from probrev.inference.gibbs import chain
numpyro.enable_x64()
chain.SECONDS_BETWEEN_CHECKPOINTS = 0.3
weights = np.random.default_rng(0).normal(size=(40, 8))
prior = pr.SpikeAndSlab(8, .3, pr.FiniteSlab([.5, 1.], [.5, .5]))
model = pr.LayeredModel(prior, [pr.Layer(weights, .5, 1.)])
obs = model.simulate(jax.random.key(0), 4)
found = pr.gibbs(jax.random.key(1), model, obs, num_samples=6000, checkpoint="gibbs.npz")
np.save("draws.npy", found.draws[:, ::15].to_numpy())
"""
SHADOW = """
import jax, numpy as np, probrev as pr
rng = np.random.default_rng(0)
images = rng.uniform(size=(400, 30)).astype(np.float32)
labels = (images[:, :15].sum(1) > images[:, 15:].sum(1)).astype(int)
found = pr.train_classifier(
    jax.random.key(0), images, labels, pr.Recipe(hidden=(20,), num_epochs=60),
    shadow=pr.Shadow(0.1), num_checks=30, checkpoint="shadow.npz",
)
np.save("net.npy", np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(found.net)]))
"""
GRID = """
model = "one_layer"
posteriors = ["exact"]
inverses = ["universal"]
num_seeds = 3
num_obs = 4
batch_size = 1
axes = { noise_std = [0.7, 1.4] }
fixed = { n_visible = 40, n_hidden = 6, max_active = 2 }
"""


class Job(NamedTuple):
    """A command, and the digest of what it has made in its folder."""

    command: list[str]
    digest: Callable[[Path], str]


def digest_of(*arrays: object) -> str:
    """SHA-256 of numbers and texts."""
    return hashlib.sha256(b"".join(np.asarray(one).tobytes() for one in arrays)).hexdigest()[:12]


def of_run(folder: Path) -> str:
    """Of a comparison: the draws, and the table but for what was timed."""
    result = pr.load(folder / "o" / "run.nc")
    table = result.table()
    table = table.loc[~table["metric"].str.contains("second")]
    text = table.to_csv(float_format="%.17g", index=False)
    return digest_of(result.posteriors["gibbs"].draws, np.array(text))


def of_sweep(folder: Path) -> str:
    """Of a sweep: everything but times."""
    found = pr.load_sweep(folder / "s.zarr")
    names = sorted(str(name) for name in found if "seconds" not in str(name))
    return digest_of(*(np.array(repr(found[name].to_numpy().tolist())) for name in names))


def of_array(name: str) -> Callable[[Path], str]:
    """Of an array in a .npy file."""
    return lambda folder: digest_of(np.load(folder / name))


SWEEP = [*PROBREV, "sweep", "grid.toml", "--out", "s.zarr"]
JOBS = {
    "compare": Job(
        [*PROBREV, "compare", "one_layer", *SMALL, "--posterior", "gibbs", "--inverse",
         "universal", "--out", "o"], of_run,
    ),
    "gibbs": Job([sys.executable, "-c", GIBBS], of_array("draws.npy")),
    "shadow": Job([sys.executable, "-c", SHADOW], of_array("net.npy")),
    "sweep": Job(SWEEP, of_sweep),
    "workers": Job([*SWEEP, "--workers", "2"], of_sweep),
}  # fmt: skip
ON_FULL_DISKS = ("compare", "sweep")


def damaged(folder: Path) -> list[str]:
    """Files with finished names that are not whole."""
    bad = []
    for path in folder.rglob("*"):
        if path.name.startswith(".") or not path.is_file():
            continue
        try:
            if path.suffix == ".nc":
                xr.open_datatree(path, engine="h5netcdf").load().close()
            elif path.suffix == ".npz":
                with np.load(path) as file:
                    dict(file)
            elif path.suffix == ".html" and not path.read_text().rstrip().endswith("</html>"):
                bad.append(str(path))
        except Exception as error:
            bad.append(f"{path}: {error}")
    return bad


def killed(job: Job, folder: Path, seconds: float, rng: random.Random) -> str:
    """Begins a job and kills it, or one of its processes, in the course of so many seconds."""
    run = subprocess.Popen(
        job.command, cwd=folder, start_new_session=True, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL, env=os.environ | {"PYTHONHASHSEED": str(rng.randrange(99))},
    )  # fmt: skip
    after = rng.uniform(0.2, seconds)
    try:
        run.wait(after)
    except subprocess.TimeoutExpired:
        workers = psutil.Process(run.pid).children(recursive=True)
        if workers and rng.random() < 0.5:
            victim = rng.choice(workers)
            with contextlib.suppress(psutil.NoSuchProcess):
                victim.kill()
            status = run.wait(600)
            return f"a worker killed after {after:.1f} s, exit {status}"
        os.killpg(run.pid, signal.SIGKILL)
        run.wait()
        return f"killed after {after:.1f} s"
    return f"ended before {after:.1f} s, exit {run.returncode}"


def bounded(job: Job, folder: Path, largest: int, rng: random.Random) -> str:
    """Runs a job that can write no file of more than a random size, up to the largest it needs."""
    limit = int(10 ** rng.uniform(2, np.log10(largest)))
    bound = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))  # noqa: E731
    run = subprocess.run(
        job.command, cwd=folder, capture_output=True, text=True, preexec_fn=bound, check=False
    )
    last = (run.stderr.strip().splitlines() or ["nothing said"])[-1]
    amiss = run.returncode not in (0, 2, 3) or "Traceback" in run.stderr
    return f"{'AMISS: ' if amiss else ''}{limit} bytes, exit {run.returncode}: {last[:150]}"


def finish(job: Job, folder: Path) -> str:
    """Runs a job to its end, and gives the digest."""
    if (folder / "o" / "run.nc").exists():
        if not (folder / "o" / "report.html").exists():
            subprocess.run([*PROBREV, "report", "o/run.nc"], cwd=folder, check=True,
                           stdout=subprocess.DEVNULL)  # fmt: skip
        return job.digest(folder)
    run = subprocess.run(job.command, cwd=folder, capture_output=True, text=True, check=False)
    if run.returncode not in (0, 3):
        return f"exit {run.returncode}: {run.stderr[-300:]}"
    return job.digest(folder)


def prove(what: str, names: list[str], number: int, seed: int) -> int:
    """Attempts until there are so many; returns how many things were amiss."""
    rng, counts = random.Random(seed), Counter()
    wanted = {}
    with tempfile.TemporaryDirectory() as top:
        for name in names:
            folder = Path(top, name)
            folder.mkdir()
            (folder / "grid.toml").write_text(GRID)
            start = time.monotonic()
            digest = finish(JOBS[name], folder)
            sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
            wanted[name] = digest, time.monotonic() - start, max(sizes)
            print(f"{name}: undisturbed {wanted[name]}", flush=True)
    while counts["attempts"] < number:
        name = names[counts["trials"] % len(names)]
        job, (digest, seconds, largest) = JOBS[name], wanted[name]
        counts["trials"] += 1
        with tempfile.TemporaryDirectory() as top:
            folder = Path(top)
            (folder / "grid.toml").write_text(GRID)
            for _ in range(ATTEMPTS):
                counts["attempts"] += 1
                if what == "kills":
                    said = killed(job, folder, seconds, rng)
                else:
                    said = bounded(job, folder, largest, rng)
                counts["amiss"] += said.startswith("AMISS")
                bad = damaged(folder)
                counts["damaged"] += len(bad)
                print(f"{name}: {said}{'; DAMAGED ' if bad else ''}{bad or ''}", flush=True)
                if said.startswith("ended"):
                    break
            found = finish(job, folder)
            counts["same" if found == digest else "other"] += 1
            print(
                f"{name}: then {'the same' if found == digest else f'OTHER: {found}'}", flush=True
            )
    print(dict(counts))
    return counts["amiss"] + counts["damaged"] + counts["other"]


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("what", choices=("kills", "disks"))
    parser.add_argument("--number", type=int, default=100, help="of attempts")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", nargs="+", choices=tuple(JOBS), default=None)
    given = parser.parse_args()
    names = given.jobs or list(JOBS if given.what == "kills" else ON_FULL_DISKS)
    sys.exit(bool(prove(given.what, names, given.number, given.seed)))


if __name__ == "__main__":
    main()
