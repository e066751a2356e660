"""Memory as compilers tell it, of programs that fit and of those that do not."""

from types import SimpleNamespace
from unittest.mock import Mock

import jax
import pytest

from actavatar_jax.planning.chips import GIB
from actavatar_jax.planning.compiling import Memory, measure, too_large


def test_the_compiler_says_what_a_program_needs_when_it_is_too_large():
    error = (
        "RESOURCE_EXHAUSTED: Ran out of memory on HBM, the total memory ... (596.05G) exceeds available HBM (15.75G)."
    )
    assert too_large(error) == int(596.05 * GIB)
    used = "RESOURCE_EXHAUSTED: XLA:TPU compile permanent error. Ran out of memory in memory space hbm. Used 45.50G of"
    assert too_large(used + " 31.25G hbm.") == int(45.5 * GIB)
    assert too_large("INTERNAL: Used 45.50G of patience") is None


def test_memory_is_what_is_alive_at_once():
    """Temporaries of a TPU program add up to more than that."""
    sizes = {"argument": 8, "temp": 24, "output": 9, "alias": 7, "generated_code": 1, "host_temp": 5}
    stats = SimpleNamespace(peak_memory_in_bytes=20, **{f"{n}_size_in_bytes": size for n, size in sizes.items()})
    lowered = Mock(spec=jax.stages.Lowered)
    lowered.compile.return_value = Mock(spec=jax.stages.Compiled, memory_analysis=lambda: stats)
    memory, compiled = measure(lowered)
    assert memory == Memory(peak=21, arguments=8, temporaries=12, output=9, alias=7, host=5)
    assert compiled is lowered.compile.return_value


def test_of_a_program_that_is_refused_only_the_peak_is_known():
    lowered = Mock(spec=jax.stages.Lowered)
    lowered.compile.side_effect = jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Used 2.00G of 1.00G hbm.")
    assert measure(lowered) == (Memory(peak=2 * GIB), None)
    lowered.compile.side_effect = jax.errors.JaxRuntimeError("INTERNAL: lost")
    with pytest.raises(jax.errors.JaxRuntimeError, match="lost"):
        measure(lowered)
