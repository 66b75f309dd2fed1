"""Files of weights that are hostile, cut or of another kind: a row a file."""

import io
import json
import struct
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np

import probrev as pr
from tests.bad_input.rows import Answer, Row, ask
from tests.nets.weights import torch_pickles
from tests.nets.weights.torch_pickles import Stored, Tensor


class File(NamedTuple):
    """A file: what it is, its bytes, and what the line must name.

    Where that is empty, the file may be read as well; what it must not do is anything else.
    """

    name: str
    content: bytes
    names: str | tuple[str, ...] = "file.bin"


def answers(folder: Path, files: list[File]) -> Iterator[Answer]:
    """What `pr.read_layers` says to every file.

    Args:
        folder: where they are written, one after the other.
        files: what is written.
    """
    path = folder / "file.bin"
    for file in files:
        path.write_bytes(file.content)
        answer = ask(Row(file.name, file.names or path.name), lambda _: pr.read_layers(path))
        yield answer._replace(wrong="") if answer.wrong == "accepted" and not file.names else answer


def safetensors(header: Any, data: bytes = bytes(16), length: int | None = None) -> bytes:
    """A safetensors file, whose length of the header can be lied about."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def entry(dtype: str = "F32", shape: Any = (2, 2), offsets: Any = (0, 16)) -> dict[str, Any]:
    """A tensor in the header of a safetensors file."""
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


def npy(header: Any, data: bytes = bytes(16), version: int = 1) -> bytes:
    """A .npy file with any header."""
    text = header if isinstance(header, bytes) else repr(header).encode() + b"\n"
    return (
        b"\x93NUMPY"
        + struct.pack("<BBH" if version == 1 else "<BBI", version, 0, len(text))
        + (text + data)
    )


def described(descr: Any = "<f4", shape: Any = (2, 2), order: Any = False) -> dict[str, Any]:
    """The header of a .npy file."""
    return {"descr": descr, "fortran_order": order, "shape": shape}


def archive(members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    """A zip archive."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as written:
        for name, content in members.items():
            written.writestr(name, content)
    return file.getvalue()


def hdf5(fill: Callable[[h5py.File], Any]) -> bytes:
    """An HDF5 file."""
    file = io.BytesIO()
    with h5py.File(file, "w") as written:
        fill(written)
    return file.getvalue()


def pickled(content: bytes) -> bytes:
    """An archive of torch around a pickle."""
    return archive({"net/data.pkl": content})


def _zeros(number: int) -> bytes:
    return npy(described(shape=(2**20,)), bytes(2**22)) if number else b""


def _safetensors() -> Iterator[File]:
    for dtype in ("F8_E4M3", "F8_E5M2", "F8_E8M0"):
        yield File(dtype, safetensors({"w": entry(dtype, (4, 4))}), f"w: of type {dtype}")
    two = {"w": entry("F8_E4M3", (4, 4)), "v": entry("F32", (4,), (16, 32))}
    yield File("F8 beside F32", safetensors(two, bytes(32)), "w: of type F8_E4M3")
    for dtype in ("F4", "C64", "X", ""):
        yield File(f"type {dtype}", safetensors({"w": entry(dtype)}), "a safetensors file")
    whole = {"w": entry()}
    for length in (0, 20, 500, 2**25, 2**31, 2**62):
        yield File(f"header of {length}", safetensors(whole, length=length))
    yield File("vast header", safetensors(whole, length=2**25), "its header has 33554432 bytes")
    nested = b'{"__metadata__":' + b'{"a":' * 100_000 + b"1" + b"}" * 100_001
    yield File("deep header", safetensors(nested))
    yield File("deep shape", safetensors(b'{"w":{"shape":' + b"[" * 100_000 + b"]" * 100_000))
    yield File("no text", safetensors(b'{"\xff\xfe":1}'))
    for shape in ((-2, -2), (2**32, 2**32), (2**63, 2), (2.5, 2), (True, 2), [1] * 100, "ab"):
        yield File(f"shape {str(shape)[:20]}", safetensors({"w": entry(shape=shape)}))
    yield File("no entries", safetensors({"w": entry(shape=(0, 2**60), offsets=(0, 0))}, b""))
    for offsets in ((16, 32), (16, 0), (0, 8), (0, 2**63), (-16, 0)):
        yield File(f"offsets {offsets}", safetensors({"w": entry(offsets=offsets)}, bytes(32)))
    yield File("overlap", safetensors({"w": entry(), "v": entry()}))
    yield File("more data", safetensors(whole, bytes(17)))
    for name in ("a\nb\x1b[2J\0", "a" * 10**6, "\u202e", "{}%s", ""):
        odd = {name: entry("F8_E4M3", (4, 4))}
        yield File(f"a tensor called {name[:9]!r}", safetensors(odd), "F8_E4M3")


def _numpy() -> Iterator[File]:
    yield File("header of 4 GB", b"\x93NUMPY\2\0\xff\xff\xff\xff{}", "a .npy file")
    yield File("version 9", npy(described(), version=9), "version 1 or 2")
    for shape in ((-2, -2), (2**64, 0), (2**63, 2**63), (True, True), (1,) * 65, (2.0, 2), 4, "a"):
        yield File(f"shape {str(shape)[:20]}", npy(described(shape=shape)), "a .npy file")
    for descr in (
        "|V1000000000",
        "|O",
        ("<f4", (10**9,)),
        "<c8",
        "<U4",
        "f4,O",
        5,
        None,
        "<f4" * 9,
    ):
        yield File(f"type {descr}", npy(described(descr)), ".npy")
    yield File("128 bits", npy(described("<f16", (1, 2)), bytes(32)), "more than 64 bits")
    yield File("order 3", npy(described(order=3)), "fortran_order")
    yield File("deep", npy(b"(" * 9000), "a .npy file")
    yield File("deeper", npy(b"(" * 70_000, version=2), "a .npy file")
    yield File("code", npy(b"__import__('os').system('touch ran')"), "a .npy file")
    old = b"{'descr': '<f4', 'fortran_order': False, 'shape': (2L, 2L), }\n"
    yield File("of Python 2", npy(old), "")
    for value in (np.nan, np.inf, -np.inf):
        full = np.full((2, 2), value, "f4").tobytes()
        yield File(f"{value}", npy(described(), full), "weights must be finite")
    yield File("0 axes", npy(described(shape=()), bytes(4)), "one number")
    yield File("no entries", npy(described(shape=(0, 5)), b""), "empty")
    yield File("integers", npy(described("<u8"), b"\xff" * 32), "integers")


def _archives() -> Iterator[File]:
    good = archive({"a.npy": npy(described())})
    start = good.index(b"PK\1\2")  # of the directory
    lies = {
        "encrypted": (8, b"\1\0"),
        "method": (10, b"\x63\0"),
        "sizes": (20, struct.pack("<II", 5, 5)),
        "size": (24, struct.pack("<I", 2**31)),
        "place": (42, struct.pack("<I", 2**31)),
    }
    for name, (place, lie) in lies.items():
        cut = good[: start + place] + lie + good[start + place + len(lie) :]
        yield File(f"lies about its {name}", cut)
    yield File("checksum", good.replace(bytes(16), b"\1" * 16, 1), "CRC")
    yield File("cut", good[:-10], "does not end in its directory")
    yield File("comment", good[:-2] + b"\3\0abc", "does not end in its directory")
    vast = bytes(2**24 + 30) + b"PK\5\6" + struct.pack("<4H2LH", 0, 0, 9, 9, 2**24 + 1, 0, 0)
    yield File("vast directory", b"PK\3\4" + vast, "its directory has 16777217 bytes")
    yield File("empty", archive({}))
    yield File("an archive in an archive", archive({"a.npy": good}), "a.npy")
    for compression in (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        yield File(f"compression {compression}", archive({"a.npy": npy({})}, compression), "a.npy")
    zeros = {f"{number}.npy": _zeros(number) for number in range(1, 6)}
    yield File("zeros", archive(zeros, zipfile.ZIP_DEFLATED), "weights are not so alike")
    many = archive({f"{number}.npy": npy(described()) for number in range(10_001)})
    yield File("many arrays", many, "got 10001")
    yield File("two pickles", archive({"a/data.pkl": b"", "b/data.pkl": b""}), "got 2")
    other = archive({"a/data.pkl": b"\x80\2N.", "a/byteorder": b"big"})
    yield File("big-endian", other, "big-endian")


def _pickles() -> Iterator[File]:
    programs = {
        "deep list": b"]" * 50_000 + b"a" * 49_999 + b".",
        "vast key": b"}\x8b" + struct.pack("<i", 10**6) + b"\x7f" * 10**6 + b"K\1s.",
        "itself": b"]q\0h\0a.",
        "itself, a dict": b"}q\0K\1h\0s.",
        "no end": b"}",
        "no memo": b"h\5.",
        "nothing on the stack": b"\x85.",
        "no mark": b"t.",
        "a text of 2^62": b"\x8d" + struct.pack("<Q", 2**62) + b"a.",
        "bytes of 2^32": b"B\xff\xff\xff\xffa.",
        "a number of -1 bytes": b"\x8b\xff\xff\xff\xff.",
        "eval": b"cbuiltins\neval\n(U\1atR.",
        "system": b"\x8c\2os\x8c\6system\x93.",
        "instance": b"(ios\nsystem\n.",
        "extension": b"\x82\1.",
        "a reference": b"U\1aQ.",
        "a vast number": b"I" + b"9" * 5000 + b"\n.",
        "state": b"}N}b.",
        "attribute of a call": b"ctorch._utils\n_rebuild_tensor_v2\n(tR.",
    }
    for name, program in programs.items():
        yield File(f"pickle: {name}", pickled(b"\x80\2" + program))
        yield File(f"pickle alone: {name}", b"\x80\2" + program)
    stored = Stored("0", np.arange(4.0))
    tensors = {
        "shape": Tensor(stored, (9, 9), (9, 1)),
        "stride": Tensor(stored, (1, 1), (10**30, 1)),
        "size without entries": Tensor(stored, (0, 10**30), (1, 1)),
        "axes": Tensor(stored, (1,) * 33, (1,) * 33),
        "shape of text": Tensor(stored, ("a",), (1,)),
        "no shape": Tensor(stored, None, None),
        "another storage": Tensor(Stored("../../0", np.arange(4.0)), (2, 2), (2, 1)),
    }
    for name, tensor in tensors.items():
        yield File(f"tensor: {name}", torch_pickles.archive({"w": tensor}, [stored]))
    for name in ("a\n\x1b[2J", "a" * 9000):
        content = torch_pickles.archive({name: tensors["shape"]}, [stored])
        yield File(f"tensor called {name[:9]!r}", content, "does not fit its storage")
    old = torch_pickles.legacy({"w": Tensor(stored, (2, 2), (2, 1))}, [stored])
    for size in (-4, 2**60, 3):
        yield File(f"storage of {size}", old[:-40] + struct.pack("<q", size) + old[-32:], "storage")


def _groups(file: h5py.File) -> None:
    group: Any = file
    for _ in range(200):
        group = group.create_group("g")


def _cycle(file: h5py.File) -> None:
    file["a"], file["b"] = h5py.SoftLink("/b"), h5py.SoftLink("/a")
    group = file.create_group("g")
    group["g"] = group


def _virtual(file: h5py.File) -> None:
    layout = h5py.VirtualLayout((4, 4), "f4")
    layout[:] = h5py.VirtualSource("/etc/hostname", "a", (4, 4))
    file.create_virtual_dataset("a", layout)


def _with(name: str, value: Any) -> bytes:
    """An HDF5 file as Keras writes it, with an attribute that it may have."""

    def fill(file: h5py.File) -> None:
        file["d/w"] = np.ones((2, 2), "f4")
        file.attrs[name] = value
        file["d"].attrs[name] = value

    return hdf5(fill)


def _hdf5() -> Iterator[File]:
    yield File("no groups without end", hdf5(_groups), "groups within")
    yield File("links in a circle", hdf5(_cycle), "with none")
    yield File("virtual", hdf5(_virtual), "another file")
    zeros = np.zeros((2**11, 2**12), "f4")
    grown = hdf5(lambda file: file.create_dataset("w", data=zeros, compression="gzip"))
    yield File("zeros", grown, "weights are not so alike")
    kinds = {
        "lists": (h5py.vlen_dtype("f4"), (3,)),
        "texts": (h5py.string_dtype(), (3,)),
        "references": (h5py.ref_dtype, (3,)),
        "opaque": ("V3", (2, 2)),
        "records": ([("a", "f4")], (2,)),
        "128 bits": ("f16", (2, 2)),
        "complex": ("c8", (2, 2)),
        "truth": (h5py.enum_dtype({"A": 0}, "i1"), (2, 2)),
    }
    for name, (dtype, shape) in kinds.items():
        made = hdf5(lambda file, d=dtype, s=shape: file.create_dataset("a", s, d, fillvalue=None))
        yield File(f"array of {name}", made)
    texts = ("layer_names", "weight_names", "model_config", "dtype")
    for name in texts:
        for value in (
            3,
            np.ones((2, 2)),
            "d",
            ["../d"],
            ["/d/w"],
            [""],
            h5py.Empty("f4"),
            "[" * 999,
        ):
            yield File(f"{name} = {str(value)[:9]!r}", _with(name, value), "")


def _configurations() -> Iterator[File]:
    weights = hdf5(lambda file: file.create_dataset("layers/dense/vars/0", data=np.ones((2, 2))))
    names = {"config": {"name": "dense"}, "class_name": "Dense"}
    drop = {"class_name": "Dropout", "config": {"name": "a"}, "inbound_nodes": [["a", 0, 0]]}
    layers = [
        3, {}, [names] * 3, [{**names, "class_name": 3}], [{**names, "config": {"name": 3}}],
        [{**names, "config": {"name": "dense", "dtype": [1]}}], [drop, drop],
        [{**names, "config": {"name": "dense", "kernel_initializer": [1]}}],
        [{**names, "config": {"name": "dense", "kernel_initializer": {"config": 1}}}],
        [{**names, "config": {"name": "dense", "kernel_initializer": {"class_name": 1}}}],
        [{**names, "config": {"name": "dense", "activation": {"config": [1]}}}],
        [{"class_name": "BatchNormalization", "config": {"name": "b", "epsilon": 10**400}}, names],
        [{**names, "inbound_nodes": 3}], [{**names, "inbound_nodes": [{"args": [["x", 0, 0]]}]}],
    ]  # fmt: skip
    texts = [json.dumps({"class_name": "Sequential", "config": {"layers": one}}) for one in layers]
    texts += [json.dumps({"class_name": "Functional", "config": {"layers": one, "output_layers": [
        ["dense", 0, 0]]}}) for one in layers]  # fmt: skip
    texts += ["", "{", "[" * 100_000, "9" * 5000, "NaN", '"\\ud800"', "[]," * 200_000]
    for text in texts:
        content = {"config.json": text.encode(), "model.weights.h5": weights}
        yield File(f"config {text[-70:]}", archive(content), "")
    for content in (b"", b"x", weights[:100]):
        yield File(
            f"weights {content[:4]!r}",
            archive({"config.json": b"{}", "model.weights.h5": content}),
        )


def _indices() -> Iterator[File]:
    for shard in (
        "a\0b",
        "a" * 5000,
        "..",
        "",
        "/",
        "file.bin",
        "gone\x1b[2J",
        "\ud800",
        3,
        [],
        None,
    ):
        index = json.dumps({"weight_map": {"w": shard}}).encode()
        yield File(f"index of {str(shard)[:9]!r}", index, "the index names")
    for text in ("[" * 100_000, "9" * 5000, "1}}", "[" + "[]," * 200_000 + "1]}"):
        yield File(f"index {text[:9]}", b'{"weight_map":' + text.encode(), "an index of shards")


def _others() -> Iterator[File]:
    beginnings = (
        b"", b"\0", b"{", b"PK", b"\x80", b"\x89HDF\r\n\x1a\n", b"\x93NUMPY", b"%PDF-1.4",
        b"GGUF\3", b"\x08\x07\x12\x07pytorch", b"\x1c\0\0\0TFL3", b"\x1f\x8b\x08", b"#!/bin/sh",
        b"import os; os.system('touch ran')", b"\xff\xd8\xff\xe0", bytes(4096), b"\n" * 5000,
    )  # fmt: skip
    for beginning in beginnings:
        yield File(f"begins {beginning[:12]!r}", beginning, "cannot be read as")
    yield File("msgpack", b"\x81\xa6params\x80", "flax.traverse_util.flatten_dict")


def files() -> list[File]:
    """Every row."""
    made = (_safetensors, _numpy, _archives, _pickles, _hdf5, _configurations, _indices, _others)
    return [
        file._replace(name=f"{one.__name__[1:]}: {file.name}") for one in made for file in one()
    ]
