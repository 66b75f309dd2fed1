"""The analysis of weights at a tiny size, and its sentence on data made by hand."""

import numpy as np
import pytest

from analyses.random_like import __main__ as random_like

RNG = np.random.default_rng(2)


@pytest.fixture(autouse=True)
def _in_an_empty_folder(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)


def write_net(folder):
    folder.mkdir(parents=True)
    tensors = {
        "a.weight": RNG.normal(size=(24, 40)),
        "norm.running_mean": np.zeros(24),
        "norm.running_var": np.geomspace(0.01, 100, 24),
        "b.weight": RNG.uniform(-1, 1, size=(20, 24)),
        "c.weight": RNG.normal(size=(3, 20)),
    }
    np.savez(folder / "net.npz", **tensors)


@pytest.mark.slow
def test_computed_and_plotted(tmp_path, capsys):
    write_net(tmp_path / "runs" / "nets")
    net = random_like.Net("mine", "net", initializer="torch")
    random_like.compute(tmp_path, nets=(net,), control_shape=(48, 64))
    assert random_like.plot(tmp_path).stat().st_size > 10_000
    told = capsys.readouterr().out
    assert "mine: 4 matrices" in told
    assert "mine: a, norm folded" in told
    assert "Of 2 layers of 1 net: 1 random-like, 1 random-like, entries not Gaussian." in told
    assert "Glorot uniform 48×64: distance 0.0" in told
    with pytest.raises(FileNotFoundError, match="run `compute` first"):
        random_like.plot(tmp_path / "nothing")


def test_absent_nets_are_told_with_the_command_that_makes_them(tmp_path):
    own, others = random_like.NETS[0], random_like.NETS[-1]
    with pytest.raises(FileNotFoundError, match=r"to make it: uv run .* analyses\.train_nets"):
        random_like.compute(tmp_path, nets=(own,), control_shape=(20, 20))
    with pytest.raises(FileNotFoundError, match=r"to install it: uv pip install .* tiara==1.0.3"):
        random_like.compute(tmp_path, nets=(others,), control_shape=(20, 20))


def row(net, label, **changes):
    plain = {
        "net": net, "label": label, "is_folded": False, "n_visible": 512, "n_hidden": 512,
        "word": "spikes on a random bulk", "init_share": 0.04,
        "trained_excess_kurtosis": 0.1, "trained_top_energy": 0.5, "trained_top_2_energy": 0.6,
    }  # fmt: skip
    return plain | changes


def test_the_sentence_follows_the_data():
    say = random_like.say
    data = random_like.to_dataset([
        row("ina male-female", "dense_2", trained_excess_kurtosis=-0.36),
        row("ina male-female", "dense_2", is_folded=True, trained_excess_kurtosis=20.0),
        row("ina speech-music", "dense_3", trained_top_energy=0.55, init_share=0.05),
        row("ina speech-music", "dense_1", n_visible=256, trained_excess_kurtosis=-3.0),
        row("ina speech-music", "dense_5", n_hidden=2, word="too small to say"),
        row("ina speech-music-noise", "dense_6", n_visible=256, n_hidden=256, init_share=0.53),
        row("tiara", "0", word="not random-like", init_share=np.nan),
    ], "layer")  # fmt: skip
    assert say(data) == (
        "Of 5 layers of 4 nets: 4 spikes on a random bulk, 1 not random-like. ina's 512×512 "
        "layers: excess kurtosis -0.36 to 0.10, yet the largest 1 % of the singular values carry "
        "50% to 55% of the energy, 2 % 60% to 60%. Initialisation alone would give 0.53 to 0.53 "
        "of the variance in the dense layers of its speech-music-noise net. Initialisation alone "
        "would give 0.04 to 0.05 of the variance in the dense layers of its other two."
    )
