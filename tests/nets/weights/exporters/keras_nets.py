"""Nets of Keras 3 on JAX, as whole models, as weights, and in the older HDF5 format."""

from itertools import chain

import keras
import numpy as np
from keras import layers

from tests.nets.weights.exporters.corpus import new_path, pack, write_run

keras.utils.set_random_seed(0)
RNG = np.random.default_rng(0)
HE, BIASES = "he_normal", keras.initializers.RandomNormal(stddev=0.3)
WHOLE, WEIGHTS, OLD = ".keras", ".weights.h5", ".h5"


def dense(units, activation=None, **more):
    settings = {"kernel_initializer": HE, "bias_initializer": BIASES, **more}
    return layers.Dense(units, activation=activation, **settings)


def model(*parts, shape):
    net = keras.Sequential([keras.Input(shape), *parts])
    use(net)
    return net


def use(net):
    """Gives batch normalisations the values of a net after training."""
    for layer in net.layers:
        if isinstance(layer, layers.BatchNormalization):
            values = [RNG.normal(1, 0.3, weight.shape) for weight in layer.weights]
            values[-1] = np.abs(values[-1])
            layer.set_weights(values)
        elif isinstance(layer, keras.Model):
            use(layer)


def save(name, net, *formats, is_run=True):
    """Saves a model in some formats, a run beside each if there is one to compare with."""
    for ending in formats:
        path = new_path(f"keras/{name}{ending}")
        net.save_weights(path) if ending == WEIGHTS else net.save(path)
        pack(path)
        if is_run:
            x = RNG.normal(size=(4, *net.input_shape[1:]))
            write_run(f"keras/{name}{ending}", x, net(x))


def norm(**settings):
    return layers.BatchNormalization(**settings)


def write_dense():
    net = model(*(dense(6, "relu") for _ in range(12)), dense(3), shape=(6,))
    save("deep", net, WEIGHTS, OLD)
    save("middle", model(*(dense(6, "relu") for _ in range(3)), dense(3), shape=(6,)), WHOLE)
    inner = keras.Sequential([keras.Input((6,)), dense(6), norm(epsilon=0.01), layers.ReLU()])
    nested = model(dense(6, "relu"), inner, dense(3), shape=(5,))
    save("nested", nested, WHOLE, OLD)
    i = keras.Input((5,))
    h = layers.Dropout(0.5)(layers.Activation("relu")(dense(6)(i)))
    save("functional", keras.Model(i, dense(2)(h)), WHOLE, OLD)
    h = dense(5, "relu")(i)
    save("skip", keras.Model(i, dense(2)(layers.Add()([h, i]))), WHOLE, is_run=False)
    lists = Lists()
    lists(np.zeros((1, 5)))
    path = new_path("keras/lists.weights.h5")
    lists.save_weights(path)
    pack(path)
    x = RNG.normal(size=(4, 5))
    write_run("keras/lists.weights.h5", x, lists(x))


class Lists(keras.Model):
    """A model whose variables are found by the names of attributes."""

    def __init__(self):
        super().__init__()
        self.stem, self.blocks, self.head = dense(6, "relu"), [], dense(2)
        self.blocks = [dense(6, "relu") for _ in range(2)]

    def call(self, x):
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return self.head(x)


def write_norms():
    bare = {"scale": False, "center": False}
    parts = [[dense(6), norm(epsilon=0.01), layers.ReLU()] for _ in range(2)]
    parts += [[dense(6), norm(**bare), layers.ReLU()]]
    net = model(*chain.from_iterable(parts), dense(3), shape=(5,))
    save("norms", net, WHOLE, OLD)
    plain = [[dense(6), norm(), layers.ReLU()] for _ in range(11)]
    save("norms", model(*chain.from_iterable(plain), dense(3), shape=(5,)), WEIGHTS)
    odd = model(dense(6), norm(epsilon=0.1), layers.ReLU(), dense(3), shape=(5,))
    save("odd_epsilon", odd, WEIGHTS)
    usual = [layers.Conv2D(4, 3, bias_initializer=BIASES), norm(), layers.ReLU()]
    usual.append(layers.Conv2D(5, (2, 3), use_bias=False))
    save("convolutions", model(*usual, shape=(6, 7, 2)), WEIGHTS)
    after = model(dense(6, "relu"), norm(), dense(6, "relu"), dense(2), shape=(5,))
    save("norm_after_relu", after, WHOLE, OLD)
    save("norm_after_relu", after, WEIGHTS, is_run=False)
    first = model(norm(), dense(6, "relu"), dense(2), shape=(5,))
    save("norm_first", first, WHOLE)
    between = model(dense(6, "relu"), norm(), layers.ReLU(), dense(2), shape=(5,))
    save("norm_between", between, WHOLE, is_run=False)
    save("layer_norm", model(dense(6), layers.LayerNormalization(), dense(2), shape=(5,)), WHOLE)


def write_others():
    net = model(dense(6, "relu", dtype="bfloat16"), dense(2, dtype="bfloat16"), shape=(5,))
    exact = model(dense(6, "relu"), dense(2), shape=(5,))
    exact.set_weights([np.asarray(weight, "f4") for weight in net.get_weights()])
    x = RNG.normal(size=(4, 5))
    for ending in (WHOLE, WEIGHTS, OLD):
        save("bfloat16", net, ending, is_run=False)
        write_run(f"keras/bfloat16{ending}", x, exact(x))
    trained = model(dense(6, "gelu"), dense(2), shape=(5,))
    trained.compile("adam", "mse")
    trained.fit(np.zeros((2, 5)), np.zeros((2, 2)), verbose=0)
    save("gelu_trained", trained, WHOLE, WEIGHTS, OLD, is_run=False)
    net = model(
        layers.Conv2D(4, 3, bias_initializer=BIASES), norm(epsilon=0.01), layers.ReLU(),
        layers.Conv2D(5, (2, 3), use_bias=False), shape=(6, 7, 2),
    )  # fmt: skip
    save("convolutions", net, WHOLE, OLD)
    save(
        "convolution_1d", model(layers.Conv1D(4, 3, bias_initializer=BIASES), shape=(9, 2)), WEIGHTS
    )
    kinds = model(
        layers.Conv2D(3, 3), layers.DepthwiseConv2D(2), layers.SeparableConv2D(4, 2),
        layers.Conv2DTranspose(4, 2), layers.Flatten(), dense(2), shape=(6, 6, 2),
    )  # fmt: skip
    save("convolution_kinds", kinds, WHOLE, WEIGHTS, OLD, is_run=False)
    grouped = model(layers.Conv2D(4, 3, groups=2), shape=(6, 6, 2))
    save("grouped", grouped, WHOLE, is_run=False)
    i = keras.Input((4,), dtype="int32")
    h = layers.Embedding(9, 6)(i)
    h = layers.MultiHeadAttention(2, 3)(h, h)
    h = layers.Bidirectional(layers.LSTM(3))(h)
    save("sequence", keras.Model(i, dense(2)(h)), WHOLE, WEIGHTS, OLD, is_run=False)


def write_keras():
    """Writes all of them."""
    for write in (write_dense, write_norms, write_others):
        write()
