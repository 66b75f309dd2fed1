"""A program's own sites: what they are called, their dims, and the density of each."""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpyro
from jaxtyping import Array, Float

from probrev.model.priors import is_sparse, own_sites
from probrev.plumbing.refusal import Refusal

# Vectors between x and h, which posteriors have beside the program's own sites.
_BETWEEN = re.compile(r"h_\d+")
# Names that posteriors, and programs of layers, have for something else.
_TAKEN = re.compile(r"chain|draw|obs|hidden|visible|x|(h|hidden|mask|noise)_\d+")


class _Plate(NamedTuple):
    """A plate that a site stands in: its name, which axis of the site it is, and its size."""

    name: str
    axis: int
    size: int


class _Found(NamedTuple):
    """A site as its program has it."""

    shape: tuple[int, ...]
    plates: tuple[_Plate, ...]


def check_site_names(names: Iterable[str]) -> None:
    """Raises ValueError for a site with a name that stands for something else in a posterior."""
    for name in names:
        if _TAKEN.fullmatch(name):
            raise Refusal(
                f"a program has a site {name!r}, which is the name of something else in a "
                "posterior: chain, draw, obs, hidden and visible are dims, x what is observed, "
                "h_1, h_2, ... vectors between x and h, with masks and noise: call it otherwise"
            )


def site_dims(program: Callable[..., Any], *args: Any) -> dict[str, tuple[str, ...]]:
    """Names of the dims of a program's own sites, by site; nothing is computed.

    A plate's name is the name of its dim; the plate `hidden`, of as many as h has units, is that
    of h. Axes in no plate, and in one whose name stands for something else, are
    `<site>_dim_<axis>`.

    Args:
        program: a NumPyro program with a site `h`, or one that returns h: a prior, say.
        *args: its arguments.

    Returns:
        A dict of all that it draws or names, in its order, but for h, for vectors between x and h,
        for what is observed, and for sites of probrev's own.

    Raises:
        ValueError: the name of a site stands for something else in a posterior.
    """
    found: dict[str, _Found] = {}
    widths: list[int] = []

    def look(*args: Any) -> None:
        with (
            numpyro.handlers.block(),
            numpyro.handlers.trace() as trace,
            numpyro.handlers.seed(rng_seed=0),
        ):
            returned = program(*args)
        h = trace["h"]["value"] if "h" in trace else returned
        widths.append(jnp.shape(h)[-1])
        names = [name for name in own_sites(trace) if not _BETWEEN.fullmatch(name)]
        found.update({name: _find(trace[name]) for name in names})

    jax.eval_shape(look, *args)
    check_site_names(found)
    sizes: dict[str, set[int]] = {"hidden": set(widths)}
    for site in found.values():
        for plate in site.plates:
            sizes.setdefault(plate.name, set()).add(plate.size)
    free = {name for name in sizes if name == "hidden" or not _TAKEN.fullmatch(name)}
    dims = {name for name in free - found.keys() if len(sizes[name]) == 1}
    return {name: _name_axes(name, site, dims) for name, site in found.items()}


def _find(site: Mapping[str, Any]) -> _Found:
    shape, frames = jnp.shape(site["value"]), site["cond_indep_stack"]
    # A plate counts its axis from the end of those that are in plates.
    rank = max((-frame.dim for frame in frames), default=0)
    if site["type"] == "sample":
        rank = len(shape) - site["fn"].event_dim
    plates = (_Plate(frame.name, rank + frame.dim, frame.size) for frame in frames)
    inside = (plate for plate in plates if 0 <= plate.axis < len(shape))
    return _Found(shape, tuple(one for one in inside if shape[one.axis] == one.size))


def _name_axes(name: str, site: _Found, dims: set[str]) -> tuple[str, ...]:
    known = {plate.axis: plate.name for plate in site.plates if plate.name in dims}
    return tuple(known.get(axis, f"{name}_dim_{axis}") for axis in range(len(site.shape)))


def prior_program(model: Any) -> Callable[[], Any]:
    """The program that draws h and what it depends on, with h a site that has a density.

    It is the model's prior; of a model without one its program, x not given.

    Raises:
        ValueError: it has neither.
    """
    prior: Any = getattr(model, "prior", None)
    program = getattr(model, "program", None)
    if prior is not None:
        return (lambda: numpyro.sample("h", prior)) if is_sparse(prior) else prior
    if program is None:
        raise Refusal(f"{type(model).__name__} has neither a prior nor a program: no density of h")
    return program


def log_densities(
    program: Callable[..., Any], values: Mapping[str, Array], *args: Any
) -> dict[str, Float[Array, "*shape"]]:
    """Log densities of what a program draws, and is given, each given the sites before it.

    Args:
        program: a NumPyro program.
        values: one draw of its sites, by name; deterministic ones too, which are then taken as
            they are.
        *args: its arguments.

    Returns:
        By site, over its plates; sites whose draws are not there are left out.

    Raises:
        ValueError: the program weighs by a factor, which has no site of its own.
    """
    trace = _given(program, values, *args)
    drawn = {name: site for name, site in trace.items() if site["type"] == "sample"}
    factors = [name for name, site in drawn.items() if _is_factor(site)]
    if factors:
        raise Refusal(
            f"the program weighs by a factor, {factors[0]!r}: its sites have no densities"
        )
    return {
        name: site["fn"].log_prob(site["value"])
        for name, site in drawn.items()
        if name in values or site["is_observed"]
    }


def missing_sites(
    program: Callable[..., Any], values: Mapping[str, Array], *args: Any, below_h: bool = False
) -> list[str]:
    """What a program draws that is neither among some values nor observed; nothing is computed.

    Args:
        program: a NumPyro program.
        values: one draw of its sites, by name.
        *args: its arguments.
        below_h: leave out what h is made of where h itself is among the values.
    """
    missing: list[str] = []

    def look(values: Mapping[str, Array], *args: Any) -> None:
        trace = _given(program, values, *args)
        missing.extend(
            name for name, site in trace.items()
            if site["type"] == "sample" and not site["is_observed"] and name not in values
            and not (below_h and "h" in values and site["infer"].get("is_auxiliary"))
        )  # fmt: skip

    jax.eval_shape(look, dict(values), *args)
    return missing


def _given(
    program: Callable[..., Any], values: Mapping[str, Array], *args: Any
) -> dict[str, dict[str, Any]]:
    """The sites of a program that takes values where there are some, and draws the others."""
    with (
        numpyro.handlers.block(),
        numpyro.handlers.trace() as trace,
        numpyro.handlers.seed(rng_seed=0),
        numpyro.handlers.substitute(data=dict(values)),
    ):
        program(*args)
    return trace


def _is_factor(site: Mapping[str, Any]) -> bool:
    return site["is_observed"] and isinstance(site["fn"], numpyro.distributions.Unit)
