"""The models of a comparison: kept with the run as data, and known again only if they are the same.

A model of built-in kinds is made again from its numbers. One with functions in it, or of a class of
one's own, is not: it is known by its class, its numbers and the observations that it simulates.
"""

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from probrev.model.observations import same_numbers
from probrev.model.protocol import simulate
from probrev.model.stored import Parts, digest, put_together, take_apart
from probrev.plumbing.refusal import Refusal

# The group that has them in a saved run.
MODELS = "models"
# Observations that tell two models with the same numbers apart, of the same key.
NUM_PROBES = 4
PROBE_TOLERANCE = 1e-6


class Models(NamedTuple):
    """What a comparison knows of its models.

    Attributes:
        of_x: the model of x; None where it is not known.
        of_posteriors: what each posterior was computed under, by its name.
        why_unknown: why any of them is not known; empty where all are.
    """

    of_x: Any = None
    of_posteriors: Mapping[str, Any] = MappingProxyType({})
    why_unknown: str = ""


class Record(NamedTuple):
    """A model as a run keeps it.

    Attributes:
        kind: name of its class.
        digest: of its numbers, and of its structure where it has one.
        structure: what it is made of; None where that cannot be stored.
        why: why it cannot; empty where it can.
        arrays: names of its arrays in the group, by the names that the structure has for them.
        probe: name of the array of what it simulates; empty where it does not, or is stored.
    """

    kind: str
    digest: str
    structure: Any
    why: str
    arrays: dict[str, str]
    probe: str


def tabulate_models(models: Models) -> xr.Dataset:
    """The group `models`: each different model once.

    Arrays that several share are there once. Attributes: `records`, JSON of each `Record`; `of_x`
    and `of_posteriors`, which of them is whose; `wide`, whether numbers had 64 bits.
    """
    distinct: list[Any] = []
    arrays: dict[str, np.ndarray] = {}

    def place(model: Any) -> int:
        for number, known in enumerate(distinct):
            if same_numbers(known, model):
                return number
        distinct.append(model)
        return len(distinct) - 1

    whose = {"of_x": place(models.of_x)}
    of_posteriors = {name: place(model) for name, model in models.of_posteriors.items()}
    records = [_record(model, arrays) for model in distinct]
    table = {
        name: (tuple(f"{name}_dim_{axis}" for axis in range(array.ndim)), array)
        for name, array in arrays.items()
    }
    attrs = {
        "records": json.dumps([one._asdict() for one in records]),
        "of_posteriors": json.dumps(of_posteriors),
        "wide": int(_is_wide()),
        **whose,
    }
    return xr.Dataset(table, attrs=attrs)


def _record(model: Any, arrays: dict[str, np.ndarray]) -> Record:
    """A model's record; its arrays are put among the others."""
    kind = type(model).__qualname__
    try:
        parts = take_apart(model)
    except ValueError as error:
        probe = _probe(model)
        name = "" if probe is None else _keep(probe, arrays)
        return Record(kind, digest(Parts(kind, {}), model), None, str(error), {}, name)
    names = {name: _keep(array, arrays) for name, array in parts.arrays.items()}
    return Record(kind, digest(parts, model), parts.structure, "", names, "")


def _keep(array: np.ndarray, arrays: dict[str, np.ndarray]) -> str:
    """The name under which an array is kept, which is that of an equal one."""
    for name, known in arrays.items():
        if known.dtype == array.dtype and np.array_equal(known, array):
            return name
    name = f"array_{len(arrays)}"
    arrays[name] = array
    return name


def _is_wide() -> bool:
    """Whether JAX's numbers have 64 bits."""
    return jnp.result_type(float) == np.float64


def _probe(model: Any) -> np.ndarray | None:
    """What a model simulates for one key: its functions, as numbers."""
    try:
        made = simulate(model, jax.random.key(0), NUM_PROBES)
    except (ValueError, TypeError, NotImplementedError):
        return None
    parts = [made.x, *([] if made.h is None else [made.h])]
    return np.concatenate([np.asarray(part, float).ravel() for part in parts])


class StoredModels:
    """The models of a saved run, which become known one by one.

    Args:
        group: what `tabulate_models` made of them.

    Attributes:
        is_too_wide: whether they have 64 bits and JAX has 32, so that none is what it was.
    """

    def __init__(self, group: xr.Dataset):
        self._group = group
        self._records = [Record(**one) for one in json.loads(group.attrs["records"])]
        self._known: dict[int, Any] = {}
        self._why = {number: one.why for number, one in enumerate(self._records)}
        self.is_too_wide = bool(group.attrs["wide"]) and not _is_wide()
        if self.is_too_wide:
            self._why = dict.fromkeys(
                self._why, "its numbers have 64 bits: call numpyro.enable_x64() before pr.load"
            )
            return
        for number, record in enumerate(self._records):
            if record.structure is not None:
                self._rebuild(number, record)

    @property
    def unknown(self) -> list[int]:
        """Numbers of the models that are not known."""
        return [number for number in range(len(self._records)) if number not in self._known]

    def number_of(self, posterior: str | None = None) -> int:
        """Number of a posterior's model, or of that of x."""
        if posterior is None:
            return int(self._group.attrs["of_x"])
        return json.loads(self._group.attrs["of_posteriors"])[posterior]

    def offer(self, number: int, model: Any) -> None:
        """Takes an object for a model of the run, if it is the same.

        Raises:
            ValueError: it differs; says in what.
        """
        different = self._difference(self._records[number], model)
        if different:
            raise Refusal(different)
        self._known[number] = model

    def explain(self, number: int, why: str) -> None:
        """Says why a model is not known, after what was said before."""
        self._why[number] = "; ".join(filter(None, (self._why[number], why)))

    def models(self) -> Models:
        """What is known by now."""
        names = json.loads(self._group.attrs["of_posteriors"])
        why = [f"{self._records[number].kind}: {self._why[number]}" for number in self.unknown]
        return Models(
            self._known.get(self.number_of()),
            {name: self._known.get(number) for name, number in names.items()},
            "; ".join(why),
        )

    def _rebuild(self, number: int, record: Record) -> None:
        """Makes a model again from its numbers, and believes it only if all of them are there."""
        arrays = {name: self._group[kept].to_numpy() for name, kept in record.arrays.items()}
        try:
            self.offer(number, put_together(Parts(record.structure, arrays)))
        except ValueError as error:
            self._why[number] = str(error)

    def _difference(self, record: Record, model: Any) -> str:
        """In what an object differs from a model of the run; empty if in nothing."""
        own = _record(model, {})
        if own.kind != record.kind:
            return f"the run's model is a {record.kind}, and this is a {own.kind}"
        if own.digest != record.digest or bool(own.why) != bool(record.why):
            return f"this {own.kind} has other numbers, or other parts, than the run's"
        probe = _probe(model) if record.probe else None
        if probe is None:
            return "" if not record.probe else f"this {own.kind} does not simulate"
        known = self._group[record.probe].to_numpy()
        if known.shape == probe.shape and np.allclose(probe, known, PROBE_TOLERANCE, 0):
            return ""
        return (
            f"this {own.kind} does not simulate what the run's did, with the same numbers: its "
            "functions are others, or this version of JAX draws otherwise"
        )
