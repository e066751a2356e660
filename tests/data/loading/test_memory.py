"""Memory of records is used again, which shows in page faults."""

import platform
import resource
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries are left as they are")
def test_memory_of_records_is_used_again():
    """Page faults of making and freeing three blocks of 14 MB, twenty times, in a process of its own."""
    script = """
import resource, sys
if sys.argv[1] == "keep":
    from data_pipelines.loading.memory import keep_freed_memory
    keep_freed_memory()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    blocks = [b"x" * 14_000_000 for _ in range(3)]
    del blocks
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
    root = Path(__file__).parents[3]
    given_back, kept = (
        int(subprocess.run([sys.executable, "-c", script, how], cwd=root, capture_output=True, check=True).stdout)
        for how in ("default", "keep")
    )
    pages = 3 * 14_000_000 / resource.getpagesize()
    assert given_back > 5 * pages and kept < 2 * pages, (given_back, kept)
