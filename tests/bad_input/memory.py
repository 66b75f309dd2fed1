"""The memory that reading a file of weights takes, honest or hostile, a process for each.

    uv run python -m tests.bad_input.memory

Prints two lines for each file, of its tensors and of its layers, and exits with 1 where the memory
is 4 times the size of the file or more. Files below 64 MB count as 64 MB. An honest file is one
whose arrays are plausible for its size; its size is theirs.
"""

import os
import struct
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Sized
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import safetensors.numpy

from probrev.nets.weights.files import read_tensors
from probrev.nets.weights.layers import read_layers
from probrev.plumbing.refusal import REFUSALS
from tests.bad_input.weight_files import (
    archive,
    described,
    entry,
    hdf5,
    npy,
    pickled,
)  # fmt: skip
from tests.bad_input.weight_files import (
    safetensors as with_header,
)
from tests.nets.weights import torch_pickles
from tests.nets.weights.torch_pickles import Stored, Tensor

LEAST, TIMES = 2**26, 4
SIDE = 2**12
MANY = 2**19


def honest() -> dict[str, Callable[[], bytes]]:
    """Files of 64 MB."""
    weights = np.random.default_rng(0).normal(size=(SIDE, SIDE)).astype("f4")
    wide = np.tile(weights, 2).astype(jnp.bfloat16)
    statistics = dict.fromkeys(("running_mean", "running_var"), np.ones(SIDE, "f4"))
    norm = {f"1.{name}": value for name, value in statistics.items()}
    member = npy(described(shape=(SIDE, SIDE)), weights.tobytes())
    made = lambda: hdf5(lambda file: file.create_dataset("layers/dense/vars/0", data=weights))  # noqa: E731
    state = lambda: torch_pickles.state_dict({"w.weight": weights})  # noqa: E731
    return {
        "npy": lambda: member,
        "npz": lambda: archive({"w.npy": member}),
        "safetensors": lambda: safetensors.numpy.save({"w": weights}),
        "safetensors, bfloat16": lambda: safetensors.numpy.save({"w": wide}),
        "safetensors, float16": lambda: safetensors.numpy.save({"w": wide.astype("f2")}),
        "normalised, bfloat16": lambda: safetensors.numpy.save({"0.weight": wide, **norm}),
        "weight normalisation, bfloat16": lambda: safetensors.numpy.save(
            {"0.weight_v": wide, "0.weight_g": wide[:, :1]}
        ),
        "normalised input, bfloat16": lambda: safetensors.numpy.save({"2.weight": wide.T, **norm}),
        "torch": lambda: torch_pickles.archive(*state()),
        "old torch": lambda: torch_pickles.legacy(*state()),
        "HDF5": made,
        "keras": lambda: archive({"config.json": b"{}", "model.weights.h5": made()}),
    }


def hostile() -> dict[str, Callable[[], bytes]]:
    """Small files that ask for much."""
    zeros = npy(described(shape=(2**22 - 10,)), bytes(4 * (2**22 - 10)))
    many = {f"{number}.npy": zeros for number in range(20)}
    stored = Stored("0", np.zeros(2**21, "f4"))
    views = {
        str(number): Tensor(Stored("0", np.zeros(2**21 - number, "f4")), (2,), (1,))
        for number in range(50)
    }
    config = b"[" + b"[]," * (2**22) + b"[]]"
    one = struct.pack("<4s4B4HL2L5H2L", b"PK\1\2", 20, 0, 20, *[0] * 8, 1, *[0] * 6) + b"a"
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 9, 9, len(one) * MANY, 0, 0)
    empty = b",".join(b'"%x":{"dtype":"U8","shape":[],"data_offsets":[%d,%d]}' % (n, n, n + 1)
                      for n in range(MANY // 5))  # fmt: skip
    notes = b'{"__metadata__":{' + b",".join(b'"%x":""' % number for number in range(MANY)) + b"}"
    return {
        "npz of zeros": lambda: archive(many, zipfile.ZIP_DEFLATED),
        "HDF5 of zeros": lambda: hdf5(
            lambda file: file.create_dataset(
                "w", data=np.zeros((2**13, 2**13), "f4"), compression="gzip", chunks=(2**11, 2**11)
            )
        ),
        "many HDF5 arrays": lambda: hdf5(
            lambda file: [file.create_dataset(str(number), data=1.0) for number in range(1000)]
        ),
        "one storage, many sizes": lambda: torch_pickles.archive(views, [stored]),
        "expanded": lambda: torch_pickles.archive(
            {"w": Tensor(Stored("0", np.ones(1)), (SIDE, SIDE), (0, 0))}, [Stored("0", np.ones(1))]
        ),
        "pickle of dicts": lambda: pickled(b"\x80\2" + b"}" * 2**23 + b"."),
        "pickle of memos": lambda: pickled(b"\x80\2}q\0" + b"h\0" * 2**22 + b"."),
        "directory": lambda: b"PK\3\4" + one * MANY + end,
        "configuration": lambda: archive({"config.json": config, "model.weights.h5": hdf5(len)}),
        "index": lambda: b'{"weight_map":{"w":' + config + b"}}",
        "header": lambda: with_header(b"{" + empty + b"}", bytes(MANY // 5)),
        "notes": lambda: with_header(notes + b"}", b""),
        "length of the header": lambda: with_header({"w": entry()}, length=2**40),
    }


def memory(name: str) -> int:
    """Bytes of this process: VmRSS, or the most so far, VmHWM."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith(name)).split()[1])


def peak(read: Callable[[Path], Sized], path: Path) -> tuple[int, str]:
    """Bytes that reading a file takes at most, and what came of it."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        Path("/proc/self/clear_refs").write_text("5")  # begins VmHWM anew
        before = memory("VmRSS")
        try:
            said = f"read, {len(read(path))} of them"
        except REFUSALS as error:
            said = str(error)
        os.write(writer, f"{memory('VmHWM') - before} {said}".encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as file:
        taken, _, said = file.read().partition(" ")
    os.waitpid(child, 0)
    return int(taken), said


def main() -> int:
    """Reads every file; 1 if one takes too much."""
    worst = 0.0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "net.bin")
        for name, make in {**honest(), **hostile()}.items():
            path.write_bytes(make())
            size = path.stat().st_size
            for what, read in (("tensors", read_tensors), ("layers", read_layers)):
                start = time.monotonic()
                taken, said = peak(read, path)
                times = taken / max(size, LEAST)
                worst = max(worst, times)
                print(
                    f"{what} of {name}: {size / 2**20:.1f} MB took {taken / 2**20:.0f} MB, "
                    f"{times:.2f} times, {time.monotonic() - start:.1f} s: {said[:90]}",
                    flush=True,
                )
    print(f"at most {worst:.2f} times")
    return int(worst >= TIMES)


if __name__ == "__main__":
    sys.exit(main())
