"""Where a run goes: folders that hold no other run."""

import os
from datetime import UTC, datetime
from pathlib import Path

from probrev.plumbing.paths import check_path
from probrev.plumbing.refusal import Refusal

RUN, REPORT = "run.nc", "report.html"


def default_folder(model: str) -> Path:
    """runs/<model>-<UTC time>."""
    return Path("runs") / f"{Path(model).stem}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"


def check_folder(folder: Path) -> None:
    """Raises ValueError unless a run can be written there, overwriting none; creates nothing."""
    check_path("--out", folder)
    run, report = folder / RUN, folder / REPORT
    if run.exists() and not report.exists():
        raise Refusal(
            f"{folder} already holds {RUN}, but no report: `probrev report {run}` writes it; for "
            "another run choose another folder with --out"
        )
    for path in (run, report):
        if path.exists():
            raise Refusal(f"{folder} already holds {path.name}: choose another folder with --out")
    check_place(folder)


def check_place(folder: Path) -> None:
    """Raises ValueError unless there is a folder, or one can be made there; creates nothing."""
    check_path("--out", folder)
    if folder.is_symlink() and not folder.exists():
        raise Refusal(f"--out {folder}: a link to {os.readlink(folder)}, which does not exist")
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not existing.is_dir():
        raise Refusal(f"--out {folder}: {existing} is a file; choose a folder")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise Refusal(f"--out {folder}: no permission to write in {existing}")
