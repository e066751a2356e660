"""Where the datasets of encoded clips are, and what they hold."""

from collections.abc import Sequence
from pathlib import Path

from actavatar_jax.errors import InputError
from actavatar_jax.storage import Place, StorePath, open_place, read_json
from data_pipelines.shards.cached import fetch_datasets
from data_pipelines.shards.dataset import LARGEST_INFO
from data_pipelines.table import digest


def find_datasets(folders: Sequence[str | Place]) -> list[Path]:
    """Bucket folders among `folders` and directly below them, by their names and what they hold.

    So their order is the same wherever they lie, and in whatever order `folders` are given. Those of a folder on an
    object store are fetched (`cached`).
    """
    found: set[Path] = set()
    for folder in map(open_place, folders):
        datasets = fetch_datasets(folder) if isinstance(folder, StorePath) else _list_datasets(folder)
        if not datasets:
            raise InputError(f"{folder}: no encoded clips here or in a folder of it; make them with `encode`")
        found.update(path.resolve() for path in datasets)
    return sorted(found, key=lambda path: (path.name, _identify(path), path))


def identify_datasets(folder: str | Place) -> str:
    """Names what the datasets in a folder hold, wherever it lies: other clips, settings or encoders give another name.

    That is what `index.json` says, and where there is none, a digest of the records. Raises InputError as
    `find_datasets`.
    """
    return digest(*[part for place in find_datasets([folder]) for part in (place.name, _identify(place))])


def _identify(dataset: Path) -> str:
    index, described = dataset / "index.json", dataset / "metadata.json"
    if index.is_file():
        return digest(index)
    # Sizes tell more where the digest of the records is missing, as it is in folders from before there was one.
    return digest(described, str(read_json(dataset / "dataset_info.json", limit=LARGEST_INFO).get("splits")))


def _list_datasets(folder: Path) -> list[Path]:
    inside = [path for path in folder.iterdir() if not path.name.startswith(".")] if folder.is_dir() else []
    return [path for path in [folder, *inside] if (path / "dataset_info.json").is_file()]
