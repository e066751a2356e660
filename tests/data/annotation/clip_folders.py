"""Clip folders to annotate, and what is in them afterwards."""

from actavatar_jax.prompt import StructuredPrompt
from data_pipelines.annotation import ChatClient, Server, annotate_clips
from data_pipelines.table import Clip, Table, read_manifest
from tests.data.fakes import write_clip


def make_folder(root, clips, frames=50):
    """A clip folder of `{id: facts}`; facts None: in the table, but without a file."""
    for seed, (name, facts) in enumerate(clips.items()):
        if facts is not None:
            write_clip(root / "clips" / f"{name}.mp4", frames=frames, height=96, width=64, seed=seed)
    table = Table.from_clips([Clip(name, "test", f"{name}.mp4", facts=facts or {}) for name, facts in clips.items()])
    table.write(root / "manifest.parquet")
    return root


def run(folder, server, *, parallel=4, tokenizer=None, **settings):
    settings = {"backoff": 0.01, "timeout": 5.0, "attempts": 2} | settings
    with ChatClient(Server(server.url, "omni", **settings)) as client:
        return annotate_clips(folder, client, parallel=parallel, tokenizer=tokenizer, progress=False)


def rows(folder):
    return {clip.id: clip.facts for clip in read_manifest(folder)}


def prompt(folder, name):
    """What was seen in a clip."""
    return StructuredPrompt.load(folder / "clips" / f"{name}.actions.json")


def texts(request):
    return [part["text"] for part in request["messages"][1]["content"] if part["type"] == "text"]
