"""What sections are made of."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from matplotlib.figure import Figure

from probrev.report.plots.drawing import drawing


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
        markup: the figure itself.
        caption: what is seen and how to read it.
    """

    markup: str
    caption: str


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
        has_words: whether the words that the page links are explained here.
        any_observation: whether the page's script shows one of many observations at its end.
    """

    title: str
    lines: list[str] = field(default_factory=list)
    images: list[Image] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    folded: bool = False
    code: str = ""
    has_words: bool = False
    any_observation: bool = False

    @property
    def anchor(self) -> str:
        """The heading as the target of a link."""
        return "".join(c if c.isalnum() else "-" for c in self.title.lower())


def image(figure: Figure, alt: str, caption: str) -> Image:
    """Puts a figure into the page.

    Args:
        figure: the figure.
        alt: what is to be seen in it, in words.
        caption: how to read it.
    """
    return Image(drawing(figure, alt), caption)
