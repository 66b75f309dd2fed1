"""What every analysis goes through: one command line, and data with provenance."""

import argparse
import json
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

import numpyro
import xarray as xr

from analyses.settings import Sizes, describe_settings, list_settings, parse_settings
from probrev.plumbing.refusal import REFUSALS
from probrev.plumbing.replacing import replacing
from probrev.runs.provenance import surroundings


class OtherRunError(ValueError):
    """A folder holds what was computed with other arguments."""


def run(
    doc: str | None,
    compute: Callable[..., None],
    plot: Callable[[Path], Path] | None,
    sizes: Sizes,
    *,
    model: str = "",
    without: Sequence[str] = (),
) -> None:
    """The command line: `compute OUT [--size NAME] [--set NAME=VALUE ...]`, then `plot OUT`.

    Args:
        doc: docstring of the analysis.
        compute: measures and writes data to a folder; takes the folder and a size's arguments.
        plot: draws what `compute` wrote, prints the finding, and returns the figure's path; None
            where there is nothing to draw.
        sizes: arguments of `compute` by name; the first is the default and takes about a minute.
        model: named model whose parameters `compute` takes by `**`; they can be set like its own.
        without: of those, the ones that it chooses itself.
    """
    settings = list_settings(compute, model, without)
    parser = argparse.ArgumentParser(
        prog=_program(),
        description=(doc or "").partition("\n")[0],
        epilog=describe_settings(settings, sizes),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("step", choices=("compute", "plot") if plot else ("compute",))
    parser.add_argument("out", type=Path, help="folder of the data and the figure")
    parser.add_argument(
        "--size", choices=tuple(sizes), default=next(iter(sizes)), help="%(default)s without"
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE",
        help="changes one argument of compute after the size is chosen; may be given several times",
    )  # fmt: skip
    arguments = parser.parse_args()
    try:
        if arguments.step == "plot" and arguments.set:
            raise ValueError("--set is for compute: plot draws what is there")
        changed = parse_settings(settings, arguments.set)
    except ValueError as error:
        _refuse(parser.prog, error)
    numpyro.enable_x64()
    try:
        if plot and arguments.step == "plot":
            print(plot(arguments.out))
        else:
            arguments.out.mkdir(parents=True, exist_ok=True)
            compute(arguments.out, **{**sizes[arguments.size], **changed})
    except (FileNotFoundError, OtherRunError) as error:
        sys.exit(f"{parser.prog}: {error}")
    except REFUSALS as error:
        _refuse(parser.prog, error)


def _refuse(program: str, error: Exception) -> NoReturn:
    print(f"{program}: {' '.join(str(error).split())}", file=sys.stderr)
    sys.exit(2)


def _program() -> str:
    """How the analysis was called: `python -m analyses.ladder`."""
    spec = sys.modules["__main__"].__spec__
    name = spec.name.removesuffix(".__main__") if spec else Path(sys.argv[0]).name
    return f"python -m {name}"


def save(out: Path, name: str, data: xr.Dataset) -> None:
    """Writes OUT/NAME.nc, whole or not at all, with where it comes from."""
    known = surroundings()
    origin = {"command": shlex.join(sys.argv), **known, "versions": json.dumps(known["versions"])}
    out.mkdir(parents=True, exist_ok=True)
    with replacing(out / f"{name}.nc") as partial:
        data.assign_attrs(origin | data.attrs).to_netcdf(partial, engine="h5netcdf")


def load(out: Path, name: str) -> xr.Dataset:
    """Reads what `save` wrote.

    Raises:
        FileNotFoundError: nothing was computed there.
    """
    path = out / f"{name}.nc"
    if not path.exists():
        raise FileNotFoundError(f"no {path.name} in {out}: run `compute` first")
    return xr.load_dataset(path, engine="h5netcdf")


def find_saved(out: Path, name: str, plan: str) -> xr.Dataset | None:
    """What an earlier run has saved with this plan as an attribute; None if it has not.

    Args:
        out: folder.
        name: of the data.
        plan: all that the data depend on.

    Raises:
        OtherRunError: what is there had another plan.
    """
    if not (out / f"{name}.nc").exists():
        return None
    data = load(out, name)
    expect(out / f"{name}.nc", data.attrs.get("plan"), plan)
    return data


def expect(path: Path, found: object, plan: object) -> None:
    """Refuses a file whose plan is not this one.

    Raises:
        OtherRunError: it is another.
    """
    if found != plan:
        raise OtherRunError(
            f"{path} holds another run: {found}; this one is {plan}: name another folder or "
            "delete the file"
        )
