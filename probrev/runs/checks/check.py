"""The loop of a check: batches of simulations, computed by whoever is there, and the answer."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import Any, NoReturn

import jax
import jax.numpy as jnp
import xarray as xr
from jaxtyping import PRNGKeyArray

from probrev.calibration.calibration import Calibration, summarize
from probrev.calibration.quantities import OwnQuantity, check_quantities
from probrev.calibration.simulations import Method, Subject, simulate_batch
from probrev.inference.choice import infer
from probrev.inference.methods import METHODS
from probrev.inference.starts import started_at_truth
from probrev.inverses.estimates import RandomInverse
from probrev.model import door as model_door
from probrev.model.protocol import Model, method_of
from probrev.plumbing import door
from probrev.plumbing.checkpoint import fingerprint
from probrev.plumbing.progress import Progress
from probrev.plumbing.refusal import Refusal, TypeRefusal
from probrev.runs.checks import store as batches
from probrev.runs.engines import Work, check_workers, results_of
from probrev.runs.provenance import surroundings
from probrev.runs.registry import did_you_mean

NUM_SIMULATIONS = 200
# Simulations that are inferred, written and resumed together.
BATCH_SIZE = 50
# Settings of a method besides its defaults.
SETTINGS = {"gibbs": {"keep_layers": True}}
# With fewer there is nothing to test.
FEWEST = 2


@dataclass(frozen=True)
class Check:
    """What to compute: a number of simulations, in batches that depend on their number alone.

    Attributes:
        subject_of: makes what is checked; workers get it pickled and call it for each batch.
        key_data: of the random key.
        num_simulations: in all.
        batch_size: in each batch; the last may have fewer.
    """

    subject_of: Callable[[], Subject]
    key_data: tuple[int, ...]
    num_simulations: int
    batch_size: int

    def __post_init__(self):
        if self.num_simulations < FEWEST:
            raise Refusal(f"num_simulations must be at least {FEWEST}; got {self.num_simulations}")

    @property
    def num_batches(self) -> int:
        """Batches in all."""
        return -(-self.num_simulations // self.batch_size)

    def compute(self, batch: int) -> xr.Dataset:
        """The batch of that number; the first compares starts too."""
        key = jax.random.wrap_key_data(jnp.asarray(self.key_data, dtype=jnp.uint32))
        size = min(self.batch_size, self.num_simulations - batch * self.batch_size)
        key = jax.random.fold_in(key, batch)
        return simulate_batch(self.subject_of(), key, size, with_starts=batch == 0)


def _method(name: str, value: Any) -> None:
    """A method by name, or a function."""
    if not isinstance(value, str) and not callable(value):
        raise TypeRefusal(
            f"{name} must be the name of a method, or a function (key, model, obs) that returns a "
            f"posterior; got {door.shown(value)}"
        )


@door.guard(
    key=door.random_key,
    model=model_door.model,
    method=_method,
    num_simulations=door.count(2),
    simulate_from=door.optional(model_door.model),
    quantities=door.by_name(door.anything),
    random_inverses=door.by_name(door.function),
    store=door.optional(door.path),
    workers=door.optional(door.count()),
    progress=door.optional(door.function),
)
def check_calibration(
    key: PRNGKeyArray,
    model: Model,
    method: str | Method,
    *,
    num_simulations: int = NUM_SIMULATIONS,
    simulate_from: Model | None = None,
    from_truth: Method | None = None,
    quantities: Mapping[str, OwnQuantity] = MappingProxyType({}),
    random_inverses: Mapping[str, RandomInverse] = MappingProxyType({}),
    store: str | Path | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Calibration:
    """Simulation-based calibration of a model and a method.

    Draws h from the prior and x from p(x | h), many times; has the method infer h from x, blind to
    what made it; and ranks the h that made x among the draws, in every quantity of
    `quantities.measure_quantities`. Under a right method ranks are uniform: they reject it with
    probability 1e-3, all quantities together. With `from_truth`, chains that start at the h that
    made x are held against blind ones too, for 32 simulations, by `measure_agreement` at its own
    level: what is stuck in a wrong mode agrees with itself, but not with them.

    Ranks cannot see a method that ignores x and returns the prior, but in quantities that know x.

    Args:
        key: random key.
        model: the model of the posteriors.
        method: name of a method, at its default settings, or a function (key, model, obs) that
            returns the posterior of all these observations; it gets x alone.
        num_simulations: how many. Scale and location that are wrong by a factor f, or by d
            standard deviations, take about 15 / log(f)² and 30 / d² of them.
        simulate_from: the model that h and x are drawn from, where it is not `model`: a fault that
            the check should find.
        from_truth: as `method`, but its chains start at `obs.h` (and `obs.sites`,
            `obs.intermediates`); of "gibbs" by default itself, started there.
        quantities: further ones by name, each a function of (h, x) or (h, x, sites) that gets all
            h of one x: h (draw, hidden), x (1, visible), a dict of sites (draw, ...), and returns
            (draw,).
        random_inverses: by name, callables (x, key) -> h, such as a net with its dropout: whether
            they are samplers of the posterior, by ranks of distances from a random draw and from
            the posterior mean (TARP). They do not enter the verdict.
        store: folder to keep batches in. The same call goes on there, killed at any moment, and
            gives what an uninterrupted one gives, bit for bit with as many threads a worker. Of
            functions only names are compared, of their models everything.
        workers: number of worker processes, which share the processors; by default this process
            computes. Needs the extra `sweep`, and what is checked must be picklable.
        progress: told the number of batches of 50 simulations done and of all.

    Raises:
        ValueError: the model cannot be simulated from, the method refuses it, there is no method
            of that name, or the store holds another check.
        TypeError: what is called is no function, or does not return what it must.

    Source: Talts, Betancourt, Simpson, Vehtari and Gelman 2018; see `measure_quantities`.
    """
    check_quantities(quantities)
    run = named_method(method) if isinstance(method, str) else method
    for name, one in (("method", run), ("from_truth", from_truth)):
        if one is not None and not callable(one):
            raise TypeRefusal(
                f"{name} must be a function (key, model, obs) that returns a posterior; got "
                f"{type(one).__name__}"
            )
    source = model if simulate_from is None else simulate_from
    method_of(source, "simulate")
    for name in ("n_visible", "n_hidden"):
        if getattr(source, name) != getattr(model, name):
            raise Refusal(
                f"simulate_from has {name} = {getattr(source, name)}, model "
                f"{getattr(model, name)}: they must be models of the same x and h"
            )
    if from_truth is None and isinstance(method, str):
        from_truth = started_at_truth(method, **SETTINGS.get(method, {}))
    subject = Subject(model, run, source, from_truth, quantities, random_inverses)
    check = Check(partial(_same, subject), key_numbers(key), num_simulations, BATCH_SIZE)
    identity = {
        "key": check.key_data,
        "num_simulations": num_simulations,
        "model": fingerprint(model),
        "simulate_from": fingerprint(source),
        "method": method if isinstance(method, str) else _name(method),
        "from_truth": None if from_truth is None else _name(from_truth),
        "quantities": list(quantities),
        "random_inverses": list(random_inverses),
        "x64": bool(jax.config.jax_enable_x64),
    }
    return run_check(check, identity, {}, store=store, workers=workers, progress=progress)


def named_method(method: str) -> Method:
    """The method of that name, of all observations, its other settings as they are by default.

    Raises:
        ValueError: there is none.
    """
    if method not in METHODS:
        raise Refusal(
            f"unknown method {method!r}{did_you_mean(method, METHODS)}; expected one of "
            f"{', '.join(METHODS)}, or a function (key, model, obs) that returns a posterior"
        )
    return partial(infer, method, **SETTINGS.get(method, {}))


def run_check(
    check: Check,
    identity: Mapping[str, Any],
    provenance: Mapping[str, Any],
    *,
    store: str | Path | None,
    workers: int | None,
    progress: Progress | None,
) -> Calibration:
    """Computes what is left to do of a check, and gives the answer.

    Args:
        check: what to compute.
        identity: what its results depend on, to tell whether a store is of the same.
        provenance: what more is known of it.
        store: folder of its batches; by default they are not kept.
        workers: worker processes; by default this one.
        progress: told the number of batches done and of all.

    Raises:
        ValueError: see `check_calibration`.
    """
    check_workers(workers)
    report = progress or (lambda done, total: None)
    with TemporaryDirectory() as temporary:
        folder = temporary if store is None else store
        batches.prepare(folder, dict(identity))
        left = batches.unfinished(folder, check.num_batches)
        done = check.num_batches - len(left)
        report(done, check.num_batches)
        if left:
            with results_of(Work(check.compute, _lost), left, workers) as results:
                for batch, found in results:
                    batches.write_batch(folder, batch, found)
                    done += 1
                    report(done, check.num_batches)
        every = [batches.read_batch(folder, batch) for batch in range(check.num_batches)]
    return summarize(every, {**identity, **provenance, **surroundings()})


def _same(subject: Subject) -> Subject:
    return subject


def _lost(batch: int, reason: str) -> NoReturn:
    raise Refusal(f"batch {batch} could not be computed: {reason}")


def key_numbers(key: PRNGKeyArray) -> tuple[int, ...]:
    """A key as a `Check` holds it."""
    return tuple(jax.random.key_data(key).tolist())


def _name(function: Any) -> str:
    """A function's name, and with which arguments where it is a partial of one."""
    if isinstance(function, partial):
        settings = ", ".join(f"{name}={value!r}" for name, value in function.keywords.items())
        return f"{_name(function.func)}({settings})"
    name = getattr(function, "__qualname__", type(function).__qualname__)
    return f"{getattr(function, '__module__', '')}.{name}"
