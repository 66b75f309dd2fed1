"""`probrev check`: simulation-based calibration of a model and a method."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from probrev.cli import INCONCLUSIVE
from probrev.cli.flags import AsJson, Quiet
from probrev.cli.numbers import Count, Seed
from probrev.cli.output import check_place
from probrev.cli.plan import check_names
from probrev.cli.run_folder import alone
from probrev.inference.methods import METHODS
from probrev.plumbing.refusal import Refusal
from probrev.runs import registry
from probrev.runs.settings import parse_settings

# With fewer simulations there is nothing to test.
FEWEST = 2
# An option that can be given several times.
SEVERAL = Parameter(name="--set", negative="", show_default=False, metavar="NAME=VALUE")
METHOD_HELP = (
    f"{', '.join(METHODS)}; by default the model's sampler: Gibbs, else what compare would choose."
)


def check(
    model: str,
    /,
    *,
    assignments: Annotated[tuple[str, ...], SEVERAL] = (),
    method: Annotated[str, Parameter(help=METHOD_HELP)] = "",
    num_simulations: Count = 200,
    seed: Seed = 0,
    out: Path | None = None,
    workers: Count | None = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> int:
    """Checks that a method's posteriors are those of a model; writes a run and a report.

    Args:
        model: a named model (see `probrev models`), or a path to a .py file with a function build.
        assignments: a parameter of the model; a value that ends in .npy is a file with an array.
            Can be given several times.
        method: name of a method.
        num_simulations: number of h and x to simulate and infer.
        seed: random seed of the simulations and the sampler.
        out: folder for run.nc, report.html and the batches on the way; by default
            runs/check-<model>. Killed at any moment, the same command goes on there.
        workers: worker processes on this machine; by default this process computes.
        quiet: say nothing on stderr but errors.
        as_json: print the result as JSON, and nothing else, on stdout.
    """
    info = registry.describe(model)
    settings = parse_settings(info, assignments)
    if method:
        check_names("method", [method], METHODS)
    if num_simulations < FEWEST:
        raise Refusal(f"num_simulations must be at least {FEWEST}; got {num_simulations}")
    folder = out or Path("runs") / f"check-{Path(model).stem}"
    check_place(folder)

    with alone(folder):
        from probrev.cli.checking import Request, print_calibration, print_json, run, write
        from probrev.cli.display import stages

        request = Request(info, assignments, settings, method, num_simulations, seed, workers)
        with stages(quiet) as stage:
            result = run(request, folder, stage)
        write(result, folder)
    show = print_json if as_json else print_calibration
    show(result, folder)
    return INCONCLUSIVE if result.word.is_failure else 0
