"""What the configuration of a Keras model says of its layers: order, connections, settings."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from probrev.nets.weights.json_text import read_json
from probrev.plumbing.refusal import TypeRefusal

# Layers that leave their input as it is when a net is used.
IDENTITIES = (
    "ActivityRegularization", "AlphaDropout", "Dropout", "GaussianDropout", "GaussianNoise",
    "Identity", "InputLayer", "SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D",
)  # fmt: skip
# Those that only arrange it otherwise.
ARRANGEMENTS = ("Flatten", "Reshape")
BATCH_NORM = "BatchNormalization"
# Those that are nonlinearities.
_NONLINEARITIES = ("Activation", "ELU", "LeakyReLU", "PReLU", "ReLU", "Softmax", "ThresholdedReLU")
LINEAR = "linear"


class KerasLayer(NamedTuple):
    """One layer as the configuration has it.

    Attributes:
        name: its name; within a model inside the model, after the names of those.
        class_name: "Dense", ...
        path: of its variables in a file of Keras 3.
        settings: its own part of the configuration.
        inputs: names of the layers that it takes its input from.
        num_calls: how often it is used.
    """

    name: str
    class_name: str
    path: str
    settings: Mapping[str, Any]
    inputs: tuple[str, ...]
    num_calls: int = 1

    @property
    def own_name(self) -> str:
        """Its name in the model that holds it."""
        return self.name.rpartition("/")[2]

    @property
    def nonlinearity(self) -> str:
        """The function that it ends in; "linear" if in none."""
        if self.class_name == "ReLU":
            limits = [
                self.settings.get(one) for one in ("max_value", "negative_slope", "threshold")
            ]
            return "limited_relu" if any(limits) else "relu"
        if self.class_name in _NONLINEARITIES and self.class_name != "Activation":
            return snake_case(self.class_name).replace("re_lu", "relu")
        said = self.settings.get("activation") or LINEAR
        if isinstance(said, dict):
            inner = said.get("config")
            said = inner if isinstance(inner, str) else snake_case(str(said.get("class_name")))
        return str(said).replace("re_lu", "relu")

    @property
    def dtype(self) -> str:
        """That of its variables: that of its policy, unless it mixes two."""
        said = self.settings.get("dtype") or ""
        inner = said.get("config") if isinstance(said, dict) else None
        return str(inner.get("name", "") if isinstance(inner, dict) else said)

    @property
    def initializer(self) -> str:
        """What drew its kernel; "" if that has no name here."""
        return _initializer(self.settings)


@dataclass(frozen=True)
class KerasGraph:
    """The layers of a Keras model, in the order of its configuration."""

    layers: tuple[KerasLayer, ...]

    def find(self, tensor: str) -> tuple[KerasLayer, str] | None:
        """The layer that a tensor belongs to, by its path in the file, and the rest of the path."""
        for layer in self.layers:
            if tensor.startswith(f"{layer.path}/"):
                return layer, tensor[len(layer.path) + 1 :]
        *groups, leaf = re.sub(r":\d+$", "", tensor).split("/")
        for place, group in enumerate(groups):
            own = [layer for layer in self.layers if layer.own_name == group]
            if own:
                return (own[0], "/".join([*groups[place + 1 :], leaf])) if len(own) == 1 else None
        return None

    def readers(self, name: str) -> list[KerasLayer]:
        """The layers that take their input from that one."""
        return [layer for layer in self.layers if name in layer.inputs]

    def source(self, layer: KerasLayer) -> tuple[KerasLayer | None, bool]:
        """What a layer acts on, past those that change nothing, and whether it alone does."""
        alone = True
        for _ in self.layers:  # not without end, where two have one name
            if len(layer.inputs) != 1:
                break
            found = [one for one in self.layers if one.name == layer.inputs[0]]
            if len(found) != 1:
                break
            (layer,) = found
            alone = alone and len(self.readers(layer.name)) == 1 and layer.num_calls == 1
            if layer.class_name not in IDENTITIES:
                return layer, alone
        return None, False

    def target(self, layer: KerasLayer) -> KerasLayer | None:
        """The one layer that acts on it, past those that change nothing."""
        for _ in self.layers:
            found = self.readers(layer.name)
            if len(found) != 1 or layer.num_calls > 1 or len(found[0].inputs) > 1:
                return None
            (layer,) = found
            if layer.class_name not in IDENTITIES:
                return layer
        return None

    def activation(self, layer: KerasLayer) -> str:
        """The nonlinearity that a layer's output goes through, its own or that of the next."""
        following: KerasLayer | None = layer
        for _ in self.layers:
            if following is None or following.nonlinearity != LINEAR:
                break
            following = self.target(following)
            is_on_the_way = following is not None and (
                following.class_name in (BATCH_NORM, *ARRANGEMENTS, *_NONLINEARITIES)
            )
            if not is_on_the_way:
                return LINEAR
        return following.nonlinearity if following is not None else LINEAR

    def branches(self) -> Iterator[str]:
        """Sentences on what keeps the layers from acting one after the other."""
        for layer in self.layers:
            if len(layer.inputs) > 1:
                yield f"{layer.name} joins {len(layer.inputs)} layers"
            if layer.num_calls > 1:
                yield f"{layer.name} is used {layer.num_calls} times"
            if len(self.readers(layer.name)) > 1:
                yield f"{layer.name} is read by {len(self.readers(layer.name))} layers"

    def gaps(self) -> Iterator[str]:
        """Sentences on layers without weights that are no nonlinearities: poolings, scalings."""
        known = (*IDENTITIES, *ARRANGEMENTS, *_NONLINEARITIES, BATCH_NORM)
        for layer in self.layers:
            if layer.class_name not in known and not _has_weights(layer):
                yield f"{layer.name}, a layer of class {layer.class_name}, is in none of the others"


def read_config(text: str | bytes) -> KerasGraph | None:
    """The layers of a model by its JSON configuration; None if that lists none.

    Nested models are taken apart; the configuration is data, and no class is looked up.
    """
    try:
        config = read_json(text)
        layers, _ = _walk(config, "", "", ())
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError):
        return None
    return KerasGraph(tuple(layers)) if layers else None


def snake_case(class_name: str) -> str:
    """The name that Keras 3 gives the variables of a class."""
    words = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", re.sub(r"\W+", "", class_name))
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", words).lower()


def _walk(
    model: Any, name: str, path: str, inputs: tuple[str, ...]
) -> tuple[list[KerasLayer], tuple[str, ...]]:
    """The layers of a model and the names of those that its output comes from."""
    config = model["config"]
    listed = config["layers"] if isinstance(config, dict) else config
    chain = model["class_name"] == "Sequential"
    counts: dict[str, int] = {}
    outputs: dict[str, tuple[str, ...]] = {}
    layers: list[KerasLayer] = []
    last = inputs
    for one in listed:
        own = one["config"]["name"] if isinstance(one["config"], dict) else one["name"]
        if not isinstance(own, str):
            raise TypeRefusal(f"a layer called {own!r}")
        full = f"{name}/{own}" if name else own
        kind = snake_case(one["class_name"])
        counts[kind] = counts.get(kind, -1) + 1
        place = f"{path}layers/{kind}" + (f"_{counts[kind]}" if counts[kind] else "")
        nodes = one.get("inbound_nodes") or []
        sources = dict.fromkeys(found for node in nodes for found in _sources(node))
        taken = last if chain else _ends(sources, outputs)
        if isinstance(one["config"], list) or "layers" in one["config"]:
            inner, last = _walk(one, full, f"{place}/", taken)
            layers += inner
        else:
            taken = inputs if one["class_name"] == "InputLayer" else taken
            calls = max(1, len(nodes))
            layers.append(KerasLayer(full, one["class_name"], place, one["config"], taken, calls))
            last = (full,)
        outputs[own] = last
    if not chain and isinstance(config, dict):
        last = _ends(_sources(config["output_layers"]), outputs)
    return layers, last


def _ends(sources: Iterable[str], outputs: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """The layers that what comes from some sources is the output of, each once."""
    return tuple(dict.fromkeys(end for source in sources for end in outputs[source]))


def _sources(node: Any) -> Iterator[str]:
    """Names in `[name, int, int, ...]` anywhere in a node, as Keras 2 and 3 write them."""
    if isinstance(node, dict):
        for value in node.values():
            yield from _sources(value)
    elif isinstance(node, list):
        if len(node) > 2 and isinstance(node[0], str) and [type(n) for n in node[1:3]] == [int] * 2:
            yield node[0]
        else:
            for value in node:
                yield from _sources(value)


def _has_weights(layer: KerasLayer) -> bool:
    """Whether a layer is of the kinds that have weights of their own, by its settings."""
    return any(name.endswith("_initializer") or name == "layer" for name in layer.settings)


def _initializer(settings: Mapping[str, Any]) -> str:
    found = settings.get("kernel_initializer") or {}
    if isinstance(found, str):
        return found
    if not isinstance(found, dict):
        return ""
    inner = found.get("config")
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", str(found.get("class_name", ""))).lower()
    if words != "variance_scaling" or not isinstance(inner, dict):
        return words
    spread = "uniform" if inner.get("distribution") == "uniform" else "normal"
    families: dict[Any, str] = {
        (1.0, "fan_avg"): "glorot", (2.0, "fan_in"): "he", (1.0, "fan_in"): "lecun",
    }  # fmt: skip
    family = families.get((inner.get("scale"), inner.get("mode")))
    return f"{family}_{spread}" if family else ""
