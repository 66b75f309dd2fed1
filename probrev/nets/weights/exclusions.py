"""Tensors that are no part of a net, told by their names: optimisers, averages, masks."""

import re
from collections.abc import Mapping

import numpy as np

from probrev.nets.weights.names import split_path

OPTIMIZER = "state of an optimiser or a schedule"
AVERAGE = "an average over training, beside the weights themselves"
MASK = "a mask"

# Parts of a path that only optimisers and schedules have.
_OPTIMIZER = re.compile(
    r"(optim(izers?)?([_\d]\w*)?|opt(_state)?s?|exp_(avg|inf)\w*|max_exp_avg\w*"
    r"|momentums?|momentum_buffers?|square_avg|grad_avg|acc_delta|adam\w*|rmsprop\w*|adagrad\w*"
    r"|adadelta\w*|sgd|ftrl|velocity|(first|second)_?moments?|moments?|slot(s|_variables)|grads?"
    r"|gradients?|accumulators?|(lr_)?schedulers?)(_?\d+)?",
    re.IGNORECASE,
)
# Those that some modules have too: moments only if the rest of the name is that of a weight.
_MOMENTS = {"mu": "nu", "nu": "mu", "m": "v", "v": "m", "trace": ""}
_ROOTS = ("model", "module", "net", "params", "state_dict")
_AVERAGE = re.compile(r"(.*_)?(ema|shadow|swa|polyak|averaged)\d*(_.*)?", re.IGNORECASE)
_MASK = re.compile(r"(.*_)?masks?\d*", re.IGNORECASE)


def exclude(tensors: Mapping[str, np.ndarray]) -> dict[str, str]:
    """Why tensors are no part of a net, by their names.

    An average is left out only beside the weights that it is an average of: alone it is the net.
    """
    found = {name: reason for name in tensors if (reason := _own_reason(name))}
    found |= {
        name: OPTIMIZER for name in tensors if name not in found and _is_moment(name, tensors)
    }
    averages = [name for name in tensors if name not in found and _has(_AVERAGE, name)]
    rest = [name for name in tensors if name not in found and name not in averages]
    if any(tensors[name].ndim > 1 for name in rest):
        found |= dict.fromkeys(averages, AVERAGE)
    return found


def _own_reason(name: str) -> str:
    if _has(_OPTIMIZER, name):
        return OPTIMIZER
    return MASK if _has(_MASK, name) else ""


def _has(pattern: re.Pattern[str], name: str) -> bool:
    return any(pattern.fullmatch(part) for part in split_path(name))


def _is_moment(name: str, tensors: Mapping[str, np.ndarray]) -> bool:
    """Whether two moments of one shape stand side by side, or one beside the weight of its name."""
    path = split_path(name)
    for place, part in enumerate(path[:-1]):
        if part in _MOMENTS:
            twin = [*path[:place], _MOMENTS[part], *path[place + 1 :]]
            weights = [path[1:], *([root, *path[1:]] for root in _ROOTS)] if not place else []
            for other, tensor in tensors.items():
                is_like = split_path(other) in (twin, *weights)
                if is_like and tensor.shape == tensors[name].shape:
                    return True
    return False
