"""The filters' model files, all but one in ONNX, in one folder under agreed names; none comes with this project."""

from pathlib import Path

NEEDED = {  # by filter; `voice` and `quality` measure something without theirs
    "voice": ("voice.onnx",),
    "quality": ("quality.onnx",),
    "text_area": ("text.onnx",),
    "faces": ("face.onnx",),
    "sync": ("face.onnx", "syncnet_v2.model"),
    "motion": ("person.onnx", "pose.onnx"),
}
MODELS = tuple(dict.fromkeys(name for names in NEEDED.values() for name in names))


def find_models(folder: Path | None, step: str) -> tuple[Path, ...] | None:
    """The paths of the models that a filter needs, None unless all are there."""
    names = NEEDED[step]
    if folder is None or not all((folder / name).is_file() for name in names):
        return None
    return tuple(folder / name for name in names)
