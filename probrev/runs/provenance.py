"""Where a run comes from: everything that is needed to repeat it."""

import hashlib
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from probrev.plumbing.surroundings import surroundings


def provenance(
    *,
    model: str,
    source: str,
    parameters: Mapping[str, Any],
    seed: int,
    command: Sequence[str],
    methods: Mapping[str, str],
) -> dict[str, Any]:
    """A record that is JSON: text, numbers, lists and tables of them.

    Args:
        model: the model as the user named it: a name, or the path that was given.
        source: text of the model file.
        parameters: every argument of the model's `build`, defaults too; an array is recorded by
            its shape, type and SHA-256.
        seed: the run's random seed.
        command: words of the command that repeats the run.
        methods: inference methods, each with the reason for it.

    Returns:
        `command` (one line for a shell), `methods`, `seed`, `model`, `parameters`, `model_source`,
        and of `surroundings` `created` (UTC, ISO 8601), `versions` (by package), `platform`,
        `device` and `num_cpus`.
    """
    return {
        "command": shlex.join(command),
        "methods": dict(methods),
        "seed": seed,
        "model": model,
        "parameters": {name: _as_json(value) for name, value in parameters.items()},
        "model_source": source,
        **surroundings(),
    }


def is_of_command(known: Mapping[str, Any]) -> bool:
    """Whether a record is of a run of `probrev compare`, and not of one made in Python."""
    command = known.get("command")
    if not isinstance(command, str) or not isinstance(known.get("seed"), int):
        return False
    return command.split()[:2] == ["probrev", "compare"]


def _as_json(value: Any) -> Any:
    """A parameter as JSON can hold it: an array by its hash, what JSON has no word for as text."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, tuple | list):
        return [_as_json(item) for item in value]
    if np.ndim(value) == 0 and isinstance(value, np.generic | np.ndarray | jax.Array):
        return np.asarray(value).item()
    if isinstance(value, np.ndarray | jax.Array):
        array = np.ascontiguousarray(value)
        digest = hashlib.sha256(array.tobytes()).hexdigest()
        return {"shape": list(array.shape), "dtype": str(array.dtype), "sha256": digest}
    return str(value)
