import os
import pickle

import numpy as np
import pytest

import probrev as pr
from probrev.cli.weighing import describe, weigh
from probrev.cli.weights import split_tensor

RNG = np.random.default_rng(11)


@pytest.fixture
def net(tmp_path):
    """A net with a random layer and one with a strong direction, and one too small to judge."""
    left, right = (RNG.choice([-1.0, 1.0], size=(side, 1)) for side in (40, 30))
    np.savez(
        tmp_path / "net.npz",
        **{
            "fc1.weight": RNG.normal(size=(40, 60)),
            "fc2.weights": RNG.normal(size=(40, 30)) + 0.7 * left @ right.T,
            "fc3.weights": RNG.normal(size=(30, 3)),
        },
    )
    return "net.npz"


@pytest.mark.slow
def test_a_table_and_a_page(probrev, net, tmp_path):
    status, out, err = probrev("weights", net, "--out", "page")
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert [line.split()[0] for line in lines[1:4]] == ["fc1", "fc2", "fc3"]
    assert "random-like" in lines[1]
    assert "60×40" in lines[1]
    assert "spikes on a random bulk" in lines[2]
    assert "Of 3 layers: 1 random-like; 1 spikes on a random bulk; 1 too small to say." in lines
    assert lines[-1] == "page/report.html"
    page = (tmp_path / "page" / "report.html").read_text()
    assert page.count('<figure class="picture">') == 3
    assert "net.npz, SHA-256" in page
    assert "probrev weights net.npz --seed 0" in page
    assert [path.name for path in (tmp_path / "page").iterdir()] == ["report.html"]


def test_json_of_one_tensor_with_its_initialiser(probrev, net, read_json):
    words = ("--json", "--initializer", "lecun_normal", "--out", "one")
    status, out, err = probrev("weights", f"{net}:fc2", *words)
    assert (status, err) == (0, "")
    said = read_json("weights", out)
    (layer,) = said["layers"]
    assert (layer["name"], layer["n_visible"], layer["n_hidden"]) == ("fc2", 40, 30)
    std = layer["trained"]["std"]
    assert layer["init_share"] == pytest.approx(1 / 40 / std**2)
    assert layer["spectral"]["mp_ks"] == pytest.approx(layer["trained"]["mp_ks"], abs=0.1)
    assert layer["gaussian"]["bulk_num_above"] in (0, 1)
    assert said["report"] == "one/report.html"


def test_what_was_read_is_said(tmp_path):
    tensors = {f"fc{n}.weight": RNG.normal(size=(4, 4)) for n in range(5)}
    tensors |= {f"bn{n}.{part}": np.ones(4) for n in range(2)
                for part in ("running_mean", "running_var")}  # fmt: skip
    tensors |= {f"o.exp_avg.{n}": np.ones((4, 4)) for n in range(5)}
    np.savez(tmp_path / "net.npz", **tensors)
    trained = pr.read_layers(tmp_path / "net.npz")
    judged = {f"fc{n}": None for n in range(1, 5)}
    said = describe(judged, trained, unfolded=False)
    assert said == [
        "order: the layers come in the order of the file, and their widths follow each other",
        "folded in: bn0 into fc0, bn1 into fc1: epsilon 1e-05, a default that the file does not "
        "say",
        f"assumed of: fc0, fc1: {trained[0].assumed[0]}",
        "skipped: fc0: all of its weights are the same: not judged",
        "left out: o.exp_avg.0, o.exp_avg.1, o.exp_avg.2 and 2 more: state of an optimiser or a "
        "schedule",
    ]
    assert not any("folded" in line for line in describe(judged, trained, unfolded=True))


@pytest.mark.parametrize(("unfolded", "word"), [(False, "not random-like"), (True, "random-like")])
def test_batch_norms_can_be_left_out(tmp_path, unfolded, word):
    tensors = {
        "a.weight": RNG.normal(size=(20, 30)),
        "n.running_mean": np.zeros(20),
        "n.running_var": np.geomspace(0.01, 100, 20),
    }
    np.savez(tmp_path / "net.npz", **tensors)
    told = []
    trained = pr.read_layers(tmp_path / "net.npz")
    layers = weigh(trained, unfolded, 0, lambda done, total: told.append((done, total)))
    assert {name: layer.word for name, layer in layers.items()} == {"a": word}
    assert told == [(0, 1), (1, 1)]


class Attack:
    def __reduce__(self):
        return os.mkdir, ("attacked",)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (pickle.dumps(Attack()), "asks for posix.mkdir, which is refused"),
        (b"\x93NUMPY\x01\x00", "cannot be read as a .npy file"),
        (
            b"a few words",
            "cannot be read as .npy, .npz, safetensors, HDF5, .keras or a torch state",
        ),
        (None, "no file net.bin: give a file of weights, or FILE:TENSOR"),
    ],
)
def test_bad_files_are_one_line_and_status_2(probrev, tmp_path, content, message):
    if content is not None:
        (tmp_path / "net.bin").write_bytes(content)
    status, out, err = probrev("weights", "net.bin")
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("probrev: ")
    assert message in err
    assert [path.name for path in tmp_path.iterdir()] == ["net.bin"] * (content is not None)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("net.npz:fc9",), "no layer 'fc9'; its layers: fc1.weight, fc2.weights, fc3.weights"),
        (("net.npz", "--initializer", "he"), "initializer must be one of glorot_uniform"),
        (("net.npz", "--seed", "-1"), "--seed"),
        ((".",), "expected a file"),
    ],
)
def test_bad_words_are_one_line_and_status_2(probrev, net, words, message):
    status, out, err = probrev("weights", *words)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert message in err


def test_a_page_is_not_overwritten(probrev, net, tmp_path):
    (tmp_path / "page").mkdir()
    (tmp_path / "page" / "report.html").write_text("precious")
    status, _, err = probrev("weights", net, "--out", "page")
    assert status == 2
    assert "page already holds report.html" in err
    assert (tmp_path / "page" / "report.html").read_text() == "precious"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("a:b.npz:dense/kernel:0", ("a:b.npz", "dense/kernel:0")),
        ("a:b.npz", ("a:b.npz", None)),
        ("a:b.npz:", ("a:b.npz", None)),
    ],
)
def test_names_with_colons(tmp_path, monkeypatch, words, expected):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a:b.npz").write_text("")
    path, tensor = split_tensor(words)
    assert (str(path), tensor) == expected
