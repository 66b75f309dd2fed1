"""A hostile report in headless Chromium: nothing of it runs, and it asks for nothing.

`python -m tests.report.in_browser [CHROMIUM]`, which CI does not run. Two controls show that the
detector sees a script that does run: a page of scripts without a policy, and the same page under
the report's policy, where nothing runs.
"""

import http.server
import re
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import ClassVar

import numpyro

import probrev as pr
from tests import small_runs

TITLE = "a script has run"


class _Server(http.server.BaseHTTPRequestHandler):
    """Counts what is asked for."""

    asked: ClassVar[list[str]] = []

    def do_GET(self):
        self.asked.append(self.path)
        self.send_response(204)
        self.end_headers()

    def log_message(self, format, *args):
        """Silent."""


def payloads(address: str) -> str:
    """Markup that runs in as many ways as there are, each with a request of its own."""
    run = f"document.title='{TITLE}';new Image().src='{address}/'+this"
    return (
        f"<script>{run}</script><img src='{address}/img' onerror=\"{run}\">"
        f"<svg onload=\"{run}\"></svg><iframe src='{address}/frame'></iframe>"
        f"<link rel=stylesheet href='{address}/style'><style>@import '{address}/css';</style>"
        f"<base href='{address}/'><meta http-equiv=refresh content='0;url={address}/meta'>"
        f"\"'><script>{run}</script>--></textarea></title></style><script>{run}</script>"
    )


def hostile_report(address: str, folder: Path) -> Path:
    """A report whose names, docstrings, parameters and sources are all markup."""
    markup = payloads(address)

    def boldness(case):
        return case.estimates.mean("hidden")

    boldness.__doc__ = markup
    run = small_runs.compare(
        small_runs.observations(), {"exact": small_runs.exact()}, model=markup,
        model_source=f'"""{markup}"""', command=f"probrev compare '{markup}'", seed=markup,
        parameters={markup: markup, "noise_std": markup}, versions={markup: markup},
        created=markup, methods={"exact": markup}, platform=markup,
    )  # fmt: skip
    run.tree["glossary"]["sentence"][:] = markup
    for posterior in run.tree["posteriors"].children.values():
        posterior.attrs["status_reason"] = markup
    path = folder / "report.html"
    pr.write_report(run, path)
    return path


def visit(browser: str, page: Path) -> tuple[str, list[str]]:
    """The title that a page has after a while, and what was asked for."""
    _Server.asked.clear()
    with tempfile.TemporaryDirectory() as profile:
        done = subprocess.run(
            [browser, "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=4000",
             f"--user-data-dir={profile}", "--dump-dom", page.as_uri()],
            capture_output=True, text=True, timeout=120, check=True,
        )  # fmt: skip
    found = re.search(r"<title>(.*?)</title>", done.stdout, re.DOTALL)
    return (found[1] if found else ""), list(_Server.asked)


def main(browser: str) -> int:
    """Visits the report and both controls; 1 unless all is as it must be."""
    numpyro.enable_x64()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        report = hostile_report(address, folder)
        policy = re.search(r'<meta http-equiv="Content-Security-Policy"[^>]*>', report.read_text())
        assert policy is not None
        body = f"<title>page</title></head><body>{payloads(address)}</body></html>"
        bare, guarded = folder / "bare.html", folder / "guarded.html"
        bare.write_text(f"<!doctype html><html><head>{body}")
        guarded.write_text(f"<!doctype html><html><head>{policy[0]}{body}")
        found = {page.stem: visit(browser, page) for page in (bare, guarded, report)}
    for page, (title, asked) in found.items():
        print(f"{page}: title {title[:40]!r}, {len(asked)} requests {sorted(set(asked))[:4]}")
    seen = found["bare"][0] == TITLE and found["bare"][1]
    clean = found["report"][0] != TITLE and not found["report"][1]
    print("the detector sees what runs:", bool(seen), "; the report is clean:", clean)
    return 0 if seen and clean and found["guarded"][0] != TITLE else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else "chromium"))
