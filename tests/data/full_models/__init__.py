"""Models of the published sizes with random weights, as slow as the real ones, and blind.

    python -m tests.data.full_models FOLDER

writes those whose originals have to be fetched: YuNet, SyncNet, YOLOX-l and RTMPose-l, which is what DWPose runs, and
of those that only measure ArcFace, Inception v3, I3D and LPIPS. `launch/bench.py filters`, `launch/bench.py metrics`
and `actavatar evaluate` take the folder. In ONNX, batch norms are folded into the convolutions, as exporters do.
Detectors see one face or one person in every picture: what random weights compute is scaled to almost nothing, so that
it is still computed, and constants are added to it.
"""

from pathlib import Path

import onnx

from actavatar_jax.storage import replaced_file
from tests.data.full_models.arcface import embedder
from tests.data.full_models.measures import write_measures
from tests.data.full_models.network import Network, size
from tests.data.full_models.rtmpose import pose
from tests.data.full_models.syncnet import syncnet
from tests.data.full_models.yolox import PERSON, PERSON_SIZE, person
from tests.data.full_models.yunet import face

__all__ = ["MODELS", "PERSON", "PERSON_SIZE", "Network", "main", "size", "syncnet"]

MODELS = {"face.onnx": face, "person.onnx": person, "pose.onnx": pose, "w600k_r50.onnx": embedder}


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, make in MODELS.items():
        model, path = make(), folder / name
        parameters, products = size(model)
        with replaced_file(path) as unfinished:
            onnx.save(model, unfinished)
        _tell(path, parameters, products)
    path = folder / "syncnet_v2.model"
    _tell(path, *syncnet(path))
    for path, parameters in write_measures(folder):
        print(f"{path}: {parameters / 1e6:.2f} M parameters")


def _tell(path: Path, parameters: int, products: int) -> None:
    print(f"{path}: {parameters / 1e6:.2f} M parameters, {products / 1e9:.2f} G multiply-adds")
