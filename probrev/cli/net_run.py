"""A real net judged: the part of `probrev compare NET --data X` that needs JAX."""

import shlex
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import jax
import numpyro

import probrev as pr
from probrev.cli.display import Stages, stages
from probrev.cli.net_plan import Inputs, NetPlan
from probrev.cli.programs import keep_programs
from probrev.cli.run import announce, sample_until_converged
from probrev.nets.fitting.hidden_layers import hidden_layers
from probrev.nets.weights.layers import label_layers
from probrev.plumbing.refusal import Refusal
from probrev.plumbing.surroundings import surroundings
from probrev.runs.net_run import judge_level


def run_net(
    plan: NetPlan, inputs: Inputs, checkpoints: Path, quiet: bool = False
) -> tuple[str, pr.Comparison]:
    """Reads a net, fits it and judges one of its layers.

    Args:
        plan: what was asked for.
        inputs: what it is fitted to, and what is held out.
        checkpoints: folder in which Gibbs saves its chains on their way, and finds them.
        quiet: whether nothing is said on the way.

    Returns:
        What was read, in a line, and the comparison.

    Raises:
        ValueError: a file or inputs that cannot be read or do not fit each other, or no hidden
            ReLU layer.
    """
    numpyro.enable_x64()
    keep_programs()
    x, held_out = inputs
    layers = pr.read_layers(plan.file)
    hidden = hidden_layers(layers)
    layer = _choose(plan, layers, hidden)
    widths = [layers[0].n_visible, *(one.n_hidden for one in layers)]
    read = f"a ReLU net {'-'.join(map(str, widths))}, read from {plan.file}"
    with stages(quiet) as stage:
        stage.say(read)
        _say_what_was_read(layers, stage)
        net = pr.fit_net(
            layers, x, held_out, layer=layer, seed=plan.seed, progress=stage("fit of the layers")
        )
        _say_identity(net.levels[0], stage)
        level = net.judged
        _say_layers(net, label_layers(hidden), stage)
        _say_what_fails(net, stage)
        for check in level.checks:
            if not check.holds:
                stage.say(f"no verdict will stand: {check.sentence}")
        model = level.under(plan.prior or level.chosen)
        result = judge_level(
            jax.random.key(plan.seed), level, prior=plan.prior, num_obs=plan.num_obs,
            infer=partial(_infer, stage, checkpoints), seed=plan.seed, stage=stage,
            begin=lambda look: announce(look, model, ["gibbs"], stage),
            provenance={
                "command": shlex.join(plan.command), "model": f"{plan.file}, layer {level.name}",
                "seed": plan.seed, "read": read, "parameters": {"data": plan.sha256},
                **surroundings(),
            },
        )  # fmt: skip
    return f"{read[0].upper()}{read[1:]}; {level.name} is judged.", result


def _say_layers(net: pr.FittedNet, labels: Sequence[str], stage: Stages) -> None:
    """Which layers there are, x first, which of them are fitted, and which is judged."""
    fitted = [level.name for level in net.levels]
    also = "" if fitted == list(labels) else f"; fitted: {', '.join(fitted)}"
    stage.say(f"hidden layers, next to x first: {', '.join(labels)}{also}")
    stage.say(f"{net.judged.name} is judged")


def _say_what_fails(net: pr.FittedNet, stage: Stages) -> None:
    """Of layers that are not judged the check that does not hold, if there is one."""
    for level in net.levels:
        failed = [check.sentence for check in level.checks if not check.holds]
        if failed and level is not net.judged:
            stage.say(f"{level.name} is not, since a check of it fails: {failed[0]}")


def _say_identity(lowest: pr.FittedLevel, stage: Stages) -> None:
    """That inputs below 0, such as standardised ones, have no ReLU on their way down."""
    if not lowest.fit.layer.activation.flats:
        stage.say("x is below 0 in places: on the way down an identity stands for ReLU next to x")


def _infer(
    stage: Stages, checkpoints: Path, key: jax.Array, model: pr.Model, obs: pr.Observations
) -> pr.Posterior:
    progress = stage("gibbs")
    return sample_until_converged(key, model, obs, progress=progress, checkpoints=checkpoints)


def _choose(
    plan: NetPlan, layers: Sequence[pr.TrainedLayer], hidden: Sequence[pr.TrainedLayer]
) -> str | None:
    """The layer that was asked for, by the name that fits are known by."""
    if plan.layer is None:
        return None
    labels = label_layers(hidden)
    for layer, label in zip(hidden, labels, strict=True):
        if plan.layer in (layer.name, layer.label, label):
            return label
    known = f"hidden layers are {', '.join(labels)}"
    if plan.layer in (layers[-1].name, layers[-1].label):
        raise Refusal(
            f"--layer {plan.layer!r}: it is the output layer, whose values are no ReLU "
            f"activations; its {known}"
        )
    raise Refusal(f"--layer {plan.layer!r}: no such layer; {known}")


def _say_what_was_read(layers: pr.TrainedLayers, stage: Stages) -> None:
    """What the file does not say, and what of it is no layer."""
    for said in dict.fromkeys(said for layer in layers for said in layer.assumed):
        stage.say(f"assumed: {said}")
    for name, reason in layers.left_out.items():
        stage.say(f"left out: {name}: {reason}")
