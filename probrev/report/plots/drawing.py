"""A figure as markup for a page: SVG of as few bytes as will do, or pixels where it is dense."""

import base64
import html
import io
import re
from hashlib import sha256

from matplotlib.figure import Figure

from probrev.report.plots.canvas import our_look

# An SVG of more bytes than this is kept as pixels.
SVG_LIMIT = 60_000
# Pixels to an inch of a page, and how many more a dense figure has, for print and for zooming.
PIXELS, DENSITY = 96, 2
NUM_SHADES = 256
# Artists of whose id this is the beginning show the rest of it where the mouse is over them.
HOVER = "hover "
FONTS = "'DejaVu Sans', Verdana, sans-serif"


def drawing(figure: Figure, alt: str) -> str:
    """A figure as markup that asks for nothing; the same on each run.

    Args:
        figure: the figure; the ids of its artists may be texts to show, see `HOVER`.
        alt: what it shows, for those who cannot see it.
    """
    width, height = (round(PIXELS * size) for size in figure.get_size_inches())
    with our_look():
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None})
        svg = _shorten(text.getvalue(), width, height, alt)
        if len(svg.encode()) <= SVG_LIMIT:
            return svg
        pixels = io.BytesIO()
        figure.savefig(pixels, format="png", dpi=DENSITY * PIXELS)
    source = base64.b64encode(_few_shades(pixels)).decode()
    size = f'width="{width}" height="{height}"'
    return f'<img alt="{html.escape(alt)}" {size} src="data:image/png;base64,{source}">'


def _shorten(svg: str, width: int, height: int, alt: str) -> str:
    """An SVG for the inside of a page, without what a page does not need."""
    svg = svg[svg.index("<svg") :]
    # Comments repeat the texts, which are there anyway.
    svg = re.sub(r"<!--.*?-->|<metadata>.*?</metadata>|<style.*?</style>", "", svg, flags=re.DOTALL)
    view = re.search(r'viewBox="[^"]*"', svg)
    assert view is not None
    opening = (
        f'<svg role="img" aria-label="{html.escape(alt)}" width="{width}" height="{height}" '
        f"{view[0]}>"
    )
    svg = opening + svg[svg.index(">") + 1 :]
    svg = re.sub(r"<g id=\"" + HOVER + r"([^\"]*)\">", r"<g><title>\1</title>", svg)
    svg = re.sub(r"<[^>]*>", lambda tag: _shorten_tag(tag[0]), svg)
    svg = re.sub(r">\s+<", "><", svg).replace("xlink:href", "href")
    svg = svg.replace("'DejaVu Sans'", FONTS)
    return _own_ids(svg).strip()


def _shorten_tag(tag: str) -> str:
    """Numbers to a hundredth of a point, coordinates of paths to a tenth."""
    tag = re.sub(r"\s+", " ", tag)
    tag = re.sub(r"(\.\d\d)\d+", r"\1", tag)
    return re.sub(r' d="[^"]*"', lambda path: re.sub(r"(\.\d)\d+", r"\1", path[0]), tag)


def _own_ids(svg: str) -> str:
    """Ids that no other figure of the page has, and only those that are used."""
    used = set(re.findall(r'(?:url\(|href=")#([^)"]+)', svg))
    own = sha256(svg.encode()).hexdigest()[:6]

    def name(match: re.Match[str]) -> str:
        return f' id="{own}{match[1]}"' if match[1] in used else ""

    svg = re.sub(r' id="([^"]*)"', name, svg)
    return re.sub(r'(url\(|href=")#', rf"\1#{own}", svg)


def _few_shades(pixels: io.BytesIO) -> bytes:
    """A picture with a palette, of which a figure needs few colours."""
    from PIL import Image

    small = io.BytesIO()
    picture = Image.open(pixels).convert("RGB")
    picture.quantize(NUM_SHADES, dither=Image.Dither.NONE).save(small, "png", optimize=True)
    return small.getvalue()
