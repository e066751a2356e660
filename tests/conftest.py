"""Every test runs with shapes checked (jaxtyping + beartype) and silent rank promotion refused."""

import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

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


@pytest.fixture(scope="session")
def compiled(tmp_path_factory):
    return tmp_path_factory.mktemp("compiled")


@pytest.fixture(scope="module")
def quick_compilation(compiled):
    """Tests that compile much and compute little go without expensive passes, and compile nothing twice."""
    jax.config.update("jax_disable_most_optimizations", True)
    jax.config.update("jax_compilation_cache_dir", str(compiled))
    yield
    jax.config.update("jax_disable_most_optimizations", False)
    jax.config.update("jax_compilation_cache_dir", None)
