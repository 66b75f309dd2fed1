"""What the analyses share: one command line, data with provenance, one finding in words."""

import argparse
import json
import platform
import shlex
import sys
import textwrap
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jax
import numpyro
import xarray as xr
from matplotlib.figure import Figure

from probrev.plumbing.replacing import replacing
from probrev.runs.provenance import versions

Sizes = Mapping[str, Mapping[str, Any]]


def run(
    doc: str,
    compute: Callable[..., None],
    plot: Callable[[Path], Path],
    sizes: Sizes,
) -> None:
    """The command line of an analysis: `compute OUT [--size NAME]`, then `plot OUT`.

    Args:
        doc: docstring of the script.
        compute: measures and writes data to a folder; takes the folder and a size's arguments.
        plot: draws what `compute` wrote, prints the finding, and returns the figure's path.
        sizes: arguments of `compute` by name; the first is the default and takes about a minute.
    """
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.add_argument("step", choices=("compute", "plot"))
    parser.add_argument("out", type=Path, help="folder of the data and the figure")
    parser.add_argument("--size", choices=tuple(sizes), default=next(iter(sizes)))
    arguments = parser.parse_args()
    numpyro.enable_x64()
    try:
        if arguments.step == "compute":
            arguments.out.mkdir(parents=True, exist_ok=True)
            compute(arguments.out, **sizes[arguments.size])
        else:
            print(plot(arguments.out))
    except FileNotFoundError as error:
        sys.exit(f"{parser.prog}: {error}")


def save(out: Path, name: str, data: xr.Dataset) -> None:
    """Writes OUT/NAME.nc, whole or not at all, with where it comes from."""
    origin = {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": shlex.join(sys.argv),
        "versions": json.dumps(versions()),
        "platform": platform.platform(),
        "device": jax.devices()[0].device_kind,
    }
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


def show(figure: Figure, finding: str, path: Path) -> Path:
    """Prints the finding, puts it over the figure, and writes that."""
    print(finding)
    width = int(15 * figure.get_figwidth())
    figure.suptitle(textwrap.fill(finding, width), fontsize="small", ha="left", x=0.01)
    figure.savefig(path, dpi=150)
    return path
