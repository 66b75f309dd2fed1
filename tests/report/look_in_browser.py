"""A report in headless Chromium as readers meet it: wide and narrow, light and dark, on paper.

`uv run --with playwright python -m tests.report.look_in_browser REPORT AXE [FOLDER [CHROMIUM]]`,
which CI does not run. REPORT is a page that probrev wrote, AXE the file axe.min.js of axe-core;
FOLDER gets screenshots and the PDF. It wants a page without a request, an error of the console, a
cut column or figure, or a serious finding of axe-core; whose script does what it is for, by
keyboard; which is whole without a script; and of which nothing is folded on paper.
"""

import sys
from pathlib import Path
from typing import Any

CHROMIUM = "/usr/bin/chromium"
WIDTHS, SCHEMES = (1280, 390), ("light", "dark")
SERIOUS = ("serious", "critical")
MOST_BYTES = 1_000_000
# Elements that reach beyond the window, or have what does not fit in them.
CUT = """() => {
  const wide = document.documentElement.clientWidth, found = [];
  for (const one of document.querySelectorAll("main *, header *")) {
    const box = one.getBoundingClientRect();
    if (one.closest("thead") || !box.width) continue;
    if (box.right > wide + 1) found.push(one.tagName + " " + (one.textContent || "").slice(0, 40));
    else if (one.classList.contains("scroll") && one.scrollWidth > one.clientWidth + 1)
      found.push("scrolled: " + (one.textContent || "").trim().slice(0, 40));
  }
  return found;
}"""


class Findings:
    """What is wrong, and how much was looked at."""

    def __init__(self) -> None:
        self.wrong: list[str] = []

    def want(self, is_so: bool, what: str) -> None:
        """Notes what should be so and is not."""
        print("ok  " if is_so else "NOT ", what)
        if not is_so:
            self.wrong.append(what)


def look(browser: Any, report: Path, axe: str, folder: Path | None, found: Findings) -> None:
    """Every width and scheme, each on a page of its own."""
    for width in WIDTHS:
        for scheme in SCHEMES:
            where = f"{width} px, {scheme}"
            context = browser.new_context(
                viewport={"width": width, "height": 900}, color_scheme=scheme
            )
            page = context.new_page()
            asked, said = [], []
            page.on("request", lambda one, asked=asked: asked.append(one.url))
            page.on("console", lambda one, said=said: said.append(one.text))
            page.on("pageerror", lambda one, said=said: said.append(str(one)))
            page.goto(report.as_uri())
            outside = [url for url in asked if not url.startswith(("data:", report.as_uri()))]
            found.want(not outside, f"{where}: nothing is asked for {outside[:3]}")
            found.want(not said, f"{where}: nothing is wrong with script or policy {said[:3]}")
            page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
            cut = page.evaluate(CUT)
            found.want(not cut, f"{where}: nothing is cut {cut[:5]}")
            page.evaluate(axe)
            result = page.evaluate("axe.run()")
            serious = [
                f"{one['id']} ({len(one['nodes'])}): {one['nodes'][0]['html'][:90]}"
                for one in result["violations"]
                if one["impact"] in SERIOUS
            ]
            others = [one["id"] for one in result["violations"] if one["impact"] not in SERIOUS]
            found.want(not serious, f"{where}: axe-core finds nothing serious {serious}; {others}")
            if folder is not None:
                page.screenshot(path=folder / f"{width}-{scheme}.png", full_page=True)
            context.close()


def use(browser: Any, report: Path, found: Findings) -> None:
    """The script, by keyboard; a page without one; and paper."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.goto(report.as_uri())
    head = page.locator("#verdict button.sort").nth(5)
    rows = "[...document.querySelectorAll('#verdict tbody tr')]"
    column = f"{rows}.map(row => parseFloat(row.cells[5].textContent))"
    if head.count():  # a table of one row has nothing to sort
        head.focus()
        page.keyboard.press("Enter")
        values = page.evaluate(column)
        found.want(values == sorted(values), "a table is sorted by the keyboard")
    choice = page.locator("#which-observation")
    if choice.count():
        before = page.inner_html("#any-observation svg")
        choice.focus()
        page.keyboard.press("ArrowUp")
        found.want(page.inner_html("#any-observation svg") != before, "an observation is picked")
        found.want(page.locator("#any-observation title").count() > 3, "a mark says its number")
    found.want(page.locator(".picture svg title").count() > 3, "a figure says its numbers")
    page.emulate_media(media="print")
    folded = "[...document.querySelectorAll('details > :not(summary)')].some(e => !e.offsetHeight)"
    found.want(not page.evaluate(folded), "nothing is folded on paper")
    page.close()
    plain = browser.new_context(java_script_enabled=False).new_page()
    plain.goto(report.as_uri())
    found.want(plain.locator("#any-observation").is_hidden(), "nothing waits for a script")
    found.want(plain.locator("main .picture").count() > 3, "without a script there are figures")


def main(report: str, axe: str, folder: str | None = None, chromium: str = CHROMIUM) -> int:
    """Looks; 1 if anything is not as it must be."""
    from playwright.sync_api import sync_playwright

    path, found = Path(report).resolve(), Findings()
    size = path.stat().st_size
    found.want(size < MOST_BYTES, f"the page has {size:,} bytes")
    images = None if folder is None else Path(folder)
    if images is not None:
        images.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        look(browser, path, Path(axe).read_text(encoding="utf-8"), images, found)
        use(browser, path, found)
        if images is not None:
            page = browser.new_page()
            page.goto(path.as_uri())
            page.pdf(path=images / "page.pdf")
        browser.close()
    print(f"{len(found.wrong)} of these are not as they must be")
    return 1 if found.wrong else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
