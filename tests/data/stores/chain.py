"""The chain from videos to shards, wherever its folders lie, and what is compared of it."""

from collections.abc import Callable
from pathlib import Path

from actavatar_jax.storage import Place, open_place, read_text
from data_pipelines.annotation import ChatClient, Server, annotate_clips
from data_pipelines.clips import prepare_clips
from data_pipelines.corpora import read_corpus
from data_pipelines.filters import filter_clips
from data_pipelines.selection import select_clips
from data_pipelines.shards import encode_clips, find_datasets
from data_pipelines.table import read_manifest
from tests.data.fakes import FakeEncoders, write_clip

CLIPS, BROKEN = 4, "broken"
ENCODING = {"frames": 9, "buckets": "32x64", "records_per_shard": 12}  # of five records in a clip
RULES = """
rules:
  - {column: probe.seconds, test: ">=", value: 1, kind: hard, reason: short}
"""
QUIET = {"progress": False}


def make_videos(folder: Path, frames: int = 50) -> Path:
    """Videos of so many frames and a few more, one with a caption and one that is broken."""
    for number in range(CLIPS):
        write_clip(folder / f"{number:02d}.mp4", frames=frames + number, seed=number)
    (folder / "01.txt").write_text("A caption.")
    (folder / f"{BROKEN}.mp4").write_bytes((folder / "00.mp4").read_bytes()[:900])
    return folder


def run_chain(videos: str | Place, folder: str, server: str, parts: int = 1) -> None:
    """All commands, those that can be shared in so many parts, one after the other."""
    processes = [(index, parts) for index in range(parts)]
    clips = f"{folder}/clips"
    for process in processes:
        read_corpus("folder", videos, f"{folder}/corpus.parquet", process)
    for process in processes:
        prepare_clips(f"{folder}/corpus.parquet", clips, min_frames=10, min_side=32, process=process, **QUIET)
    for process in processes:
        filter_clips(clips, ["probe", "duplicates"], workers=0, process=process, **QUIET)
    rules = open_place(folder) / "rules.yaml"
    select_clips(clips, 1, rules)
    select_clips(clips, 2, rules)
    for process in processes:
        with ChatClient(Server(server, "omni", attempts=1)) as client:
            annotate_clips(clips, client, process=process, **QUIET)
    for process in processes:
        encode_clips(clips, f"{folder}/shards", FakeEncoders(), stage=2, process=process, **ENCODING, **QUIET)


def logged(write: Callable[..., None], log: Path) -> Callable[..., None]:
    """`write_video` that leaves a line for every clip that is made."""

    def write_and_tell(path, frames, audio):
        write(path, frames, audio)
        with log.open("a") as file:
            file.write(f"{path.stem}\n")

    return write_and_tell


def table_of(folder: str) -> dict[str, list]:
    """The columns with all that does not say where the videos lie, or who answered."""
    table = read_manifest(f"{folder}/clips")
    named = {"source", "prepare.detail", "annotate.server", "probe.detail", "duplicates.detail"}
    return {name: str(table.column(name)) for name in table.names if name not in named}


def texts_of(folder: str) -> dict[str, str]:
    """The texts of the clips, by their names."""
    return {path.name: read_text(path) for path in (open_place(folder) / "clips" / "clips").rglob("*.json")}


def files_of(folder: str) -> dict[str, bytes]:
    """The files of the datasets as they are opened."""
    datasets = find_datasets([f"{folder}/shards"])
    return {f"{place.name}/{path.name}": path.read_bytes() for place in datasets for path in place.iterdir()}
