"""When and where something is computed, and by which versions of what."""

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import jax

PACKAGES = ("probrev", "jax", "numpyro", "arviz", "numpy")


def surroundings() -> dict[str, Any]:
    """When and where: `created`, `versions`, `platform`, `device`, `num_cpus`."""
    return {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {"python": platform.python_version()}
        | {name: version(name) for name in PACKAGES},
        "platform": platform.platform(),
        "device": jax.devices()[0].device_kind,
        "num_cpus": os.cpu_count(),
    }
