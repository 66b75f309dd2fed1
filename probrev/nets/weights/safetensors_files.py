"""safetensors files, whole or in shards that an index names."""

from pathlib import Path

import numpy as np
from safetensors import safe_open

from probrev.nets.weights.content import Content
from probrev.nets.weights.json_text import read_json
from probrev.nets.weights.names import natural
from probrev.plumbing.refusal import Refusal

# Types of safetensors that NumPy reads with ml_dtypes, and what the others are.
READABLE = (
    "BOOL", "U8", "I8", "U16", "I16", "U32", "I32", "U64", "I64", "F16", "BF16", "F32", "F64",
)  # fmt: skip
# Of the header: what is made of it takes many times its bytes.
_MOST_HEADER = 2**23
# Characters of a file's name.
_LONGEST = 255


def read_safetensors(path: Path) -> Content:
    """Reads a safetensors file, which keeps no order of its tensors but that of their names.

    Raises:
        ValueError: its header is vast.
    """
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
    if length > _MOST_HEADER:
        raise Refusal(f"its header has {length} bytes; expected at most {_MOST_HEADER}")
    tensors: dict[str, np.ndarray] = {}
    left_out: dict[str, str] = {}
    with safe_open(path, framework="numpy") as file:
        for name in sorted(file.keys(), key=natural):
            kind = file.get_slice(name).get_dtype()
            if kind in READABLE:
                tensors[name] = file.get_tensor(name)
            else:
                left_out[name] = f"of type {kind}, which needs a scale or is no real number"
    return Content(tensors, left_out, is_ordered=False)


def read_index(path: Path) -> tuple[dict[str, str], list[Path]]:
    """The names in an index of shards with the file of each, and the files, beside the index.

    Raises:
        ValueError: no such index, or one that names a file elsewhere or none.
    """
    content = read_json(path.read_bytes())
    shards = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(shards, dict) or not shards:
        raise Refusal("expected an index of shards, with a weight_map")
    for shard in shards.values():
        if not isinstance(shard, str) or Path(shard).name != shard or len(shard) > _LONGEST:
            raise Refusal(f"the index names {shard!r}: expected a file beside it")
        if not (path.parent / shard).is_file():
            raise Refusal(f"the index names {shard}, which is not beside it")
    return shards, [path.parent / shard for shard in dict.fromkeys(shards.values())]


def join_shards(shards: dict[str, str], contents: dict[str, Content]) -> Content:
    """One content of several files, by the index that names them.

    Raises:
        ValueError: a shard does not have a tensor that the index says it has.
    """
    tensors: dict[str, np.ndarray] = {}
    left_out: dict[str, str] = {}
    for name in sorted(shards, key=natural):
        content = contents[shards[name]]
        if name in content.tensors:
            tensors[name] = content.tensors[name]
        elif name in content.left_out:
            left_out[name] = content.left_out[name]
        else:
            raise Refusal(f"{shards[name]} has no tensor {name}, though the index says so")
    return Content(tensors, left_out, is_ordered=False)
