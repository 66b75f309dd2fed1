"""`probrev compare`: simulate, infer, compare, write, say."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

import probrev as pr
from probrev.cli import INCONCLUSIVE
from probrev.cli.display import print_json, print_result
from probrev.cli.flags import AsJson, Quiet
from probrev.cli.numbers import Count, Seed
from probrev.cli.output import REPORT, RUN, default_folder
from probrev.cli.plan import Plan
from probrev.cli.run_folder import Claim, claim, write_run
from probrev.inference.methods import METHODS
from probrev.inverses.rung_names import RUNGS
from probrev.plumbing.paths import check_path
from probrev.plumbing.refusal import Refusal
from probrev.runs import registry

if TYPE_CHECKING:
    from probrev import Comparison

# An option that can be given several times.
SEVERAL = Parameter(negative="", show_default=False, metavar="NAME")
Names = Annotated[tuple[str, ...], SEVERAL]
POSTERIOR_HELP = f"{', '.join(METHODS)}; by default the best for the model's size."
INVERSE_HELP = (
    f"{', '.join(RUNGS)}, or one of the model's own; by default all that the model has, and beside "
    "them its random ones, such as the net with dropout at test time, as samplers."
)


def compare(
    model: str,
    /,
    *,
    assignments: Annotated[Names, Parameter(name="--set", metavar="NAME=VALUE")] = (),
    posterior: Annotated[Names, Parameter(help=POSTERIOR_HELP)] = (),
    inverse: Annotated[Names, Parameter(help=INVERSE_HELP)] = (),
    data: Path | None = None,
    test_data: Path | None = None,
    layer: str | None = None,
    activation: str | None = None,
    prior: Literal["independent", "correlated"] | None = None,
    num_obs: Count | None = None,
    num_weights: Count = 1,
    seed: Seed = 0,
    out: Path | None = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> int:
    """Compares nets with a model's posterior; writes a run and a report.

    Of a trained net, given as a file of weights with --data, the model is fitted to the activations
    of its hidden layers, and the highest layer that the model fits is judged.

    Args:
        model: a named model (see `probrev models`), a path to a .py file with a function build, or
            a trained ReLU net's file of weights (safetensors, torch, Keras, .npz).
        assignments: a parameter of the model; a value that ends in .npy is a file with an array.
            Like the next two, can be given several times.
        posterior: names of methods.
        inverse: names of inverses.
        data: .npy file of the net's inputs, a row each, at least 200.
        test_data: alike, of inputs in no fit; by default 30 % of data are held out, by the seed.
        layer: the net's layer to judge; by default the highest that the model fits.
        activation: of the net's hidden layers: relu.
        prior: of the net's h; by default the one under which held-out h are likelier.
        num_obs: number of observations to simulate; by default 32, then 128 and 512 while a verdict
            is undecided.
        num_weights: number of draws of the weights; more than one shows the spread over them.
        seed: random seed of the observations and the samplers.
        out: folder for run.nc and report.html; by default runs/<model>-<UTC time>. Interrupted, the
            same command with the same folder goes on from its checkpoints there.
        quiet: say nothing on stderr but errors.
        as_json: print the metrics as JSON, and nothing else, on stdout.
    """
    check_path("model", model)
    own = (assignments, posterior, inverse, num_weights > 1)
    net = (data, test_data, layer, activation, prior)
    folder = out or default_folder(model)
    read = None
    if data is not None:
        if any(own):
            raise Refusal(
                "--set, --posterior, --inverse and --num-weights are for a model; with --data the "
                "model is fitted to the net"
            )

        from probrev.cli.net_plan import NetPlan

        plan = NetPlan(
            Path(model),
            data,
            test_data,
            layer,
            "relu" if activation is None else activation,
            prior,
            num_obs,
            seed,
        )
        inputs = plan.read_inputs()
        with claim(folder, plan.identity) as claimed:
            from probrev.cli.net_run import run_net

            read, result = run_net(plan, inputs, claimed.checkpoints, quiet)
            write(result, folder, claimed)
    else:
        _refuse_net(model, any(value is not None for value in net))
        plan = Plan(
            registry.describe(model), assignments, posterior, inverse, num_obs, num_weights, seed
        )
        with claim(folder, plan.identity) as claimed:
            from probrev.cli.run import run

            result = run(plan, claimed.checkpoints, quiet)
            write(result, folder, claimed)
    show = print_json if as_json else print_result
    show(result, folder, read)
    return 0 if result.conclusive else INCONCLUSIVE


def _refuse_net(model: str, asks_for_net: bool) -> None:
    """Raises ValueError for a net without its inputs, or its options without a net."""
    if asks_for_net:
        raise Refusal(
            "--test-data, --layer, --activation and --prior are for a net: give its inputs, --data"
        )
    path = Path(model)
    if path.is_file() and path.suffix != ".py":
        raise Refusal(
            f"{model} is no model file, which ends in .py; if it has the weights of a net, give "
            "the net's inputs too: --data X.npy"
        )


def write(result: "Comparison", folder: Path, claimed: Claim) -> None:
    """Writes the run and its report, and that it was interrupted, if it was.

    Raises:
        ValueError: the folder cannot be written.
    """
    if claimed.num_resumed:
        often = "once" if claimed.num_resumed == 1 else f"{claimed.num_resumed} times"
        said = f"interrupted {often}, and gone on with from its checkpoints"
        result.tree.attrs["resumed"] = json.dumps(said)
    page = lambda path: pr.write_report(result, path)  # noqa: E731
    write_run(folder, RUN, REPORT, result.save, page)
