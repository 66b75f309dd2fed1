"""NumPyro programs that end in a spike and slab: what they draw before it is auxiliary.

    def prior():
        rate = numpyro.sample("rate", dist.Beta(1, 9))
        return numpyro.sample("h", pr.SpikeAndSlab(m, rate, dist.HalfNormal(1.0)))

Given the sites before it, u, the units of h are independent spikes and slabs; given h, u is renewed
in closed form where that is known, and else by NUTS on the program with h held.
"""

import functools
import inspect
import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, override

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from jaxtyping import Array, Float, Int, PRNGKeyArray
from numpyro.infer.util import log_density

from probrev.model.auxiliary_updates import POWERS, Conjugacy, find_conjugacies, move_smooth
from probrev.model.conditional_prior import Auxiliary, ConditionalPrior, Unconditional
from probrev.model.priors import Prior, SparsePrior, is_spike_and_slab, own_sites
from probrev.plumbing.pytree import pytree
from probrev.plumbing.readable import cut, summarize
from probrev.plumbing.refusal import Refusal

# Values of discrete variables together that are enumerated.
MAX_VALUES = 4096
HOW = 'end it with `return numpyro.sample("h", pr.SpikeAndSlab(...))`'


class Switches(NamedTuple):
    """The discrete variables of a site, each entry one.

    Attributes:
        site: name of the site.
        size: number of entries.
        num_values: how many values each has: first, first + 1, ...
        first: the smallest.
    """

    site: str
    size: int
    num_values: int
    first: int

    def propose(self, key: PRNGKeyArray, value: Array, index: Int[Array, ""]) -> Array:
        """The site's value with another value of one entry, all others alike."""
        flat = value.reshape(-1)
        step = jax.random.randint(key, (), 1, self.num_values)
        other = self.first + (flat - self.first + step) % self.num_values
        changed = jnp.where(jnp.arange(self.size) == index, other, flat)
        return changed.astype(value.dtype).reshape(value.shape)


@pytree(
    data=("program",),
    meta=("n_hidden", "site", "auxiliary", "smooth", "switches", "conjugate", "positive"),
)
@dataclass(frozen=True)
class ProgramPrior(ConditionalPrior):
    """A program that ends in a spike and slab, taken apart; `read_program` makes one.

    Attributes:
        program: the program.
        n_hidden: number of units.
        site: name of the site that is the spike and slab.
        auxiliary: names of the other sites that it draws.
        smooth: those of them that NUTS renews.
        switches: discrete variables, renewed jointly with h and alone.
        conjugate: name of a site -> how it is drawn given h in closed form, as pairs.
        positive: those that are a single number above 0.
    """

    program: Callable[[], Any]
    n_hidden: int
    site: str
    auxiliary: tuple[str, ...]
    smooth: tuple[str, ...]
    switches: tuple[Switches, ...]
    conjugate: tuple[tuple[str, Conjugacy], ...]
    positive: tuple[str, ...]

    @override
    def __call__(self) -> Array:
        return self.program()

    @override
    def given(self, u: Auxiliary) -> SparsePrior:
        return _trace(self.program, u)[self.site]["fn"]

    @override
    def renew(self, key: PRNGKeyArray, u: Auxiliary, h: Float[Array, " hidden"]) -> Auxiliary:
        """One after the other in closed form, then the others together by NUTS."""
        u = dict(u)
        for number, (name, conjugacy) in enumerate(self.conjugate):
            law = _trace(self.program, u)[name]["fn"]
            drawn = conjugacy(law, h).sample(jax.random.fold_in(key, number))
            u[name] = jnp.asarray(drawn, u[name].dtype)
        if not self.smooth:
            return u
        trace = _trace(self.program, u)
        laws = {name: trace[name]["fn"] for name in self.smooth}
        key_smooth = jax.random.fold_in(key, len(self.conjugate))
        return move_smooth(key_smooth, laws, lambda u: self.log_joint(u, h), u)

    @property
    @override
    def num_switches(self) -> int:
        return sum(one.size for one in self.switches)

    @override
    def propose(self, key: PRNGKeyArray, u: Auxiliary, switch: Int[Array, ""]) -> Auxiliary:
        """Any other value of that variable, all alike."""
        u, start = dict(u), 0
        for one in self.switches:
            u[one.site] = one.propose(key, u[one.site], switch - start)
            start += one.size
        return u

    @property
    @override
    def scales(self) -> tuple[tuple[str, float], ...]:
        """Numbers above 0: as their closed form has it, and else as if they were the slab's scale.

        One that is none costs a proposal that is refused.
        """
        powers = {name: POWERS.get(form, 1.0) for name, form in self.conjugate}
        return tuple((name, powers.get(name, 1.0)) for name in self.positive)

    @override
    def auxiliary_values(self) -> Auxiliary:
        continuous = (*self.smooth, *(name for name, _ in self.conjugate))
        if continuous:
            raise Refusal(
                f"the prior draws {', '.join(continuous)} before its spike and slab, continuous "
                "variables that cannot be enumerated: use gibbs"
            )
        count = math.prod(one.num_values**one.size for one in self.switches)
        if count > MAX_VALUES:
            raise Refusal(
                f"the prior's discrete variables have {count:,} values together, and at most "
                f"{MAX_VALUES:,} are enumerated: use gibbs"
            )
        levels = [range(one.first, one.first + one.num_values) for one in self.switches]
        repeated = [level for level, one in zip(levels, self.switches, strict=True)
                    for _ in range(one.size)]  # fmt: skip
        table = np.array(list(itertools.product(*repeated))).reshape(count, len(repeated))
        parts = np.split(table, np.cumsum([one.size for one in self.switches])[:-1], axis=1)
        trace = _trace(self.program, {})
        shaped = {}
        for one, part in zip(self.switches, parts, strict=True):
            like = jnp.asarray(trace[one.site]["value"])
            shaped[one.site] = jnp.asarray(part, like.dtype).reshape(count, *like.shape)
        return shaped

    @override
    def log_prob_auxiliary(self, u: Auxiliary) -> Float[Array, ""]:
        trace = _trace(self.program, u)
        return sum(
            (trace[name]["fn"].log_prob(u[name]).sum() for name in self.auxiliary), jnp.zeros(())
        )

    @override
    def log_joint(self, u: Auxiliary, h: Float[Array, " hidden"]) -> Array:
        return jnp.asarray(log_density(self.program, (), {}, {**u, self.site: h})[0])


def read_program(program: Callable[[], Any]) -> ProgramPrior:
    """Takes a prior program apart, where it ends in a spike and slab.

    Args:
        program: a NumPyro program that returns h.

    Raises:
        ValueError: it does not, or what comes before cannot be renewed given h; says why.
    """
    found = _read_or_why(program)
    if isinstance(found, str):
        raise Refusal(found)
    return found


@functools.lru_cache(maxsize=64)
def _read_or_why(program: Callable[[], Any]) -> "ProgramPrior | str":
    try:
        # Also from within jit, whose tracers say nothing.
        with jax.ensure_compile_time_eval(), jax.enable_x64(True):
            return _read(program)
    except Refusal as refusal:
        return str(refusal)


def _read(program: Callable[[], Any]) -> ProgramPrior:
    name = getattr(program, "__name__", type(program).__name__)
    trace = _trace(program, {})
    sites = {key: site for key, site in trace.items() if site["type"] == "sample"}
    ends = [key for key, site in sites.items() if isinstance(site["fn"], SparsePrior)]
    if len(ends) != 1:
        found = f"has {len(ends)} of them" if ends else "has none"
        raise Refusal(
            f"the prior {name} must draw h as one spike and slab given what it draws before, and "
            f"it {found}: {HOW}"
        )
    end = ends[0]
    _check_sites(name, sites, end)
    prior = sites[end]["fn"]
    _check_returned(name, program, end, prior.n_hidden)
    auxiliary = tuple(key for key in sites if key != end)
    discrete = [key for key in auxiliary if sites[key]["fn"].support.is_discrete]
    switches = tuple(find_switches(f"the prior {name}", key, sites[key]) for key in discrete)
    if switches and prior.fixes_count:
        raise Refusal(
            f"the prior {name} fixes how many units are active given the discrete site "
            f"{switches[0].site!r}: units cannot be changed jointly with it; use SpikeAndSlab"
        )
    smooth = [key for key in auxiliary if key not in discrete]
    numbers = {key: type(sites[key]["fn"]) for key in smooth if np.ndim(sites[key]["value"]) == 0}
    conjugate = find_conjugacies(program, end, numbers)
    positive = tuple(
        key for key in numbers if sites[key]["fn"].support is dist.constraints.positive
    )
    smooth = tuple(key for key in smooth if key not in conjugate)
    return ProgramPrior(
        program, prior.n_hidden, end, auxiliary, smooth, switches, tuple(conjugate.items()),
        positive,
    )  # fmt: skip


def _trace(program: Callable[[], Any], values: Mapping[str, Any]) -> Mapping[str, Any]:
    """The sites of a program, those that are given at their values."""
    seeded = numpyro.handlers.seed(numpyro.handlers.substitute(program, data=dict(values)), 0)
    with numpyro.handlers.block():
        return numpyro.handlers.trace(seeded).get_trace()


def _check_sites(name: str, sites: Mapping[str, Any], end: str) -> None:
    """Raises ValueError for sites that renewing what comes before h does not cover."""
    if not is_spike_and_slab(sites[end]["fn"]):
        raise Refusal(
            f"the prior {name} ends in a {type(sites[end]['fn']).__name__}, whose law is not what "
            "its spike and slab say: hmc runs the program as it is"
        )
    if list(sites)[-1] != end:
        raise Refusal(
            f"the prior {name} draws {list(sites)[-1]!r} after {end!r}, the spike and slab: it "
            f"must be the last: {HOW}"
        )
    for key, site in sites.items():
        if site["is_observed"]:
            raise Refusal(
                f"the prior {name} conditions on {key!r} (obs= or factor), so its program does not "
                "draw from the law that it describes: leave it out"
            )
        if site["scale"] is not None:
            raise Refusal(f"the prior {name} scales the density of {key!r}: leave that out")


def _check_returned(name: str, program: Callable[[], Any], end: str, n_hidden: int) -> None:
    """Raises ValueError where a program returns something else than the spike and slab."""
    for seed in range(2):
        h = jax.random.uniform(jax.random.key(seed), (n_hidden,), minval=0.5, maxval=1.5)
        seeded = numpyro.handlers.seed(numpyro.handlers.substitute(program, data={end: h}), seed)
        with numpyro.handlers.block():
            returned = np.asarray(seeded())
        if returned.shape != h.shape or not np.array_equal(returned, h):
            raise Refusal(
                f"the prior {name} draws {end!r} as a spike and slab and returns something else: "
                f"{HOW}"
            )


def find_switches(name: str, key: str, site: Mapping[str, Any]) -> Switches:
    """The entries of a discrete site.

    Args:
        name: what draws it, to begin the error.
        key: name of the site.
        site: the site, of a trace.

    Raises:
        ValueError: they do not have finitely many values, in a row.
    """
    law = site["fn"]
    while isinstance(law, dist.Independent | dist.ExpandedDistribution | dist.MaskedDistribution):
        law = law.base_dist
    try:
        if law.event_shape:
            raise NotImplementedError
        values = np.unique(np.asarray(law.enumerate_support(expand=False)))
    except NotImplementedError as error:
        raise Refusal(
            f"{name} draws {key!r} from {type(law).__name__}, which has no finite list of values: "
            "a discrete variable needs one"
        ) from error
    first, num_values = int(values[0]), len(values)
    if num_values < 2 or not np.array_equal(values, np.arange(first, first + num_values)):
        raise Refusal(
            f"{name} draws {key!r} from the values {values}: a discrete variable needs two or more "
            "integers in a row"
        )
    return Switches(key, np.size(site["value"]), num_values, first)


def describe_prior(prior: Any, longest: int) -> str:
    """A prior in a line; of a program its first paragraph, and what it draws, in that order.

    Numbers that hang on what is drawn before them are shown by their type.

    Args:
        prior: the prior.
        longest: characters of the line.
    """
    if not inspect.isroutine(prior):
        return summarize(prior, longest)
    about = (inspect.getdoc(prior) or "").split("\n\n")[0]
    drawn: list[str] = []

    def look(key: PRNGKeyArray) -> None:
        with numpyro.handlers.block():
            trace = numpyro.handlers.trace(numpyro.handlers.seed(prior, key)).get_trace()
        drawn.extend(
            f"{name} ~ {summarize(site['fn'])}"
            for name, site in trace.items()
            if site["type"] == "sample"
        )

    # Traced, so that what hangs on a draw shows as its type and not as what one draw made of it.
    jax.eval_shape(look, jax.random.key(0))
    return cut(f"{prior.__name__}{about and f' ({about})'}: {'; '.join(drawn)}", longest)


def conditional_prior(prior: Prior) -> ConditionalPrior:
    """A prior as spikes and slabs given auxiliary variables; given nothing, if it is one itself.

    Raises:
        ValueError: it is neither, nor a program that ends in a spike and slab; says why.
    """
    if isinstance(prior, ConditionalPrior):
        return prior
    if isinstance(prior, SparsePrior):
        return Unconditional(prior)
    return read_program(prior)


def complete_sites(
    prior: Prior, u: Auxiliary, h: Float[Array, "*batch hidden"]
) -> dict[str, Array]:
    """All of a prior program's own sites, from those that are auxiliary and h.

    Args:
        prior: the prior.
        u: values of its auxiliary variables, (*batch, ...).
        h: alike.
    """
    conditional = conditional_prior(prior)
    if not isinstance(conditional, ProgramPrior):
        return dict(u)
    end, program = conditional.site, conditional.program

    def one(values: dict[str, Array]) -> dict[str, Array]:
        trace = _trace(program, values)
        return {name: jnp.asarray(trace[name]["value"]) for name in own_sites(trace) if name != end}

    for _ in range(h.ndim - 1):
        one = jax.vmap(one)
    return jax.jit(one)({**u, end: h})


def is_given(prior: Prior) -> bool:
    """Whether a prior's units are spikes and slabs given something."""
    try:
        return bool(conditional_prior(prior).auxiliary)
    except ValueError:
        return False


def as_sparse(prior: Prior) -> SparsePrior | None:
    """A prior as the spike and slab that it is, given nothing; None where it is none."""
    if isinstance(prior, SparsePrior):
        return prior
    try:
        conditional = conditional_prior(prior)
    except ValueError:
        return None
    return None if conditional.auxiliary else conditional.given({})


def marginal_prior(prior: Prior) -> SparsePrior | None:
    """The spike and slab of each unit by itself, where it is of a known form."""
    sparse = as_sparse(prior)
    if sparse is not None:
        return sparse if is_spike_and_slab(sparse) else None
    return conditional_prior(prior).marginal if is_given(prior) else None
