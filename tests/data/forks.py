"""What the scripts share that kill a forked child and look at the files it left."""

import os
import signal
from collections.abc import Callable
from pathlib import Path


def in_child(work: Callable[[], None]) -> int:
    """Exit status of a forked child that does `work`; negative where a signal killed it."""
    child = os.fork()
    if child == 0:
        work()
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in (0, -signal.SIGKILL), f"the child ended with {status}"
    return status


def tree(folder: Path) -> dict[str, bytes]:
    """All files but the report, which says what this run did."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != "report.json")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}
