"""Networks of a few numbers: compiling them takes far longer than running them."""

import pytest


@pytest.fixture(autouse=True, scope="module")
def quickly(quick_compilation):
    """All tests of this folder."""
