"""What the runs are trained on: the clips of the base, and what is derived of them without drawing a clip again."""

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path

from ml_collections import ConfigDict

from actavatar_jax.encoders import Encoders
from actavatar_jax.puppets import dataset
from actavatar_jax.puppets import recipe as puppets
from actavatar_jax.puppets.world.clips import World, find_cues, find_prompt
from actavatar_jax.storage import replaced_folder
from data_pipelines.shards import (
    FrozenEncoders,
    RecordMaker,
    find_datasets,
    open_dataset,
    serialize_record,
    write_dataset,
)


def shards_for(config: ConfigDict, settings: ConfigDict, start: Path, base: Path, workdir: Path) -> Path:
    """The folder that has the shards a training from the model folder `start` reads; made where the base lacks them."""
    drawn, most = base / "shards", settings.data.world.max_phases
    if config.fresh:
        return drawn
    texts = puppets.texts_of(settings, start)
    if most == config.world.max_phases and has_texts(drawn, texts):
        return drawn
    folder = workdir / f"clips-{most}-phases"
    with alone_in(folder):
        encoders, world = Encoders.from_folder(base / "base"), World(**config.world)
        retell(drawn / "structured", folder / texts, encoders, world, texts, most)
    return folder


def has_texts(folder: Path, texts: str) -> bool:
    """Whether a folder has encoded clips with these texts (of `dataset.TEXTS`), described as such."""
    places = find_datasets([folder / texts]) if (folder / texts).is_dir() else []
    return bool(places) and all(open_dataset(place).anchors == dataset.TEXTS[texts][1] for place in places)


def retell(source: Path, target: Path, encoders: FrozenEncoders, world: World, texts: str, most_phases: int) -> None:
    """The encoded clips of `source` that have at most so many phases, with other texts (of `dataset.TEXTS`).

    Pictures and sound stay as they are; finished parts are kept. `world` is that in which the clips were drawn.
    """
    wording, anchors = dataset.TEXTS[texts]
    maker = RecordMaker(encoders, bool(anchors))

    def told(record: dict) -> Iterator[bytes]:
        seed = int(record["clip"].decode().removeprefix("puppet-"))
        if len(find_cues(seed, world)) <= most_phases:
            yield serialize_record(record | maker.encode_text(dataset.worded(find_prompt(seed, world), wording)))

    for place in find_datasets([source]):
        if (target / place.name).is_dir():
            continue
        stored = open_dataset(place)
        records = [new for number in range(len(stored.source)) for new in told(stored.source[number])]
        metadata = stored.metadata | {"anchors": anchors, "most_phases": most_phases}
        with replaced_folder(target / place.name) as partial:
            write_dataset(partial, iter(records), len(records), len(records), metadata)


@contextlib.contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Waits until no other part of the ablation works in the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
