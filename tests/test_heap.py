"""Memory that is set free stays with the process, which shows in page faults. It cannot be undone, so it is another."""

import platform
import resource
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries are left as they are")

COUNT = """
import resource, sys
from actavatar_jax import heap

for name in sys.argv[1:]:
    getattr(heap, name)()

def faults(run, times=20):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(times):
        run()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
"""

RECORDS = """
def run():
    blocks = [b"x" * 14_000_000 for _ in range(3)]
    del blocks
print(faults(run))
"""

STEPS = """
import jax, jax.numpy as jnp
step = jax.jit(lambda x: x + 1)
x = jnp.ones(2**24, jnp.float32)
def run():
    step(x).block_until_ready()
faults(run)  # at first free memory is in pieces
print(faults(run))
"""

LARGE = """
import numpy as np
def run():
    np.ones(3 << 29, np.uint8)  # more than records may keep
print(faults(run, 3))
"""


def faults(program, *kept):
    run = subprocess.run([sys.executable, "-c", COUNT + program, *kept], capture_output=True, check=True)
    return int(run.stdout)


def test_memory_of_records_is_used_again():
    pages = 3 * 14_000_000 / resource.getpagesize()
    given_back, kept = faults(RECORDS), faults(RECORDS, "keep_memory_of_records")
    assert given_back > 5 * pages and kept < 2 * pages, (given_back, kept)


@pytest.mark.slow
def test_a_program_that_runs_again_finds_its_memory():
    given_back, kept = faults(STEPS), faults(STEPS, "keep_memory_of_steps")
    assert kept < 0.2 * given_back, (given_back, kept)  # of twenty calls one or two may still find it in pieces


@pytest.mark.slow
def test_a_loader_that_is_opened_later_takes_nothing_away_from_the_steps():
    kept, given_back = faults(LARGE, "keep_memory_of_steps", "keep_memory_of_records"), faults(LARGE)
    assert kept < 0.5 * given_back, (given_back, kept)
