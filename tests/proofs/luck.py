"""Kills and full disks at random moments: nothing finished is damaged, what resumes is the same.

    uv run python -m tests.proofs.luck kills --number 100 --log kills.jsonl
    uv run python -m tests.proofs.luck disks --number 20 --log disks.jsonl

Each job runs twice undisturbed, to the same bits; the first run fills a cache of compiled programs.
Then it is begun again and again, and killed (SIGKILL, the whole group or one of its processes)
after a random time, or given a random bound on the size of files, in place of a full disk. After
every such attempt each file that has a finished name must be whole; after four, or where one gets
through, the job runs to its end, and must give the bits of the undisturbed run. Only what was
killed, or hit its bound, counts. Prints a line for each attempt, and the counts; exits with 1 if
anything is amiss. With the same log, what was done before is not done again.
"""

import argparse
import contextlib
import hashlib
import json
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
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import psutil
import xarray as xr

import probrev as pr

ATTEMPTS = 4
PROBREV = [sys.executable, "-m", "probrev"]
SMALL = ["--set", "n_visible=40", "--set", "n_hidden=6", "--set", "max_active=2", "--num-obs", "3"]
GIBBS = """
import jax, numpy as np, numpyro, probrev as pr
from probrev.inference.gibbs import chain
numpyro.enable_x64()
chain.SECONDS_BETWEEN_CHECKPOINTS = 0.1
weights = np.random.default_rng(0).normal(size=(40, 8))
prior = pr.SpikeAndSlab(8, .3, pr.FiniteSlab([.5, 1.], [.5, .5]))
model = pr.LayeredModel(prior, [pr.Layer(weights, .5, 1.)])
obs = model.simulate(jax.random.key(0), 4)
found = pr.gibbs(jax.random.key(1), model, obs, num_samples=2000, checkpoint="gibbs.npz")
np.save("draws.npy", found.draws[:, ::5].to_numpy())
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
# What an attempt comes to, where it was disturbed, and what is counted.
HITS = ("killed", "workers killed", "full", "amiss")
TALLY = (*HITS, "ended", "damaged", "the same", "other")


def damaged(folder: Path) -> list[str]:
    """Files with finished names that are not whole."""
    bad = []
    for path in folder.rglob("*"):
        if path.name.startswith(".") or (path.is_dir() and path.suffix != ".zarr"):
            continue
        try:
            if path.suffix == ".nc":
                xr.open_datatree(path, engine="h5netcdf").load().close()
            elif path.suffix == ".npz":
                with np.load(path) as file:
                    dict(file)
            elif path.suffix == ".zarr":
                pr.load_sweep(path)
            elif path.suffix == ".html" and not path.read_text().rstrip().endswith("</html>"):
                bad.append(str(path))
        except Exception as error:
            bad.append(f"{path}: {error}")
    return bad


class Proof:
    """Attempts at jobs, and what came of them.

    Attributes:
        surroundings: environment of a run: its compiled programs, and its temporary files.
    """

    def __init__(self, what: str, seed: int, log: Path, cache: Path):
        self.what, self.seed, self.log = what, seed, log
        self.surroundings = os.environ | {
            "JAX_COMPILATION_CACHE_DIR": str(cache),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        }
        lines = log.read_text().splitlines() if log.exists() else []
        self.known = {one["key"]: one for one in map(json.loads, lines)}

    def once(self, key: str, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """What the log holds under a key; made and put there if it holds nothing."""
        if key not in self.known:
            self.known[key] = {"key": key, **make()}
            with self.log.open("a") as file:
                file.write(json.dumps(self.known[key]) + "\n")
        return self.known[key]

    def undisturbed(self, name: str) -> dict[str, Any]:
        """The digest of a job that runs to its end, its seconds, and its largest file's bytes."""
        digests, seconds, largest = [], 0.0, 0
        for _ in range(2):
            with tempfile.TemporaryDirectory() as top:
                folder = begin(Path(top))
                start = time.monotonic()
                digests.append(self.finish(JOBS[name], folder))
                seconds = time.monotonic() - start
                files = [path for path in folder.rglob("*") if path.is_file()]
                largest = max(path.stat().st_size for path in files)
        assert digests[0] == digests[1], f"{name} gives other bits when nothing disturbs it"
        return {"digest": digests[0], "seconds": seconds, "largest": largest}

    def trial(self, number: int, name: str, wanted: dict[str, Any]) -> dict[str, Any]:
        """Attempts at one job in one folder, and then the job."""
        rng, job, counts = random.Random(f"{self.seed} {number}"), JOBS[name], Counter()
        with tempfile.TemporaryDirectory() as top:
            folder = begin(Path(top))
            for _ in range(ATTEMPTS):
                if self.what == "kills":
                    kind, said = self.killed(job, folder, wanted["seconds"], rng)
                else:
                    kind, said = self.bounded(job, folder, wanted["largest"], rng)
                counts[kind] += 1
                bad = damaged(folder)
                counts["damaged"] += len(bad)
                print(f"{name}: {said}{'; DAMAGED ' if bad else ''}{bad or ''}", flush=True)
                if kind == "ended":
                    break
            found = self.finish(job, folder)
        same = found == wanted["digest"]
        counts["the same" if same else "other"] += 1
        print(f"{name}: then {'the same' if same else f'OTHER: {found}'}", flush=True)
        return {"name": name, **counts}

    def killed(self, job: Job, folder: Path, seconds: float, rng: random.Random) -> tuple[str, str]:
        """Begins a job and kills it, or one of its processes, in the course of so many seconds."""
        run = subprocess.Popen(
            job.command, cwd=folder, start_new_session=True, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=self.surroundings | {"PYTHONHASHSEED": str(rng.randrange(99))},
        )  # fmt: skip
        after, one_of_them = rng.uniform(0.2, seconds), rng.random() < 0.5
        try:
            run.wait(after)
        except subprocess.TimeoutExpired:
            workers = psutil.Process(run.pid).children(recursive=True)
            if workers and one_of_them:
                with contextlib.suppress(psutil.NoSuchProcess):
                    rng.choice(workers).kill()
                status = run.wait(600)
                return "workers killed", f"a worker killed after {after:.1f} s, exit {status}"
            os.killpg(run.pid, signal.SIGKILL)
            run.wait()
            return "killed", f"killed after {after:.1f} s"
        return "ended", f"ended before {after:.1f} s, exit {run.returncode}"

    def bounded(self, job: Job, folder: Path, largest: int, rng: random.Random) -> tuple[str, str]:
        """Runs a job that can write no file of more than a random size, up to what it needs."""
        limit = int(10 ** rng.uniform(2, np.log10(largest)))
        bound = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))  # noqa: E731
        run = subprocess.run(
            job.command, cwd=folder, capture_output=True, text=True, preexec_fn=bound, check=False,
            env=self.surroundings | {"TMPDIR": str(folder)},
        )  # fmt: skip
        last = (run.stderr.strip().splitlines() or ["nothing said"])[-1]
        said = f"{limit} bytes, exit {run.returncode}: {last[:150]}"
        if run.returncode not in (0, 2, 3) or "Traceback" in run.stderr:
            return "amiss", f"AMISS: {said}"
        return "ended" if run.returncode == 0 else "full", said

    def finish(self, job: Job, folder: Path) -> str:
        """Runs a job to its end, and gives the digest."""
        if (folder / "o" / "run.nc").exists():
            if not (folder / "o" / "report.html").exists():
                subprocess.run([*PROBREV, "report", "o/run.nc"], cwd=folder, check=True,
                               stdout=subprocess.DEVNULL)  # fmt: skip
            return job.digest(folder)
        run = subprocess.run(
            job.command, cwd=folder, capture_output=True, text=True, check=False,
            env=self.surroundings,
        )  # fmt: skip
        if run.returncode not in (0, 3):
            return f"exit {run.returncode}: {run.stderr[-300:]}"
        return job.digest(folder)

    def run(self, names: list[str], number: int) -> int:
        """Attempts until there are so many; returns how many things were amiss."""
        counts, trials = Counter(), 0
        wanted = {name: self.once(name, partial(self.undisturbed, name)) for name in names}
        while sum(counts[kind] for kind in HITS) < number:
            name = names[trials % len(names)]
            done = self.once(f"trial {trials}", partial(self.trial, trials, name, wanted[name]))
            counts.update({kind: done.get(kind, 0) for kind in TALLY})
            counts[f"trials of {name}"] += 1
            trials += 1
        print(json.dumps(counts))
        return counts["amiss"] + counts["damaged"] + counts["other"]


def begin(folder: Path) -> Path:
    """A folder in which any of the jobs can run."""
    (folder / "grid.toml").write_text(GRID)
    return folder


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("what", choices=("kills", "disks"))
    parser.add_argument("--number", type=int, default=100, help="of attempts")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--log", type=Path, default=None, help="where to go on")
    parser.add_argument("--jobs", nargs="+", choices=tuple(JOBS), default=None)
    given = parser.parse_args()
    names = given.jobs or list(JOBS if given.what == "kills" else ON_FULL_DISKS)
    with tempfile.TemporaryDirectory() as top:
        log = given.log or Path(top, "log.jsonl")
        proof = Proof(given.what, given.seed, log, log.with_suffix(".programs").absolute())
        sys.exit(bool(proof.run(names, given.number)))


if __name__ == "__main__":
    main()
