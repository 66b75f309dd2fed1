"""What common initialisers draw: the variance of the weights before any training."""

from collections.abc import Callable

from probrev.plumbing.refusal import Refusal

# Variance of an entry, given fan_in and fan_out: the inputs of a hidden unit, and the hidden units
# that an input reaches.
_VARIANCES: dict[str, Callable[[float, float], float]] = {
    "glorot": lambda fan_in, fan_out: 2 / (fan_in + fan_out),
    "he": lambda fan_in, fan_out: 2 / fan_in,
    "lecun": lambda fan_in, fan_out: 1 / fan_in,
}
INITIALIZERS = (*(f"{one}_{kind}" for one in _VARIANCES for kind in ("uniform", "normal")), "torch")


def init_variance(initializer: str, fan_in: float, fan_out: float) -> float:
    """Variance of a weight as an initialiser draws it.

    Args:
        initializer: "glorot_uniform" or "glorot_normal", 2 / (fan_in + fan_out); "he_...",
            2 / fan_in; "lecun_...", 1 / fan_in; "torch", the default of torch's linear and
            convolutional layers, uniform within 1 / sqrt(fan_in), so 1 / (3 fan_in).
        fan_in: number of inputs of a hidden unit, positive; k * k * c_in for a convolution.
        fan_out: number of hidden units that an input reaches; k * k * c_out for a convolution.

    Raises:
        ValueError: no such initialiser.

    Source: Glorot and Bengio 2010; He et al. 2015 (arXiv:1502.01852); torch/nn/modules/linear.py.
    """
    check_initializer(initializer)
    if initializer == "torch":
        return 1 / (3 * fan_in)
    return _VARIANCES[initializer.rpartition("_")[0]](fan_in, fan_out)


def check_initializer(initializer: str) -> None:
    """Raises ValueError for a name that is not known; the empty one says that nothing is."""
    if initializer and initializer not in INITIALIZERS:
        raise Refusal(f"initializer must be one of {', '.join(INITIALIZERS)}; got {initializer!r}")
