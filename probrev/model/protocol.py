"""What any model of x and h is."""

from collections.abc import Callable
from typing import Any, Protocol

import jax
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from probrev.model.observations import Observations
from probrev.plumbing.pytree import is_concrete
from probrev.plumbing.refusal import Refusal, TypeRefusal

# Draws taken to average over a model: one number everywhere, so that it is compiled once.
NUM_SIMULATED = 4096


class States(Protocol):
    """A numbered list of states: `FiniteStates`, or simply an array (num_states, n_hidden)."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: Int[Array, " state"], /) -> Float[Array, "state hidden"]: ...


class Model(Protocol):
    """A model of x and h: two widths, and whatever else it can do.

    A method asks for what it needs, and says so where a model does not have it: a member that is
    absent and one that raises ValueError are the same. Models are passed to compiled functions, so
    they are pytrees: a NamedTuple of arrays, or a class with `probrev.pytree` above it.

    The law of x and h. Densities broadcast over leading axes, h (..., n_hidden), x (...,
    n_visible); h may be negative.

    - `program(x)`: the NumPyro program of one observation, x given or None, with a site `h`. `hmc`
      runs it.
    - `simulate(key, num_obs) -> Observations`: draws h and x. The command line needs it, unless a
      file has observations of its own.
    - `states()`: every h of positive probability, a `FiniteStates` or an array (state, hidden), and
      `log_joint(h, x)`: log p(h, x) up to a constant. `exact` sums over them;
      `log_joint_table(h, x)`, (state, obs), may be quicker.
    - `log_likelihood(h, x)`: log p(x | h), and `pointwise_log_likelihood(h, x)` that of each row,
      (..., n_visible). `generate(key, h)`: draws x given h.
      `visible_mean(h)`: E[x | h]. Metrics that need one are left out without it.

    What it says besides.

    - `check(obs)` raises ValueError for observations that it cannot have made; without it only
      shapes are checked.
    - `check_draws(h)` raises ValueError for draws of h that it cannot have, and returns what is odd
      about those that it can, or an empty string.
    - `setting`: in words, what a verdict holds for.

    What it brings for a method.

    - `gibbs_sweep() -> Sweep`, `exact_plan() -> ExactPlan`, for `gibbs` and `exact`.
    - `log_evidence_estimator()`: what does `estimate_log_evidence`, called alike.
    - `sampled_program()`: the program for `hmc`, where it is not `program`.
    - `rungs()` and `samplers()`: a dict by name, lowest first, of functions of a random key that
      build an inverse or a random one.
    - `noise_curve(key)`: a Dataset as `theory.curve.noise_curve` describes it.

    A subclass that overrides part of the law does not have what its base brings: it brings its own.
    """

    @property
    def n_visible(self) -> int:
        """Length of x."""
        ...

    @property
    def n_hidden(self) -> int:
        """Length of h."""
        ...


# What of a model is its law.
DENSITIES = ("log_joint", "log_likelihood", "log_joint_table")
LAW = ("program", "simulate", "generate", "states", *DENSITIES)


def method_of(model: Model, name: str) -> Callable[..., Any]:
    """A method of a model.

    Raises:
        ValueError: it has none of that name.
    """
    found = getattr(model, name, None)
    if found is None:
        raise Refusal(f"{type(model).__name__} has no method {name}")
    return found


def has_answer(model: Model, name: str, *args: Any) -> bool:
    """Whether a model has a method and it takes these arguments; nothing is computed."""
    try:
        jax.eval_shape(method_of(model, name), *args)
    except ValueError:
        return False
    return True


def simulate(model: Model, key: PRNGKeyArray, num_obs: int) -> Observations:
    """Draws of h and x, marked as the model's.

    Raises:
        ValueError: the model has no `simulate`.
        TypeError: it returns something else.
    """
    obs = method_of(model, "simulate")(key, num_obs)
    if not isinstance(obs, Observations):
        raise TypeRefusal(f"simulate must return probrev.Observations; got {type(obs).__name__}")
    return obs.simulated_by(model)


def check_obs(model: Model, obs: Observations) -> None:
    """Raises ValueError for observations that a model cannot have made, as far as it says."""
    check = getattr(model, "check", None)
    if check is None:
        check_shape(model, obs)
    else:
        check(obs)


def check_pytree(model: Model) -> None:
    """Raises ValueError unless the model can be passed to compiled functions."""
    if not is_concrete(model):
        raise Refusal(
            f"{type(model).__name__} is no JAX pytree of arrays: make it a NamedTuple, or put "
            "@probrev.pytree(data=(...)) above the class, with the names of its fields"
        )


def check_shape(model: Model, obs: Observations) -> None:
    """Raises ValueError unless x is finite and as wide as the model (and h, where there is one)."""
    for name, value, width in (("x", obs.x, model.n_visible), ("h", obs.h, model.n_hidden)):
        if value is None:
            continue
        if value.shape[-1] != width:
            raise Refusal(
                f"{name} has {value.shape[-1]} columns, but the model has {width}; "
                f"{name} must have shape (num_obs, {width})"
            )
        bad = np.flatnonzero(~np.isfinite(np.asarray(value)).all(-1))
        if bad.size:
            raise Refusal(
                f"{name} must be finite; got NaN or infinity in observation {bad[0]}"
                + (f" and {bad.size - 1} more" if bad.size > 1 else "")
            )
