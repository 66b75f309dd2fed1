"""Compiled programs kept from one command to the next, in the user's cache folder."""

import hashlib
import os
import platform
import warnings
from importlib.metadata import version
from pathlib import Path

import jax

# The environment variable with which a user says that nothing is kept: PROBREV_CACHE=off.
SWITCH = "PROBREV_CACHE"
# What was used the longest time ago goes where programs take more.
MOST_BYTES = 2**28


def keep_programs() -> None:
    """Lets JAX look for what it would compile in the user's cache folder, and put it there.

    For commands: the library leaves JAX's settings alone. Nothing is kept where the user says so,
    has a cache of JAX's own, or has no folder that can be written. Processes may share it: what one
    finds half-written it compiles.
    """
    if os.environ.get(SWITCH, "") == "off" or jax.config.jax_compilation_cache_dir is not None:
        return
    try:
        root = _user_cache() / "probrev" / "programs"
        folder = root / _machine()
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        _forget_oldest(root)
    except (OSError, RuntimeError):  # no home, or nothing can be written there
        return
    if not os.access(folder, os.W_OK | os.X_OK):
        return
    warnings.filterwarnings("ignore", "Error (reading|writing) persistent compilation cache entry")
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


def _user_cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


def _machine() -> str:
    """What programs are compiled for: JAX's version and what the processor can do.

    Machines may share a home folder, and one cannot run the instructions of every other.
    """
    processor = platform.machine() + platform.processor()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        processor += next((one for one in lines if one.startswith(("flags", "Features"))), "")
    except OSError:  # not Linux
        pass
    digest = hashlib.sha256(processor.encode()).hexdigest()[:12]
    return f"{jax.__version__}-{version('jaxlib')}-{digest}"


def _forget_oldest(root: Path) -> None:
    """Deletes what was used longest ago until the folder is no more than half full, if it is."""
    found = []
    for path in root.rglob("*"):
        try:
            if path.is_file():
                one = path.stat()
                found.append((max(one.st_atime, one.st_mtime), one.st_size, path))
        except FileNotFoundError:  # another process was quicker
            continue
    size = sum(num_bytes for _, num_bytes, _ in found)
    if size <= MOST_BYTES:
        return
    for _, num_bytes, path in sorted(found):
        if size <= MOST_BYTES / 2:
            return
        path.unlink(missing_ok=True)
        size -= num_bytes
