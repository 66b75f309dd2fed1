"""The generative model of a whole net, fitted layer by layer to its real activations."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jax.typing import ArrayLike
from jaxtyping import Array, Float, PRNGKeyArray

from probrev.inverses.feedforward import FeedforwardNet
from probrev.model.layered_model import LayeredModel
from probrev.model.observations import Observations
from probrev.model.priors import SpikeAndSlab
from probrev.model.rectified_gaussian import RectifiedGaussian
from probrev.nets.fitting.checks import Check, tabulate_checks
from probrev.nets.fitting.hidden_layers import read_hidden
from probrev.nets.fitting.layer_fit import SHOWN, LayerFit, fit_layer
from probrev.nets.fitting.likelihood import read_pairs
from probrev.nets.fitting.maximum import Held, maximise
from probrev.nets.fitting.priors import fit_prior
from probrev.nets.weights.trained_layer import TrainedLayer, TrainedLayers
from probrev.plumbing import door
from probrev.plumbing.arrays import check_real
from probrev.plumbing.progress import Progress
from probrev.plumbing.readable import Table, cut, readable
from probrev.plumbing.refusal import Refusal

INDEPENDENT, CORRELATED = PRIORS = ("independent", "correlated")
Prior = SpikeAndSlab | RectifiedGaussian
# Held-out h whose density under the correlated prior, an integral for each, is estimated.
MOST_DENSITIES = 16


@readable
class PriorFit(NamedTuple):
    """A prior fitted to the h of a layer.

    Attributes:
        prior: the prior.
        log_prob: log density in nats, a mass at 0 for each unit, of some held-out h drawn at
            random, the same for all priors of a layer.
    """

    prior: Prior
    log_prob: Float[np.ndarray, " obs"]


@readable
class Activations(NamedTuple):
    """Real activations around a layer, of the same inputs.

    Attributes:
        x: below it.
        v: W^T x + b.
    """

    x: Float[np.ndarray, "obs visible"]
    v: Float[np.ndarray, "obs hidden"]

    @property
    def h(self) -> Float[np.ndarray, "obs hidden"]:
        """Above it."""
        return np.maximum(self.v, 0.0)


@readable
@dataclass(frozen=True)
class FittedLevel:
    """One layer of a net, h = r(W^T x + b), and the model x = gain r(W h + ...) fitted to it.

    Attributes:
        name: of the layer.
        weights: W.
        bias: b, of the net on its way up.
        fit: of the generative layer.
        priors: "independent" (`SpikeAndSlab`) and "correlated" (`RectifiedGaussian`) units.
        chosen: the prior of the two under which held-out h are likelier.
        train: activations that it was fitted to.
        held_out: activations in no fit.
    """

    name: str
    weights: Float[np.ndarray, "visible hidden"]
    bias: Float[np.ndarray, " hidden"]
    fit: LayerFit
    priors: Mapping[str, PriorFit]
    chosen: str
    train: Activations
    held_out: Activations

    @property
    def model(self) -> LayeredModel:
        """The fitted layer under the chosen prior."""
        return self.under(self.chosen)

    def under(self, prior: str) -> LayeredModel:
        """The fitted layer under one of the priors."""
        return LayeredModel(self.priors[prior].prior, [self.fit.layer])

    @property
    def inverses(self) -> dict[str, Callable[[Array], Array]]:
        """The layer as it was trained: x -> r(W^T x + b)."""
        return {"as_trained": as_trained([self.weights], [self.bias])}

    @property
    def checks(self) -> tuple[Check, ...]:
        """What was looked at, see `LayerFit`, and which prior is likelier."""
        return (*self.fit.checks, self._tell_priors())

    def observe(self, key: PRNGKeyArray, num_obs: int) -> Observations:
        """Makes x by the fitted layer from held-out real h, drawn at random without repetition.

        Raises:
            ValueError: more observations than held-out ones.
        """
        return _observe(key, self.model, self.held_out.h, num_obs)

    def refit(self, seed: int, prior: str) -> LayeredModel:
        """A model fitted to as many observations, drawn with repetition from the same."""
        rng = np.random.default_rng(seed)
        chosen = rng.integers(len(self.train.x), size=len(self.train.x))
        train = Activations(*(part[chosen] for part in self.train))
        layer = self.fit.layer
        data = read_pairs(layer.activation, self.weights, train.x, train.h, None)
        at = maximise(data, Held(None, None, None, True))
        return LayeredModel(_fit_one(prior, train), [at.as_layer(self.weights, layer.activation)])

    def _tell_priors(self) -> Check:
        gap = self.priors[CORRELATED].log_prob - self.priors[INDEPENDENT].log_prob
        error = gap.std(ddof=1) / np.sqrt(len(gap))
        said = (
            f"Held-out h have {gap.mean():+.1f} ± {error:.1f} nats an observation under the "
            f"correlated prior against the independent one: the {self.chosen} one is taken."
        )
        return Check("above independent", float(gap.mean()), float(error), "", True, said)

    def __repr__(self) -> str:
        return cut(f"FittedLevel {self.name}, {self.chosen} prior: {self.fit!r}")

    def __str__(self) -> str:
        return f"{self.name}: {self.fit}\n{self._tell_priors().sentence}"

    def _table(self) -> Table:
        shown = tabulate_checks(self.checks).loc[:, [*SHOWN]]
        return Table(f"{self.name}: {self.fit.about}; {self.fit.outcome}", shown)


@readable
@dataclass(frozen=True)
class FittedNet:
    """A net, and the generative model fitted to it.

    Attributes:
        levels: of each layer, next to x first.
    """

    levels: tuple[FittedLevel, ...]

    @property
    def model(self) -> LayeredModel:
        """All fitted layers, under the chosen prior of the top one."""
        top = self.levels[-1]
        return LayeredModel(top.priors[top.chosen].prior, [one.fit.layer for one in self.levels])

    @property
    def inverses(self) -> dict[str, Callable[[Array], Array]]:
        """The whole net as it was trained, from x to the top."""
        weights, biases = zip(*((one.weights, one.bias) for one in self.levels), strict=True)
        return {"as_trained": as_trained(weights, biases)}

    @property
    def checks(self) -> tuple[Check, ...]:
        """Those of all levels; each is named by its level."""
        return tuple(
            check._replace(name=f"{level.name}: {check.name}")
            for level in self.levels
            for check in level.checks
        )

    @property
    def judged(self) -> FittedLevel:
        """The highest level whose gates hold; the highest if there is none."""
        passing = [level for level in self.levels if level.fit.passes]
        return (passing or self.levels)[-1]

    def __getitem__(self, name: str) -> FittedLevel:
        for level in self.levels:
            if level.name == name:
                return level
        names = ", ".join(level.name for level in self.levels)
        raise Refusal(f"no fitted layer {name!r}; fitted are: {names}")

    def observe(self, key: PRNGKeyArray, num_obs: int) -> Observations:
        """Makes x by the fitted layers from held-out real h of the top.

        Raises:
            ValueError: more observations than held-out ones.
        """
        return _observe(key, self.model, self.levels[-1].held_out.h, num_obs)

    def summary(self) -> pd.DataFrame:
        """All checks: level, check, value, std_error, wanted, holds, sentence."""
        tables = [tabulate_checks(level.checks).assign(level=level.name) for level in self.levels]
        table = pd.concat(tables, ignore_index=True)
        return table.loc[:, ["level", "check", *Check._fields[1:]]]

    @property
    def _about(self) -> str:
        widths = [self.levels[0].weights.shape[0], *(one.weights.shape[1] for one in self.levels)]
        return f"FittedNet {'-'.join(map(str, widths))}"

    def __repr__(self) -> str:
        said = [f"{level.name}: {level.fit.outcome}" for level in self.levels]
        return cut(f"{self._about}; {'; '.join(said)}")

    def __str__(self) -> str:
        return "\n".join([self._about, *map(str, self.levels)])

    def _table(self) -> Table:
        return Table(self._about, self.summary().loc[:, ["level", *SHOWN]])


def _layers(name: str, value: Any) -> None:
    """What has weights of layers."""
    if not isinstance(value, FeedforwardNet | TrainedLayers):
        door.sequence(name, value)


@door.guard(
    layers=_layers,
    x=door.finite_array("num_obs", "n_visible"),
    held_out=door.finite_array("num_obs", "n_visible"),
    seed=door.seed,
    progress=door.optional(door.function),
)
def fit_net(
    layers: Sequence[TrainedLayer] | FeedforwardNet,
    x: Float[ArrayLike, "obs visible"],
    held_out: Float[ArrayLike, "held_out visible"],
    *,
    layer: str | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> FittedNet:
    """Fits generative layers and priors to the activations of a net, layer by layer.

    Of each layer h = r(W^T x + b) the way down x = gain r(W h + bias + noise) * dropout is fitted
    by `fit_layer`, and two priors of h by `fit_prior`: independent and correlated units. An input
    layer that is given negative x has an identity in the place of r.

    Args:
        layers: what `read_layers` returns, whose last layer is taken to be the net's output and is
            not fitted, unless its file says that it is a ReLU layer; or a `FeedforwardNet`, such as
            `FeedforwardNet.from_weights(coefs[:-1], intercepts[:-1])`, all of whose layers are.
        x: inputs of the net.
        held_out: inputs in no fit.
        layer: name of the one layer to fit; by default all are.
        seed: of controls, see `fit_layer`.
        progress: where to report progress, in layers.

    Raises:
        ValueError: no layer of that name, layers that are not dense ReLU layers or do not fit each
            other or the inputs; or what `fit_layer` refuses.
    """
    names, weights, biases = read_hidden(layers)
    below = [_as_inputs(name, one, weights[0]) for name, one in (("x", x), ("held_out", held_out))]
    if layer is not None and layer not in names:
        raise Refusal(f"no hidden layer {layer!r}; the net's are {', '.join(names)}")
    levels = []
    for number, (name, matrix, bias) in enumerate(zip(names, weights, biases, strict=True)):
        if progress is not None:
            progress(number, len(names))
        train, new = (Activations(one, one @ matrix + bias) for one in below)
        if layer in (None, name):
            levels.append(_fit_level(name, matrix, bias, train, new, seed))
        below = [train.h, new.h]
    return FittedNet(tuple(levels))


def as_trained(
    weights: Sequence[np.ndarray], biases: Sequence[np.ndarray]
) -> Callable[[Array], Array]:
    """The feedforward net with its own biases."""

    def inverse(x: Array) -> Array:
        for matrix, bias in zip(weights, biases, strict=True):
            x = jax.nn.relu(x @ jnp.asarray(matrix) + jnp.asarray(bias)[None, :])
        return x

    return inverse


def _fit_level(
    name: str,
    weights: np.ndarray,
    bias: np.ndarray,
    train: Activations,
    held_out: Activations,
    seed: int,
) -> FittedLevel:
    for which, one in (("x", train), ("held_out", held_out)):
        if not one.h.any():
            raise Refusal(f"layer {name}: no unit fires on {which}: there is nothing to fit")
    signed = (train.x < 0).any() or (held_out.x < 0).any()
    _, fit = fit_layer(
        weights, train.x, train.h, held_out=(held_out.x, held_out.h), seed=seed,
        activation="identity" if signed else "relu",
    )  # fmt: skip
    rows = np.random.default_rng(seed).permutation(len(held_out.x))[:MOST_DENSITIES]
    new = jnp.asarray(held_out.h[rows])
    priors = {}
    for kind in PRIORS:
        prior = _fit_one(kind, train)
        priors[kind] = PriorFit(prior, np.asarray(prior.log_prob(new)))
    chosen = max(PRIORS, key=lambda kind: priors[kind].log_prob.mean())
    return FittedLevel(name, weights, bias, fit, priors, chosen, train, held_out)


def _fit_one(kind: str, train: Activations) -> Prior:
    if kind == CORRELATED:
        return fit_prior(train.h, "correlated", pre_activations=train.v)
    return fit_prior(train.h)


def _observe(key: PRNGKeyArray, model: LayeredModel, h: np.ndarray, num_obs: int) -> Observations:
    if num_obs > len(h):
        raise Refusal(f"num_obs must be at most {len(h)}, what was held out; got {num_obs}")
    key_rows, key_x = jax.random.split(key)
    rows = np.asarray(jax.random.permutation(key_rows, len(h))[:num_obs])
    return model.observe_from(key_x, jnp.asarray(h[rows]))


def _as_inputs(name: str, x: ArrayLike, weights: np.ndarray) -> np.ndarray:
    check_real(name, x)
    x = np.array(x, dtype=float)
    if x.ndim != 2 or x.shape[1] != len(weights):
        got = f"{x.shape[1]} columns" if x.ndim == 2 else f"shape {x.shape}"
        raise Refusal(
            f"{name} must have {len(weights)} columns, the net's inputs, and a row for each "
            f"observation; got {got}"
        )
    if not np.isfinite(x).all():
        raise Refusal(f"{name} must be finite; got NaN or infinity")
    return x
