"""Files of networks that others publish, on which filters and metrics stand: what they are, whence, how licensed.

None of them comes with this project. They lie in one folder, under the names of `FILES`.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from actavatar_jax.errors import InputError


@dataclass(frozen=True)
class PublishedFile:
    """sha256: of the file that is known to be right, or how it begins; None where each who exports it gets another."""

    title: str
    origin: str
    licence: str
    sha256: str | None = None


FILES = {
    "face.onnx": PublishedFile(
        "YuNet face detector",
        "OpenCV's zoo of models, as face_detection_yunet_2023mar.onnx",
        "MIT",
        "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4",
    ),
    "voice.onnx": PublishedFile(
        "Silero voice activity detector, version 5 or later",
        "the package silero-vad 6.2.3, as silero_vad/data/silero_vad.onnx",
        "MIT",
        "1a153a22f4509e292a94e67d6f9b85e8deb25b4988682b7e174c65279d8788e3",
    ),
    "text.onnx": PublishedFile(
        "PP-OCR text detector (a map of text, as of Differentiable Binarization)",
        "the package rapidocr-onnxruntime 1.4.4, as rapidocr_onnxruntime/models/ch_PP-OCRv4_det_infer.onnx",
        "Apache-2.0",
        "d2a7720d45a54257208b1e13e36a8479894cb74155a5efe29462512d42f49da9",
    ),
    "quality.onnx": PublishedFile(
        "DOVER video quality, as its own converter writes it",
        "convert_to_onnx.py of github.com/VQAssessment/DOVER, which writes onnx_dover.onnx",
        "MIT",
    ),
    "person.onnx": PublishedFile(
        "YOLOX person detector of DWPose",
        "huggingface.co/yzd-v/DWPose, as yolox_l.onnx",
        "of its code Apache-2.0",
        "7860ae79de6c89a3c1eb72ae9a2756c0ccfbe04b7791bb5880afabd97855a411",
    ),
    "pose.onnx": PublishedFile(
        "DWPose whole-body keypoints",
        "huggingface.co/yzd-v/DWPose, as dw-ll_ucoco_384.onnx",
        "of its code Apache-2.0",
        "724f4ff2439ed61afb86fb8a1951ec39c6220682803b4a8bd4f598cd913b1843",
    ),
    "syncnet_v2.model": PublishedFile(
        "SyncNet v2, the PyTorch file of its authors",
        "the links of github.com/joonson/syncnet_python",
        "of its code MIT",
        "961e8696f888fce4f3f3a6c3d5b3267cf5b343100b238e79b2659bff2c605442",
    ),
    "w600k_r50.onnx": PublishedFile(
        "ArcFace, ResNet-50 on WebFace600K",
        "insightface's pack buffalo_l",
        "for research that is not commercial",
        "4c06341c33c2ca1f86781dab0e829f88ad5b64be9fba56e56bc9ebdefc619e43",
    ),
    "pt_inception-2015-12-05-6726825d.pth": PublishedFile(
        "Inception v3 of 2015-12-05",
        "the releases of github.com/mseitzer/pytorch-fid",
        "Apache-2.0",
        "6726825d",
    ),
    "i3d_pretrained_400.pt": PublishedFile(
        "I3D of Kinetics-400",
        "the folder tats/fvd of github.com/songweige/TATS",
        "none stated; of its authors' code Apache-2.0",
    ),
    "alexnet-owt-7be5be79.pth": PublishedFile(
        "AlexNet of torchvision", "download.pytorch.org/models", "none stated for weights", "7be5be79"
    ),
    "alex.pth": PublishedFile(
        "LPIPS 0.1",
        "the package lpips 0.1.4, as lpips/weights/v0.1/alex.pth",
        "BSD-2",
        "df73285e35b22355a2df87cdb6b70b343713b667eddbda73e1977e0c860835c0",
    ),
}


Opening = tuple[tuple[str, ...], Callable[[Path], object]]  # files, and what opens them in a folder


@dataclass(frozen=True)
class Remark:
    """What is to be said of a file, or of what stands on some. refused: the files are there, and are not accepted."""

    words: str
    refused: bool = False


def compare_files(folder: Path) -> dict[str, Remark]:
    """Whether each of `FILES` in a folder is as it was published. InputError: one cannot be read."""
    return {name: Remark(_compare(folder / name, file)) for name, file in FILES.items()}


def try_openings(folder: Path, openings: Mapping[str, Opening]) -> dict[str, Remark]:
    """Whether what stands on the files of a folder finds them, and accepts what they hold."""
    return {name: _try(folder, *opening) for name, opening in openings.items()}


def _compare(path: Path, file: PublishedFile) -> str:
    if not path.is_file():
        return f"missing: {file.origin} ({file.licence})"
    if file.sha256 is None:
        return "there; no digest is known"
    try:
        with path.open("rb") as opened:
            digest = hashlib.file_digest(opened, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}).") from error
    if digest.startswith(file.sha256):
        return "as published"
    return f"another file than {file.origin}: sha256 {digest}"


def _try(folder: Path, files: Sequence[str], open_files: Callable[[Path], object]) -> Remark:
    missing = [name for name in files if not (folder / name).is_file()]
    if missing:
        return Remark(f"needs {', '.join(missing)}")
    try:
        open_files(folder)
    except InputError as error:
        return Remark(str(error), refused=True)
    return Remark("ready")
