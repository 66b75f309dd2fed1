"""What the figures of several analyses share."""

import textwrap
from pathlib import Path

from matplotlib.figure import Figure


def show(figure: Figure, finding: str, path: Path) -> Path:
    """Prints the finding, puts it over the figure, and writes that."""
    print(finding)
    width = int(15 * figure.get_figwidth())
    figure.suptitle(textwrap.fill(finding, width), fontsize="small", ha="left", x=0.01)
    figure.savefig(path, dpi=150)
    return path
