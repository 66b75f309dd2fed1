"""A layer of a small net judged: the verdict, what it hangs on, its page, the command line."""

import html
import json
import re
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from safetensors.numpy import save_file

import probrev as pr
from probrev.cli import net_run
from probrev.comparison.verdict import Word


def small_net():
    """Weights of a net 8-12-6-3 whose middle layer was made to fit, and inputs for it."""
    rng = np.random.default_rng(3)
    first = rng.normal(size=(8, 12)) / np.sqrt(8)
    second = rng.normal(size=(12, 6)) / 2
    x = rng.normal(size=(400, 8)) @ rng.normal(size=(8, 8)) / 2
    weights = [first, second, rng.normal(size=(6, 3))]
    biases = [rng.normal(0.3, 0.2, size=w.shape[1]) for w in weights]
    return weights, biases, x


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("net")
    weights, biases, x = small_net()
    tensors = {}
    for number, (W, b) in enumerate(zip(weights, biases, strict=True)):
        tensors[f"{2 * number}.weight"] = np.ascontiguousarray(W.T)
        tensors[f"{2 * number}.bias"] = b
    save_file(tensors, folder / "net.safetensors")
    np.save(folder / "x.npy", x)
    return folder


@pytest.mark.slow
def test_from_a_file_to_a_page(files, probrev, tmp_path):
    words = ("compare", files / "net.safetensors", "--data", files / "x.npy", "--num-obs", "20")
    done = probrev(*words, "--layer", "2", "--out", "o")
    assert done.status in (0, 3)
    lines = done.out.splitlines()
    assert lines[0].startswith("A ReLU net 8-12-6-3, read from ")
    assert lines[0].endswith("net.safetensors; 2 is judged.")
    result = pr.load(tmp_path / "o" / "run.nc")
    assert (done.status == 0) == result.conclusive
    checks = result.tree["checks"].to_dataset().to_dataframe()
    failed = checks[~checks["holds"].astype(bool)]
    assert (result.verdicts[0].word is Word.MISFIT) or failed.empty
    for sentence in failed["sentence"]:
        assert f"no verdict will stand: {sentence}" in done.err
    fitted = json.loads(result.tree.attrs["fitted"])
    assert (fitted["num_train"], fitted["num_held_out"]) == (280, 120)
    asides = result.tree["fit/asides"].to_dataset().to_dataframe()
    assert len(asides) == 4
    assert (asides["low"] <= asides["ratio"]).all()
    real = result.tree["fit/real_x"].to_dataset().to_dataframe().set_index("metric")
    assert real.loc["kappa", "low"] <= real.loc["kappa", "value"] <= real.loc["kappa", "high"]
    page = (tmp_path / "o" / "report.html").read_text()
    for words in ("Whether the layer fits", "What the verdict hangs on", "kappa"):
        assert words in page
    shown = html.unescape(re.sub(r"</?a\b[^>]*>", "", page))  # words are linked
    for sentence in checks["sentence"]:
        assert sentence in shown


@pytest.mark.slow
def test_a_failing_gate_withholds_the_verdict(files, probrev):
    """Random weights in the place of those that x was made by: the way down carries nothing."""
    weights, biases, x = small_net()
    first = np.maximum(x @ weights[0] + biases[0], 0)
    first = np.round(first, 1)  # levels: no density
    net = pr.FeedforwardNet.from_weights([weights[1]], [biases[1]])
    level = pr.fit_net(net, first[:280], first[280:]).judged
    assert not level.fit.passes
    result = pr.judge_level(
        jax.random.key(0), level, num_obs=16,
        infer=lambda key, model, obs: pr.gibbs(key, model, obs, num_warmup=50, num_samples=50),
    )  # fmt: skip
    assert result.verdicts[0].word is Word.MISFIT
    assert "levels and caps" in result.headline
    assert not result.conclusive


def test_a_layer_above_the_judged_one_says_why_it_is_not():
    weights, biases, x = small_net()
    hidden = pr.FeedforwardNet.from_weights(weights[:2], biases[:2])
    net = pr.fit_net(hidden, x[:280], x[280:])
    assert net.judged is net.levels[0]
    said = []
    net_run._say_what_fails(net, SimpleNamespace(say=said.append))
    (why,) = [check.sentence for check in net.levels[1].checks if not check.holds]
    assert said == [f"layer 2 is not, since a check of it fails: {why}"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--layer", "4"], "it is the output layer, whose values are no ReLU activations"),
        (["--layer", "nine"], "--layer 'nine': no such layer; hidden layers are 0, 2"),
    ],
)
def test_layers_that_cannot_be_judged(files, probrev, words, message):
    net = ("compare", files / "net.safetensors", "--data", files / "x.npy")
    done = probrev(*net, *words)
    assert done.status == 2
    assert message in done.err.splitlines()[-1]


def test_inputs_of_another_net(files, probrev, tmp_path):
    np.save(tmp_path / "wide.npy", np.ones((300, 9)))
    done = probrev("compare", files / "net.safetensors", "--data", "wide.npy")
    assert done.status == 2
    assert (
        "x must have 8 columns, the net's inputs, and a row for each observation; got 9" in done.err
    )
