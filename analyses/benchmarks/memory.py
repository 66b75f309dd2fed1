"""Memory of this process."""

import re
import resource
from pathlib import Path


def peak_bytes() -> int:
    """Peak resident memory of this process alone.

    Linux counts in `ru_maxrss` what the process that started it had used, so its own table is read;
    elsewhere `ru_maxrss` it is, in bytes on macOS.
    """
    status = Path("/proc/self/status")
    if status.exists():
        (kilobytes,) = re.findall(r"^VmHWM:\s+(\d+) kB", status.read_text(), re.M)
        return 1024 * int(kilobytes)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
