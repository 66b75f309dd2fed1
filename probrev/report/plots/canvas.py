"""What all figures share: one look, and one colour per name."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import wraps
from itertools import cycle
from typing import Any, NamedTuple

from matplotlib import style
from matplotlib.figure import Figure

from probrev.comparison.comparison import Comparison

POSTERIOR_COLOR = "#2f5d8a"
TRUTH_COLOR = "#111111"
MUTED = "#8a8a8a"
# Okabe and Ito's colours, which stay apart for colour-blind readers, and more. There is one marker
# more than there are colours, so that names beyond the last colour differ by both together.
COLORS = (
    "#D55E00", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#8B6914", "#5B3A8C", "#999933",
    "#882255",
)  # fmt: skip
MARKERS = ("o", "s", "D", "^", "v", "P", "X", "<", ">", "p")
LOOK: dict[Any, Any] = {
    "axes.edgecolor": "#555555",
    "axes.grid": False,
    "axes.labelsize": 9,
    "axes.linewidth": 0.8,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 10,
    "figure.constrained_layout.use": True,
    "figure.facecolor": "white",
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "legend.fontsize": 8.5,
    "lines.markersize": 3,
    "legend.frameon": False,
    "savefig.facecolor": "white",
    "svg.fonttype": "none",
    "svg.hashsalt": "probrev",
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
}
# Inches: what a telephone shows at three quarters of its size.
WIDTH = 5.2


class Mark(NamedTuple):
    """How one inverse is drawn in every figure."""

    color: str
    marker: str


def marks(result: Comparison) -> dict[str, Mark]:
    """The same colour and marker for an inverse wherever it appears."""
    pairs = zip(result.inverses, cycle(COLORS), cycle(MARKERS), strict=False)
    return {name: Mark(color, marker) for name, color, marker in pairs}


def our_look() -> AbstractContextManager[None]:
    """Matplotlib with our settings alone: a user's may need LaTeX, or fonts that are not there."""
    return style.context(["default", LOOK])


def styled[**P](plot: Callable[P, Figure]) -> Callable[P, Figure]:
    """Draws with our look, and leaves Matplotlib's settings as they were."""

    @wraps(plot)
    def drawn(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with our_look():
            return plot(*args, **kwargs)

    return drawn


def figure_of(collection: Any) -> Figure:
    """The figure of an ArviZ plot, no longer known to pyplot (which would keep it alive)."""
    from matplotlib import pyplot

    figure = collection.get_viz("figure")
    pyplot.close(figure)
    return figure
