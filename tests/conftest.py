"""Every test runs with shapes checked (jaxtyping + beartype) and silent rank promotion refused."""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:  # of this run: its workers and what they start compile nothing twice
    os.environ["JAX_COMPILATION_CACHE_DIR"] = tempfile.mkdtemp(prefix="compiled-")
    atexit.register(shutil.rmtree, os.environ["JAX_COMPILATION_CACHE_DIR"], ignore_errors=True)
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")

import jax
import pytest
from jaxtyping import install_import_hook

install_import_hook(["actavatar_jax", "data_pipelines"], "beartype.beartype")
jax.config.update("jax_numpy_rank_promotion", "raise")

SHARED_MEDIA = Path(__file__).resolve().parents[2] / "shared" / "media"


@pytest.fixture(scope="session")
def media() -> Path:
    """The folder of real clips, portraits and speech that lies beside a developer's checkout."""
    if not SHARED_MEDIA.is_dir():
        pytest.skip("needs real media, which are not part of this repository")
    return SHARED_MEDIA


@pytest.fixture(scope="module")
def quick_compilation():
    """Tests that compile much and compute little go without expensive passes; nothing of it is left to others, whose
    results may be compared bit for bit."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)
    jax.clear_caches()
