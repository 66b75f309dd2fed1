"""Nets of flax, linen and nnx, as flat dicts of arrays in the formats that take them."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen, nnx, serialization, traverse_util
from safetensors.numpy import save_file

from tests.nets.weights.exporters.corpus import new_path, write_run

BIASES = linen.initializers.normal(0.3)
HE = linen.initializers.he_normal()


def dense(units):
    return linen.Dense(units, kernel_init=HE, bias_init=BIASES)


class Deep(linen.Module):
    depth: int = 13
    norm: bool = False

    @linen.compact
    def __call__(self, x):
        for _ in range(self.depth - 1):
            x = dense(6)(x)
            if self.norm:
                x = linen.BatchNorm(use_running_average=True)(x)
            x = linen.relu(x)
        return dense(3)(x)


class Ambiguous(linen.Module):
    @linen.compact
    def __call__(self, x):
        x = linen.relu(dense(6)(x))
        x = linen.BatchNorm(use_running_average=True)(dense(6)(x))
        return dense(6)(linen.relu(x))


class Kinds(linen.Module):
    @linen.compact
    def __call__(self, x):
        x = linen.Conv(4, (3, 3))(x)
        x = linen.Conv(4, (3, 3), feature_group_count=4)(x)
        x = linen.ConvTranspose(4, (3, 3))(x).reshape(len(x), -1, 4)
        x = linen.MultiHeadDotProductAttention(2)(linen.LayerNorm()(x))
        return linen.RNN(linen.OptimizedLSTMCell(3))(x)


class Convolutions(linen.Module):
    @linen.compact
    def __call__(self, x):
        x = linen.relu(linen.Conv(4, (3, 3), padding="VALID", bias_init=BIASES)(x))
        return linen.Conv(5, (2, 3), padding="VALID", use_bias=False)(x)


def flat(net, *shape):
    """Arrays by path, with the statistics of a net after training, and a run's input."""
    x = np.random.default_rng(1).normal(size=(4, *shape)).astype("f4")
    variables = net.init(jax.random.key(0), x)
    keys = iter(jax.random.split(jax.random.key(1), 100))
    stats = variables.get("batch_stats", {})
    stats = jax.tree.map(lambda one: jax.random.uniform(next(keys), one.shape) + 0.5, stats)
    variables = {**variables, **({"batch_stats": stats} if stats else {})}
    arrays = traverse_util.flatten_dict(variables, sep="/")
    return {name: np.asarray(array) for name, array in arrays.items()}, variables, x


def save(name, net, *shape, is_run=True):
    arrays, variables, x = flat(net, *shape)
    if name.endswith(".npz"):
        np.savez(new_path(name), **arrays)
    elif name.endswith(".msgpack"):
        new_path(name).write_bytes(serialization.to_bytes(variables))
    else:
        save_file(arrays, new_path(name))
    if is_run:
        write_run(name, x, net.apply(variables, x))


class Stack(nnx.Module):
    def __init__(self, rngs):
        self.layers = nnx.List([nnx.Linear(6, 6, rngs=rngs, bias_init=BIASES) for _ in range(11)])
        self.norm = nnx.BatchNorm(6, use_running_average=True, rngs=rngs)
        self.head = nnx.Linear(6, 3, rngs=rngs, bias_init=BIASES)

    def __call__(self, x):
        for layer in self.layers[:-1]:
            x = nnx.relu(layer(x))
        return self.head(nnx.relu(self.norm(self.layers[-1](x))))


def write_nnx():
    """A stack whose one normalisation is named after no layer, and comes after the last but one."""
    net = Stack(nnx.Rngs(0))
    net.norm.mean[...] = jnp.arange(6.0) / 6
    state = nnx.to_flat_state(nnx.state(net))
    arrays = {".".join(map(str, path)): np.asarray(one[...]) for path, one in state}
    np.savez(new_path("flax/nnx.npz"), **arrays)
    x = np.random.default_rng(1).normal(size=(4, 6)).astype("f4")
    write_run("flax/nnx.npz", x, net(x))


def write_flax():
    """Writes all of them."""
    save("flax/deep.safetensors", Deep(), 6)
    save("flax/deep.npz", Deep(), 6)
    save("flax/deep.msgpack", Deep(depth=3), 6, is_run=False)
    save("flax/norms.safetensors", Deep(norm=True), 6)
    save("flax/norms.npz", Deep(depth=4, norm=True), 6)
    save("flax/ambiguous_norm.safetensors", Ambiguous(), 6, is_run=False)
    save("flax/convolutions.safetensors", Convolutions(), 6, 7, 2)
    save("flax/kinds.safetensors", Kinds(), 3, 3, 2, is_run=False)
    write_nnx()
