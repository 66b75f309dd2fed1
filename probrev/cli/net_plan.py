"""What `probrev compare NET --data X` was asked for."""

import hashlib
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from probrev.nets.weights.npy_files import read_npy_file
from probrev.nets.weights.trained_layer import RELU
from probrev.plumbing.paths import check_path
from probrev.plumbing.refusal import MissingFileRefusal, Refusal

FEWEST_INPUTS, FEWEST_HELD_OUT, HELD_OUT_SHARE = 200, 64, 0.3
# Activations that fall somewhere, so that a value has several pre-activations.
NOT_MONOTONE = ("gelu", "silu", "swish", "mish", "hardswish", "hard_silu", "sin")
Inputs = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class NetPlan:
    """A request, checked as far as can be without reading the weights.

    Attributes:
        file: of weights.
        data: .npy file of the net's inputs, a row each.
        test_data: alike, of inputs in no fit; None to hold some of data out.
        layer: the one to judge; None for the highest whose fit passes.
        activation: of the hidden layers, as the user says it.
        prior: "independent" or "correlated"; None for the likelier.
        num_obs: observations; None for as many looks as the verdict needs.
        seed: of everything random.
    """

    file: Path
    data: Path
    test_data: Path | None
    layer: str | None
    activation: str
    prior: str | None
    num_obs: int | None
    seed: int

    def __post_init__(self):
        if not self.file.is_file():
            raise MissingFileRefusal(f"no file {self.file}: give a net's file of weights")
        for option, path in (("--data", self.data), ("--test-data", self.test_data)):
            if path is not None:
                check_path(option, path)
                if not path.is_file():
                    raise MissingFileRefusal(f"{option} {path}: no such file; expected a .npy file")
        if self.activation.lower() in NOT_MONOTONE:
            raise Refusal(
                f"--activation {self.activation}: it is not monotone, so that a value has several "
                "pre-activations and no way down; only nets of ReLU layers can be judged"
            )
        if self.activation != RELU:
            raise Refusal(
                f"--activation {self.activation}: only nets of ReLU layers can be judged, since "
                "their h are a spike at 0 and a slab above; expected relu"
            )

    def read_inputs(self) -> Inputs:
        """Inputs to fit to, and inputs held out.

        Raises:
            ValueError: a file that is no matrix of finite numbers, or too few rows.
        """
        x = read_matrix("--data", self.data)
        if self.test_data is None:
            if len(x) < FEWEST_INPUTS:
                raise Refusal(
                    f"--data {self.data}: {len(x)} inputs are too few to fit and check; at least "
                    f"{FEWEST_INPUTS} are needed"
                )
            order = np.random.default_rng(self.seed).permutation(len(x))
            count = max(FEWEST_HELD_OUT, round(HELD_OUT_SHARE * len(x)))
            return x[order[count:]], x[order[:count]]
        held_out = read_matrix("--test-data", self.test_data)
        if len(x) + len(held_out) < FEWEST_INPUTS or len(held_out) < FEWEST_HELD_OUT:
            raise Refusal(
                f"--data {self.data}: {len(x)} inputs, and --test-data {self.test_data}: "
                f"{len(held_out)} held out, are too few to fit and check; at least "
                f"{FEWEST_INPUTS} are needed, {FEWEST_HELD_OUT} of them held out"
            )
        if x.shape[1] != held_out.shape[1]:
            raise Refusal(
                f"--test-data {self.test_data} has {held_out.shape[1]} columns, and --data "
                f"{self.data} {x.shape[1]}: both are inputs of the same net"
            )
        return x, held_out

    @property
    def sha256(self) -> dict[str, str]:
        """Of every file."""
        paths = [path for path in (self.file, self.data, self.test_data) if path is not None]
        return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}

    @property
    def identity(self) -> dict[str, Any]:
        """What the run depends on, to know its checkpoints by."""
        return {"command": shlex.join(self.command), "files": self.sha256}

    @property
    def command(self) -> list[str]:
        """Words of the command that repeats it, but not the folder."""
        words = ["probrev", "compare", str(self.file), "--data", str(self.data)]
        for option, value in (
            ("--test-data", self.test_data),
            ("--layer", self.layer),
            ("--prior", self.prior),
            ("--num-obs", self.num_obs),
            ("--seed", self.seed),
        ):
            words += [] if value is None else [option, str(value)]
        return words


def read_matrix(option: str, path: Path) -> np.ndarray:
    """The matrix in a .npy file.

    Raises:
        ValueError: it is no .npy file of a matrix of finite numbers.
    """
    try:
        x = read_npy_file(path)
    except ValueError as error:
        raise Refusal(f"{option} {path}: cannot be read as a .npy file: {error}") from error
    if x.ndim != 2:
        raise Refusal(
            f"{option} {path}: expected a matrix of numbers, an input in each row; got shape "
            f"{x.shape} of {x.dtype}"
        )
    if not np.isfinite(x).all():
        raise Refusal(f"{option} {path}: values must be finite; got NaN or infinity")
    return np.asarray(x, dtype=float)
