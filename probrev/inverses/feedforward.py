"""The feedforward net: the deterministic inverse, h = r(W^T x + b) from x up."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, PRNGKeyArray
from scipy.optimize import minimize_scalar

from probrev.inverses.minimize import minimize
from probrev.model.layer import Layer
from probrev.model.layered_model import LayeredModel
from probrev.model.protocol import NUM_SIMULATED
from probrev.plumbing import door
from probrev.plumbing.arrays import as_floats, check_real, own
from probrev.plumbing.pytree import pytree
from probrev.plumbing.refusal import Refusal

BiasRule = str | ArrayLike
BIAS_RULES = ("theory", "universal", "calibrated")


@pytree(data=("offset", "multiple"))
@dataclass(frozen=True)
class Bias:
    """b = offset - multiple * (standard deviation of the readout where h_i = 0, read off x).

    Attributes:
        offset: constant part, a number or (n_hidden,).
        multiple: how many standard deviations to subtract.
    """

    offset: ArrayLike = 0.0
    multiple: ArrayLike = 0.0

    def __post_init__(self):
        object.__setattr__(self, "offset", own(self.offset))
        object.__setattr__(self, "multiple", own(self.multiple))


@pytree(data=("layers", "biases", "scales"), meta=("keep_prob",))
@dataclass(frozen=True)
class FeedforwardNet:
    """h^(l) = r(u_l + b_l), u_l the readout of layer l, layers[0] next to x.

    With keep_prob q < 1 the net has its own dropout: each input survives with probability q and
    the readout is divided by q. It is then a random inverse and every call needs a key.

    Attributes:
        layers: the model's layers, used upwards.
        biases: one `Bias` a layer.
        keep_prob: q in (0, 1]; 1 for the deterministic net.
        scales: what W^T x of each layer is multiplied by; by default its `readout_scale`.

    Source: Arora, Liang and Ma 2015 (arXiv:1511.05653), theorems 2.3 (q = 1) and 2.4 (q = 1/2).
    """

    layers: tuple[Layer, ...]
    biases: tuple[Bias, ...]
    keep_prob: float = 1.0
    scales: tuple[Array, ...] = ()

    def __post_init__(self):
        if not self.scales:
            own = tuple(layer.readout_scale for layer in self.layers)
            object.__setattr__(self, "scales", own)

    @classmethod
    @door.guard(
        key=door.random_key,
        model=door.instance_of(LayeredModel, "a probrev.LayeredModel"),
        keep_prob=door.probability,
    )
    def from_model(
        cls,
        key: PRNGKeyArray,
        model: LayeredModel,
        bias: BiasRule | Sequence[BiasRule] = "universal",
        *,
        keep_prob: float = 1.0,
    ) -> "FeedforwardNet":
        """The net that inverts a model.

        Bias rules: with t = sqrt(2 log m), m the width of the layer's output,
        "theory" is -t times the readout's standard deviation expected under the prior,
        "universal" is -t times the one read off x (||x||_2 for N(0, 1) weights),
        "calibrated" is -c times that, c minimising squared error on draws from the model,
        and an array is itself. Where the layer's readout is not unbiased for every h, because it
        has a bias or its activation is not homogeneous, "theory", "universal" and an array are
        refused, and "calibrated" fits the readout's scale and an offset for each unit beside c.

        Args:
            key: random key, for the draws from the model that "theory" takes its expectation over
                and "calibrated" is fitted to.
            model: the model to invert.
            bias: a rule for the top layer (intermediate layers, which are not sparse, are
                calibrated), or one rule per layer, layers[0] next to x.
            keep_prob: dropout of the net itself, q in (0, 1].

        Raises:
            ValueError: an unknown rule, or one that a layer cannot have, a wrong number of rules or
                entries, q outside (0, 1].
        """
        rules = _rules_per_layer(bias, model.layers)
        key_draws, key_dropout = jax.random.split(key)
        draws = model.simulate(key_draws, NUM_SIMULATED)
        assert draws.h is not None
        targets = (*draws.intermediates, draws.h)
        net = cls((), (), keep_prob)
        for level, (layer, rule) in enumerate(zip(model.layers, rules, strict=True)):
            below = net.activations(draws.x, key_dropout)[-1]
            dropped = net._drop(below, jax.random.fold_in(key_dropout, level))
            scale, fitted = _make_bias(rule, layer, dropped, targets[level], keep_prob)
            net = cls((*net.layers, layer), (*net.biases, fitted), keep_prob, (*net.scales, scale))
        return net

    @classmethod
    @door.guard(weights=door.sequence, biases=door.sequence, layer_keep_prob=door.probability)
    def from_weights(
        cls,
        weights: Sequence[ArrayLike],
        biases: Sequence[ArrayLike],
        *,
        layer_keep_prob: float = 0.5,
    ) -> "FeedforwardNet":
        """A net that was trained elsewhere: h^(l) = r(W_l^T h^(l-1) + b_l), with its own biases.

        Its layers have the default gain, at which the readout is W^T x as it stands, and no noise.

        Args:
            weights: of each layer, next to x first, (n_in, n_out): W as x = gain r(W h) has it.
            biases: of each layer, (n_out,).
            layer_keep_prob: keep_prob of the layers in the generative direction; upwards this net
                drops nothing.

        Raises:
            ValueError: widths that do not fit each other, or see `Layer`.
        """
        if len(weights) != len(biases) or not len(weights):
            raise Refusal(
                "weights and biases must be lists of the same length, one of each per layer; "
                f"got {len(weights)} and {len(biases)}"
            )
        layers = tuple(Layer(matrix, layer_keep_prob) for matrix in weights)
        for level, (below, above) in enumerate(pairwise(layers)):
            if below.n_hidden != above.n_visible:
                raise Refusal(
                    f"weights[{level}] has {below.n_hidden} columns, but weights[{level + 1}] has "
                    f"{above.n_visible} rows; each must be (n_in, n_out), the one next to x first"
                )
        return cls(layers, tuple(map(_check_bias, layers, biases)))

    def __call__(
        self, x: Float[Array, "*batch visible"], key: PRNGKeyArray | None = None
    ) -> Float[Array, "*batch hidden"]:
        """The net's estimate of the top vector h.

        Args:
            x: observations, leading axes free.
            key: random key, needed where the net has dropout of its own.
        """
        return self.activations(x, key)[-1]

    @jax.jit
    def activations(
        self, x: Float[Array, "*batch visible"], key: PRNGKeyArray | None = None
    ) -> list[Array]:
        """X and the estimate of every hidden vector, from x up."""
        if key is None and self.keep_prob < 1:
            raise Refusal(
                f"this net drops its inputs (keep_prob = {self.keep_prob}), so it is random: "
                "call net(x, key), or wrap it as an inverse: lambda x: net(x, key)"
            )
        signals = [jnp.asarray(x, dtype=float)]
        parts = zip(self.layers, self.scales, self.biases, strict=True)
        for level, (layer, scale, bias) in enumerate(parts):
            key_level = None if key is None else jax.random.fold_in(key, level)
            below = self._drop(signals[-1], key_level)
            signals.append(_apply(layer, scale, bias, below))
        return signals

    def _drop(self, x: Array, key: PRNGKeyArray | None) -> Array:
        if self.keep_prob == 1 or key is None:
            return x
        kept = jax.random.bernoulli(key, self.keep_prob, x.shape)
        return jnp.where(kept, x / self.keep_prob, 0.0)


def _apply(layer: Layer, scale: Array, bias: Bias, x: Array) -> Array:
    """One layer of the net: r(W^T x + b)."""
    offset = jnp.broadcast_to(bias.offset, (*x.shape[:-1], layer.n_hidden))
    threshold = bias.multiple * layer.readout_std(x, scale)
    return jax.nn.relu(layer.readout(x, scale) + offset - threshold)


def bias_rules(model: LayeredModel) -> tuple[str, ...]:
    """The rules that the net of a model can have at its top layer."""
    return BIAS_RULES if model.layers[-1].has_readout else ("calibrated",)


def _rules_per_layer(
    bias: BiasRule | Sequence[BiasRule], layers: Sequence[Layer]
) -> list[BiasRule]:
    """A rule for each layer, which it can be as far as is known without draws."""
    num_layers = len(layers)
    if isinstance(bias, list | tuple) and any(
        isinstance(rule, str) or np.ndim(rule) for rule in bias
    ):
        per_layer = list(bias)
    else:
        per_layer = [*["calibrated"] * (num_layers - 1), bias]
    if len(per_layer) != num_layers:
        raise Refusal(
            f"bias must be one rule, or one per layer ({num_layers}); got {len(per_layer)}"
        )
    for layer, rule in zip(layers, per_layer, strict=True):
        if not isinstance(rule, str):
            _check_bias(layer, rule)
        elif rule not in BIAS_RULES:
            raise Refusal(f"bias must be one of {', '.join(BIAS_RULES)}, or an array; got {rule!r}")
    return per_layer


def _make_bias(
    rule: BiasRule, layer: Layer, x: Array, h: Array, keep_prob: float
) -> tuple[Array, Bias]:
    """Turns a rule into the scale of a readout, and a bias.

    Args:
        rule: name of a rule, or an array.
        layer: the layer to invert.
        x: its inputs on draws from the model, the net's dropout applied.
        h: what it should recover from them.
        keep_prob: the net's own q.
    """
    threshold = float(np.sqrt(2 * np.log(layer.n_hidden)))
    is_calibrated = isinstance(rule, str) and rule == "calibrated"
    if not layer.has_readout:
        if not is_calibrated:
            raise Refusal(
                f"bias {rule!r} needs a layer whose readout is unbiased for every h; this one has "
                f"a bias, or activation {layer.activation} is not homogeneous: use bias "
                '"calibrated", which fits its scale and offsets'
            )
        return _calibrate_readout(layer, x, h, threshold)
    scale = layer.readout_scale
    if is_calibrated:
        readout, std = layer.readout(x), layer.readout_std(x)
        return scale, Bias(multiple=_calibrate(readout, std, h, threshold))
    if not isinstance(rule, str):
        return scale, _check_bias(layer, rule)
    if rule == "universal":
        return scale, Bias(multiple=threshold)
    std = layer.prior_readout_std((h**2).sum(-1).mean()) / np.sqrt(keep_prob)
    return scale, Bias(offset=-threshold * std)


def _check_bias(layer: Layer, values: ArrayLike) -> Bias:
    """A bias of given numbers, where they fit the layer."""
    check_real("a bias array", values)
    values = np.asarray(values, dtype=float)
    if values.shape not in ((), (layer.n_hidden,)) or not np.isfinite(values).all():
        raise Refusal(
            f"a bias array must be finite and have shape ({layer.n_hidden},), "
            f"one entry per hidden unit; got shape {values.shape}"
        )
    return Bias(offset=as_floats(values))


def _calibrate(readout: Array, std: Array, h: Array, threshold: float) -> float:
    """C minimising the mean squared error of r(u - c * std(x)) on pairs (x, h)."""
    width = max(threshold, 1.0)  # the threshold is 0 for a single unit
    grid = np.linspace(-width, 3 * width, 41)
    errors = [_mean_squared_error(multiple, readout, std, h) for multiple in grid]
    start = int(np.argmin(errors))
    bracket = grid[max(start - 1, 0)], grid[min(start + 1, len(grid) - 1)]
    found = minimize_scalar(
        _mean_squared_error, bounds=bracket, args=(readout, std, h), method="bounded"
    )
    return float(found.x)


@jax.jit
def _mean_squared_error(multiple: ArrayLike, readout: Array, std: Array, h: Array) -> Array:
    return ((jax.nn.relu(readout - multiple * std) - h) ** 2).sum(-1).mean()


def _calibrate_readout(layer: Layer, x: Array, h: Array, threshold: float) -> tuple[Array, Bias]:
    """The scale s, offsets b and c minimising the error of r(s (W^T x - c std(x)) + b).

    It starts where s W^T x + b is unbiased on average over the draws, with the best c.
    """
    raw, norm = layer.readout(x, 1.0), layer.readout_std(x, 1.0)
    away, wanted = raw - raw.mean(0)[None, :], h - h.mean(0)[None, :]
    along = float((away * wanted).sum())
    scale = float((wanted**2).sum()) / along if along > 0 else 0.0
    offset = h.mean(0) - scale * raw.mean(0)
    multiple = _calibrate(scale * raw + offset[None, :], scale * norm, h, threshold)
    start = (jnp.asarray(scale), offset, jnp.asarray(multiple))
    scale, offset, multiple = _minimize_error(start, raw, norm, h)
    return scale, Bias(offset, multiple)


@jax.jit
def _minimize_error(
    start: tuple[Array, Array, Array], raw: Array, norm: Array, h: Array
) -> tuple[Array, Array, Array]:
    def risk(parameters):
        scale, offset, multiple = parameters
        readout = scale * raw + offset[None, :]
        return _mean_squared_error(multiple, readout, scale * norm, h)

    return minimize(risk, start)
