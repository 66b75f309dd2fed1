"""The layered model of Arora, Liang and Ma: a sparse prior, and layers from the top down to x."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from jax.typing import ArrayLike
from jaxtyping import Array, Float, PRNGKeyArray

from probrev.model.conditional_prior import Auxiliary
from probrev.model.kinds import check_one_law as check_same_law
from probrev.model.kinds import law_of, overridden, refusal
from probrev.model.layer import Layer
from probrev.model.layer_law import check_layer_law, layer_changes
from probrev.model.layer_values import check_values
from probrev.model.observations import Observations, Origin
from probrev.model.prior_density import log_prior_prob, prior_states
from probrev.model.prior_program import as_sparse, complete_sites, is_given
from probrev.model.priors import (
    Prior,
    SparsePrior,
    check_one_law,
    internal,
    is_spike_and_slab,
    sample_prior_sites,
    unfolded,
)
from probrev.model.protocol import DENSITIES, Model, check_shape
from probrev.model.sites import check_site_names
from probrev.model.states import FiniteStates
from probrev.plumbing import door
from probrev.plumbing.numbers import plain_numbers
from probrev.plumbing.pytree import check_registered, is_concrete, pytree
from probrev.plumbing.refusal import Refusal

# What says nothing of the law of x and h.
_ASIDE_OF_MODEL = (
    "check", "check_draws", "setting", "num_weights", "observe_from", "visible_mean",
    "sampled_program", "law_changes", "complete_sites",
)  # fmt: skip


_IS_LAYER = door.instance_of(Layer, "a probrev.Layer")


@pytree(data=("prior", "layers"))
@dataclass(frozen=True)
class LayeredModel:
    """A prior on h and the layers below it: h = h^(t) -> h^(t-1) -> ... -> h^(0) = x.

    `model(x)` is a NumPyro program for one observation, dropout summed out.

    A subclass that overrides part of the law, or has a layer that does, is a model of its own: it
    offers to methods what it defines itself, see `Model`. `log_likelihood`, `generate` and
    `program` say one law; `log_joint` follows from the first, `simulate` from the second.

    Attributes:
        prior: `SpikeAndSlab`, `KSparse`, or any NumPyro program that returns h (n_hidden,). A
            subclass that overrides the density of the first two overrides their program too.
        layers: one or more; layers[0] is the one next to x.

    Source: Arora, Liang and Ma 2015 (arXiv:1511.05653), section 2.
    """

    prior: Prior
    layers: Sequence[Layer]

    @plain_numbers()
    def __post_init__(self):
        door.function("prior", self.prior)
        door.sequence("layers", self.layers)
        object.__setattr__(self, "layers", tuple(self.layers))
        for level, layer in enumerate(self.layers):
            _IS_LAYER(f"layers[{level}]", layer)
        if not self.layers:
            raise Refusal("layers must hold at least one Layer")
        for level, (below, above) in enumerate(pairwise(self.layers)):
            if below.n_hidden != above.n_visible:
                raise Refusal(
                    f"layers[{level}] has n_hidden = {below.n_hidden}, but layers[{level + 1}] "
                    f"above it has n_visible = {above.n_visible}; layers[0] is the one next to x"
                )
        check_registered("the model", self)
        check_one_law(self.prior)
        for level, layer in enumerate(self.layers):
            check_registered(f"layers[{level}]", layer)
            check_layer_law(level, layer)
        h, sites = jax.eval_shape(lambda: sample_prior_sites(jax.random.key(0), self.prior, 1))
        check_site_names(sites)
        if len(h.shape) > 2:
            raise Refusal(
                f"prior returns h of shape {h.shape[1:]}: a prior is the law of one observation's "
                f"h, of shape ({self.n_hidden},), and what it draws besides is that observation's "
                "own; variables that all observations share are not supported"
            )
        if h.shape != (1, self.n_hidden):
            raise Refusal(
                f"prior returns h of shape {h.shape[1:]}, but the top layer, "
                f"layers[{len(self.layers) - 1}], has n_hidden = {self.n_hidden}"
            )

    @property
    def n_visible(self) -> int:
        """Length of x."""
        return self.layers[0].n_visible

    @property
    def n_hidden(self) -> int:
        """Length of h."""
        return self.layers[-1].n_hidden

    @property
    def num_weights(self) -> int:
        """Number of weights, all layers together."""
        return sum(layer.weights.size for layer in self.layers)

    @property
    def law_changes(self) -> tuple[str, ...]:
        """What a subclass, or a layer's, overrides of the law: nothing is assumed of such a one.

        One that writes the same law in another way says so by giving () itself.
        """
        own = overridden(self, law_of(LayeredModel, _ASIDE_OF_MODEL), LayeredModel)
        return own + layer_changes(self.layers)

    @property
    def setting(self) -> str:
        """What a verdict holds for: the noise, layer by layer."""
        return ", ".join(f"noise_std = {float(layer.noise_std):.3g}" for layer in self.layers)

    def check(self, obs: Observations) -> None:
        """Raises ValueError for observations that the model cannot have made."""
        check_shape(self, obs)
        if obs.h is not None:
            self.check_draws(np.asarray(obs.h))
        check_values(self.layers[0], np.asarray(obs.x))

    def check_draws(self, h: Float[np.ndarray, "*batch hidden"]) -> str:
        """Raises ValueError for draws of h that a spike and a slab cannot have; notes odd ones.

        Values are only held against 0: neither a finite slab's levels nor a bound on the number of
        active units is checked, and of a prior that is a NumPyro function nothing is known.
        """
        prior = as_sparse(self.prior)
        if prior is None and not is_given(self.prior):
            return ""
        if h.size and h.min() < 0:
            raise Refusal(
                f"h is nonnegative under {type(self.prior).__name__}; got {h.min():.3g} among the "
                "draws: no such h has a posterior density"
            )
        has_atom = (
            prior is not None
            and is_spike_and_slab(prior)
            and bool((np.asarray(prior.marginal_inclusion_prob) < 1).any())
        )
        if has_atom and (h > 0).all():
            return (
                "every unit is active in every draw: a continuous spike cannot be compared by "
                "support"
            )
        return ""

    # Down

    def __call__(self, x: Float[Array, " visible"] | None = None) -> Array:
        """The model as a NumPyro program; see `program`."""
        return self.program(x)

    def program(
        self, x: Float[Array, " visible"] | None = None, *, explicit_from: int | None = None
    ) -> Float[Array, " visible"]:
        """The model of one observation as a NumPyro program.

        Sites: those of the prior, `h` (deterministic), `h_1` (next to x), `h_2`, ... where there
        are several layers, and `x`. Dropout and noise are summed out; in explicit layers each
        mask is a site `mask_0` (of x), `mask_1` (of h_1), ..., and above x so is the noise,
        `noise_1`, ..., which makes `h_1`, ... deterministic.

        Args:
            x: the observation, or None to sample it.
            explicit_from: lowest layer whose masks and noise are sites, 0 for all layers; None for
                none. Kernels that need gradients want 1: h_1, ... are mixed laws otherwise.
        """
        signal = self._draw_prior()
        for level in reversed(range(len(self.layers))):
            layer = self.layers[level]
            z = layer.pre_activation(signal)
            name, value, plate = ("x", x, "visible") if level == 0 else (f"h_{level}", None, None)
            with numpyro.plate(plate or f"hidden_{level}", layer.n_visible):
                if explicit_from is None or level < explicit_from:
                    law = layer.distribution(z)
                    signal = jnp.asarray(numpyro.sample(name, law, obs=value))
                    continue
                kept = dist.Bernoulli(layer.keep_prob)
                mask = numpyro.sample(f"mask_{level}", kept, infer=internal())
                mask = jnp.asarray(mask, dtype=z.dtype)
                if level == 0:
                    if value is not None and not layer.activation.rests_at_zero:
                        # A kept unit is 0 with probability zero: one that is 0 was dropped.
                        impossible = (value == 0) & (mask > 0) & (layer.keep_prob < 1)
                        numpyro.factor("dropped_0", jnp.where(impossible, -jnp.inf, 0.0))
                    law = layer.distribution(z, mask)
                    signal = jnp.asarray(numpyro.sample(name, law, obs=value))
                else:
                    noise = numpyro.sample(f"noise_{level}", dist.Normal(), infer=internal())
                    kept = layer.activation(z + layer.noise_std * noise) * mask
                    signal = jnp.asarray(numpyro.deterministic(name, layer.gain * kept))
        return signal

    def _draw_prior(self) -> Float[Array, " hidden"]:
        """The prior's sites, and h as a site even where the prior has none of that name."""
        with numpyro.handlers.trace() as trace, numpyro.handlers.reparam(config=unfolded):
            h = jnp.asarray(self.prior())
        return h if "h" in trace else jnp.asarray(numpyro.deterministic("h", h))

    def sampled_program(self) -> Callable[..., Any]:
        """The program for NumPyro's kernels, with smooth and discrete sites only.

        Raises:
            ValueError: x has no density, or no single unit can move.
        """
        if any(layer.noise_std == 0 for layer in self.layers):
            raise Refusal(
                "noise_std = 0 gives x no density, so hmc has nothing to sample: a small noise_std "
                "gives one"
            )
        prior = as_sparse(self.prior)
        if prior is not None and is_spike_and_slab(prior) and prior.fixes_count:
            raise Refusal(
                "hmc flips one unit at a time and cannot move when exactly n_active units must be "
                "active: use gibbs, which swaps units, or exact"
            )
        if len(self.layers) > 1:
            return partial(self.program, explicit_from=1)
        return self.program

    @door.guard(key=door.random_key, num_obs=door.count())
    def simulate(self, key: PRNGKeyArray, num_obs: int) -> Observations:
        """Draws h from the prior and x below it, noise_std = 0 included.

        Args:
            key: random key.
            num_obs: number of observations.

        Raises:
            ValueError: a subclass overrides `log_likelihood` or `log_joint`, but not `generate`.
        """
        check_same_law(self, uses=("generate", "simulate"), others=DENSITIES)
        if overridden(self, ("generate",), LayeredModel):
            key_prior, key_layers = jax.random.split(key)
            h, sites = sample_prior_sites(key_prior, self.prior, num_obs)
            return Observations(self.generate(key_layers, h), h, sites=sites).made_by(self)
        return _simulate(key, self, num_obs).made_by(self)

    @door.guard(key=door.random_key, h=door.finite_array("num_obs", "n_hidden"))
    def observe_from(self, key: PRNGKeyArray, h: ArrayLike) -> Observations:
        """Observations x drawn from the layers given an h from elsewhere, such as a real net's.

        Args:
            key: random key.
            h: top vectors, (num_obs, n_hidden).
        """
        h = jnp.asarray(h, dtype=float)
        if overridden(self, ("generate",), LayeredModel):
            return Observations(self.generate(key, h), h).made_by(self, Origin.LAYERS)
        (x, *intermediates), masks = _descend(key, self, h)
        made = Observations(x, h, tuple(intermediates), tuple(masks))
        return made.made_by(self, Origin.LAYERS)

    def generate(
        self, key: PRNGKeyArray, h: Float[Array, "*batch hidden"]
    ) -> Float[Array, "*batch visible"]:
        """Draws x given a chosen top vector h: the direction that people call dreaming."""
        return _descend(key, self, h)[0][0]

    def complete_sites(self, u: Auxiliary, h: Float[Array, "*batch hidden"]) -> dict[str, Array]:
        """All of the prior program's own sites, from those that h is given and h."""
        return complete_sites(self.prior, u, h)

    # Densities

    def log_likelihood(
        self, h: Float[Array, "*#batch hidden"], x: Float[Array, "*#batch visible"]
    ) -> Float[Array, "*batch"]:
        """Log p(x | h), noise and dropout summed out.

        Raises:
            ValueError: several layers, or noise_std = 0: then it has no closed form or no density.
        """
        return self._likelihood_layer.log_likelihood(h, x)

    def pointwise_log_likelihood(
        self, h: Float[Array, "*#batch hidden"], x: Float[Array, "*#batch visible"]
    ) -> Float[Array, "*batch visible"]:
        """Log p(x_j | h) of every row of x; see `log_likelihood`."""
        layer = self._likelihood_layer
        return layer.distribution(layer.pre_activation(h)).log_prob(x)

    def log_joint(
        self, h: Float[Array, "*#batch hidden"], x: Float[Array, "*#batch visible"]
    ) -> Float[Array, "*batch"]:
        """Log p(h, x), normalised; a mass where h_i = 0 (or the slab is finite) and x_j = 0.

        Raises:
            ValueError: the prior is a function, or see `log_likelihood`.
        """
        return log_prior_prob(self.prior, h) + self.log_likelihood(h, x)

    def visible_mean(self, h: Float[Array, "*batch hidden"]) -> Float[Array, "*batch visible"]:
        """E[x | h], noise and dropout averaged out.

        Raises:
            ValueError: several layers: then it has no closed form.
        """
        layer = self._only_layer
        return layer.distribution(layer.pre_activation(h)).mean

    def log_joint_table(
        self, h: Float[Array, "state hidden"], x: Float[Array, "obs visible"]
    ) -> Float[Array, "state obs"]:
        """`log_joint` of every state with every observation, as matrix products."""
        if self.law_changes:
            return self.log_joint(h[:, None, :], x[None, :, :])
        log_prior = log_prior_prob(self.prior, h)[:, None]
        return log_prior + self._likelihood_layer.log_likelihood_table(h, x)

    def states(self) -> FiniteStates:
        """Every h of positive prior probability.

        Raises:
            ValueError: the prior is a function or has a continuous slab.
        """
        return prior_states(self.prior)

    @property
    def has_sparse_prior(self) -> bool:
        """Whether the prior has a spike, a slab and a density, whatever its law."""
        return as_sparse(self.prior) is not None

    @property
    def sparse_prior(self) -> SparsePrior:
        """The prior, where it is a spike and a slab.

        Raises:
            ValueError: the prior is a plain function: it can be sampled, not evaluated at an h.
        """
        prior = as_sparse(self.prior)
        if prior is not None:
            return prior
        name = getattr(self.prior, "__name__", type(self.prior).__name__)
        if is_given(self.prior):
            raise Refusal(
                f"the prior {name} is a spike and slab given what it draws before h, and by itself "
                "none: use gibbs, or hmc, which runs the program itself"
            )
        raise Refusal(
            f"the prior {name} is a NumPyro function, so its density at a given h is unknown: "
            "use hmc, which runs the program itself, or write it as SpikeAndSlab or KSparse"
        )

    @property
    def _only_layer(self) -> Layer:
        if len(self.layers) > 1:
            raise Refusal(
                f"p(x | h) of a model with {len(self.layers)} layers has no closed form; "
                "a model with one layer has"
            )
        return self.layers[0]

    @property
    def _likelihood_layer(self) -> Layer:
        layer = self._only_layer
        if is_concrete(layer.noise_std) and np.asarray(layer.noise_std) == 0:
            raise Refusal(
                "noise_std = 0 gives x no density, so there is nothing to evaluate; "
                "simulate and generate work, and a small noise_std gives a density"
            )
        return layer


def has_layered_law(model: Any) -> bool:
    """Whether the law of a model is that of its prior and its layers."""
    return isinstance(model, LayeredModel) and not model.law_changes


def check_layered_law(method: str, model: Model) -> None:
    """Raises ValueError unless the law of a model is that of its prior and its layers.

    Args:
        method: what needs it, to name in the error.
        model: any model.
    """
    if not has_layered_law(model):
        raise refusal(method, model, "needs a LayeredModel")


@partial(jax.jit, static_argnames="num_obs")
def _simulate(key: PRNGKeyArray, model: LayeredModel, num_obs: int) -> Observations:
    key_prior, key_layers = jax.random.split(key)
    h, sites = sample_prior_sites(key_prior, model.prior, num_obs)
    signals, masks = _descend(key_layers, model, h)
    return Observations(signals[0], h, tuple(signals[1:]), tuple(masks), sites=sites)


@jax.jit
def _descend(key: PRNGKeyArray, model: LayeredModel, h: Array) -> tuple[list[Array], list[Array]]:
    """Draws every layer below h; signals and their masks, the one next to x first."""
    signals, masks = [], []
    for level in reversed(range(len(model.layers))):
        h, mask = model.layers[level].generate(jax.random.fold_in(key, level), h)
        signals.insert(0, h)
        masks.insert(0, mask)
    return signals, masks
