"""How much memory was held at most: what a run says of itself beside its time."""

import sys


def peak_memory() -> dict[str, int]:
    """Resident memory at its highest, in MiB: of this process since it began, and of the largest of its workers.

    Workers that have not ended do not count. Pages that a worker shares with this process stand in both numbers.

    Returns:
        "process" and "largest_worker"; 0 where no worker has ended. Nothing where the system doesn't tell (Windows).
    """
    if sys.platform == "win32":
        return {}
    import resource

    # Linux counts in KiB, macOS in bytes.
    unit = 2**20 if sys.platform == "darwin" else 2**10
    who = {"process": resource.RUSAGE_SELF, "largest_worker": resource.RUSAGE_CHILDREN}
    return {name: round(resource.getrusage(one).ru_maxrss / unit) for name, one in who.items()}
