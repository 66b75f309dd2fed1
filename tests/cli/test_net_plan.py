"""What `probrev compare NET --data X` refuses before any work, and how it holds inputs out."""

import numpy as np
import pytest

from probrev.cli.net_plan import NetPlan

RNG = np.random.default_rng(0)


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.savez("net.npz", a=np.ones((3, 4)), b=np.ones((4, 2)))
    np.save("x.npy", RNG.normal(size=(300, 3)))
    np.save("x2.npy", RNG.normal(size=(100, 3)))
    np.save("few.npy", np.ones((150, 3)))
    np.save("wide.npy", np.ones((300, 4)))
    np.save("cube.npy", np.ones((300, 3, 2)))
    np.save("nan.npy", np.full((300, 3), np.nan))
    np.save("text.npy", np.full((300, 3), "a"))
    np.save("objects.npy", np.array([{}, 1], dtype=object), allow_pickle=True)
    return tmp_path


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["none.npz", "--data", "x.npy"], "no file none.npz"),
        (["net.npz", "--data", "none.npy"], "--data none.npy: no such file"),
        (["net.npz", "--data", "x.npy", "--test-data", "."], "--test-data .: no such file"),
        (["net.npz"], "if it has the weights of a net, give the net's inputs too: --data X.npy"),
        (["one_layer", "--layer", "a"], "are for a net: give its inputs, --data"),
        (["net.npz", "--data", "x.npy", "--set", "a=1"], "--data the model is fitted to the net"),
        (["net.npz", "--data", "x.npy", "--activation", "gelu"], "gelu: it is not monotone"),
        (["net.npz", "--data", "x.npy", "--activation", "tanh"], "only nets of ReLU layers"),
        (["net.npz", "--data", "x.npy", "--prior", "flat"], "Choose from"),
    ],
)
def test_requests_that_cannot_be(files, probrev, words, message):
    done = probrev(
        "compare", *(str(files / one) if one.startswith("net") else one for one in words)
    )
    assert done.status == 2
    assert message in done.err
    assert len(done.err.splitlines()) == 1


@pytest.mark.parametrize(
    ("data", "test_data", "message"),
    [
        ("few.npy", None, "150 inputs are too few"),
        ("x.npy", "few.npy", None),
        ("x.npy", "wide.npy", "has 4 columns, and --data x.npy 3"),
        ("cube.npy", None, r"got shape \(300, 3, 2\) of float64"),
        ("nan.npy", None, "must be finite"),
        ("text.npy", None, "expected an array of numbers"),
        ("objects.npy", None, "cannot be read as a .npy file"),
        ("net.npz", None, "several arrays"),
    ],
)
def test_inputs_that_cannot_be(files, data, test_data, message):
    plan = NetPlan(files / "net.npz", files / data, test_data and files / test_data,
                   None, "relu", None, None, 0)  # fmt: skip
    if message is None:
        assert [len(one) for one in plan.read_inputs()] == [300, 150]
        return
    with pytest.raises((ValueError, FileNotFoundError), match=message.replace("x.npy", ".*x.npy")):
        plan.read_inputs()


def test_a_share_is_held_out_by_the_seed(files):
    def split(seed, data="x.npy"):
        return NetPlan(
            files / "net.npz", files / data, None, None, "relu", None, None, seed
        ).read_inputs()

    x, held_out = split(0)
    assert (len(x), len(held_out)) == (210, 90)
    whole = np.load(files / "x.npy")
    assert {*map(tuple, x)} | {*map(tuple, held_out)} == {*map(tuple, whole)}
    np.testing.assert_array_equal(split(0)[1], held_out)
    assert not np.array_equal(split(1)[1], held_out)
    np.save(files / "little.npy", whole[:200])
    assert [len(one) for one in split(0, "little.npy")] == [136, 64]


def test_the_command_that_repeats_it(files):
    plan = NetPlan(files / "net.npz", files / "x.npy", None, "a", "relu", "correlated", 32, 3)
    words = plan.command
    assert words[3:5] == ["--data", str(files / "x.npy")]
    assert words[5:] == ["--layer", "a", "--prior", "correlated", "--num-obs", "32", "--seed", "3"]
