"""What figures and findings of several analyses share."""

import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, NullLocator
from numpy.typing import ArrayLike


def show(figure: Figure, finding: str, path: Path) -> Path:
    """Prints the finding, puts it over the figure, and writes that."""
    print(finding)
    width = int(15 * figure.get_figwidth())
    figure.suptitle(textwrap.fill(finding, width), fontsize="small", ha="left", x=0.01)
    figure.savefig(path, dpi=150)
    return path


def bars(value: ArrayLike, low: ArrayLike, high: ArrayLike) -> np.ndarray:
    """Lengths of error bars, below and above, from the ends of intervals."""
    return np.maximum([np.subtract(value, low), np.subtract(high, value)], 0)


def plain_ticks(axis: Axis, ticks: Sequence[float] | np.ndarray) -> None:
    """These ticks and no others, as plain numbers."""
    axis.set_ticks(ticks, labels=[f"{tick:g}" for tick in ticks])
    axis.set_minor_locator(NullLocator())


def finish(axes: Axes, ncols: int = 1) -> None:
    """Legend, and labels at powers of ten only: those between would overlap."""
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.legend(frameon=False, fontsize="small", ncols=ncols)


def say_range(values: xr.DataArray | np.ndarray, form: str) -> str:
    """Smallest to largest."""
    return f"{float(values.min()):{form}} to {float(values.max()):{form}}"
