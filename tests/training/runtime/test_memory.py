"""What programs on the CPU set free stays with the process. It is another one, as this cannot be undone."""

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
import jax, jax.numpy as jnp
from actavatar_jax.training.runtime.memory import keep_memory_of_steps

if sys.argv[1] == "kept":
    keep_memory_of_steps()
step = jax.jit(lambda x: x + 1)
x = jnp.ones(2**24, jnp.float32)
faults = [0, 0]
for times in range(2):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        step(x).block_until_ready()
    faults[times] = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print(faults[1])  # at first free memory is in pieces
"""


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="asks glibc")
def test_a_program_that_runs_again_finds_its_memory():
    faults = {
        how: int(subprocess.run([sys.executable, "-c", PROGRAM, how], capture_output=True, check=True).stdout)
        for how in ("given back", "kept")
    }
    assert faults["kept"] < 0.2 * faults["given back"], faults  # of twenty calls one or two may still find it in pieces
