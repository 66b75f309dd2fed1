"""What sections are made of."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from matplotlib.figure import Figure

from probrev.report.plots.canvas import data_uri

# Inches; a wider figure is scrolled, not shrunk, on narrow screens.
NARROW = 5


class Table(NamedTuple):
    """Text in rows and columns; the first column names the row.

    Attributes:
        header: of every column.
        rows: cells as text.
        caption: how to read it.
    """

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""


class Image(NamedTuple):
    """A figure inside the page.

    Attributes:
        source: the image itself, as a data URI.
        alt: what it shows, for those who cannot see it.
        caption: what is seen and how to read it.
        wide: whether it would be unreadable on the width of a telephone.
    """

    source: str
    alt: str
    caption: str
    wide: bool


@dataclass
class Section:
    """A heading and what is below it, in this order.

    Attributes:
        title: the heading.
        lines: paragraphs.
        images: figures.
        tables: tables.
        folded: whether it is closed until it is clicked on.
        code: preformatted text.
    """

    title: str
    lines: list[str] = field(default_factory=list)
    images: list[Image] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    folded: bool = False
    code: str = ""

    @property
    def anchor(self) -> str:
        """The heading as the target of a link."""
        return "".join(c if c.isalnum() else "-" for c in self.title.lower())


def image(figure: Figure, alt: str, caption: str) -> Image:
    """Puts a figure into the page."""
    return Image(data_uri(figure), alt, caption, wide=figure.get_figwidth() > NARROW)
