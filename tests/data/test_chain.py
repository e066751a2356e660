"""From a corpus of drawn clips to training batches, by the commands a user types; no media are needed for it."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from actavatar_jax.encoders import Encoders, stored_fingerprint
from actavatar_jax.media import load_video, psnr, write_video
from actavatar_jax.models import PRESETS, PatchCodecConfig
from actavatar_jax.prompt import Phase, StructuredPrompt
from actavatar_jax.puppets.world.clips import World, make_clip, write_clip
from actavatar_jax.runs.small_world import make_model
from data_pipelines.clips import prepare_clips
from data_pipelines.loading import make_loader
from data_pipelines.table import read_manifest
from tests.commands import actavatar
from tests.data.chat_server import GOOD, ChatServer, says_json

for package in ("espeakng_loader", "imagehash", "scenedetect", "httpx2"):
    pytest.importorskip(package)

pytestmark = pytest.mark.slow

WORLD = World(side=64, frames=75, languages=("en",))
FRAMES = 33  # of a window; two fit into a clip
CHOSEN = ["other", "told", "untold"]
TOLD = StructuredPrompt.parse("A puppet explains something. [0-1s] Points down. [1.5-2.5s] Waves with the left hand.")
DESCRIBED = StructuredPrompt(GOOD["base"], tuple(Phase(p["start"], p["end"], p["action"]) for p in GOOD["phases"]))
FILTERS = "probe,voice,duplicates,shots,quality"
RULES = {
    1: """
rules:
  - {column: probe.seconds, test: ">=", value: 2, kind: hard, reason: shorter than 2 s}
  - {column: voice.fraction, test: ">=", value: 0.4, kind: hard, reason: little speech}
  - {column: shots.cuts, test: "<=", value: 0, kind: hard, reason: a cut inside}
duplicates: [prepare.height]
""",
    2: """
rules:
  - {column: stage1, test: "==", value: true, kind: hard, reason: not selected for stage 1}
""",
}


@pytest.fixture(scope="module")
def puppets():
    clips = {"told": make_clip(1, WORLD, prompt=TOLD), "untold": make_clip(2, WORLD), "other": make_clip(3, WORLD)}
    assert sorted(clips) == CHOSEN
    return clips


@pytest.fixture(scope="module")
def corpus(puppets, tmp_path_factory):
    """Three puppets, one with its prompt, and beside them whatever is to be left out."""
    folder = tmp_path_factory.mktemp("corpus")
    for name, clip in puppets.items():
        write_clip(folder / f"{name}.mp4", clip)
        if name != "told":
            (folder / f"{name}.json").unlink()
    one, other = puppets["told"], puppets["other"]
    small = load_video(folder / "untold.mp4", size=(48, 48))
    write_video(folder / "smaller_copy.mp4", small.frames, small.audio)
    write_video(folder / "film.mp4", np.concatenate([one.frames[:40], other.frames[:35]]), one.audio)
    noise = 0.1 * np.random.default_rng(0).standard_normal(len(one.audio))
    write_video(folder / "hissing.mp4", other.frames, noise.astype(np.float32))
    write_video(folder / "silent.mp4", one.frames, None)
    write_video(folder / "short.mp4", one.frames[:30], one.audio[: 30 * 640])
    (folder / "broken.mp4").write_bytes((folder / "told.mp4").read_bytes()[:900])
    (folder / "lost.txt").write_text("A caption without a clip.")
    return folder


@pytest.fixture(scope="module")
def chain(corpus, puppets, tmp_path_factory, quick_compilation):
    """The folder in which all commands have run, and what was asked of the annotator."""
    folder = tmp_path_factory.mktemp("chain")
    clips, model, shards = folder / "clips", folder / "model", folder / "shards"
    run("corpus", "folder", corpus, folder / "corpus.parquet")
    small = ("--min-side", 48, "--min-frames", 25)
    run("prepare", folder / "corpus.parquet", clips, *small, "--workers", 0, code=2)  # as one is broken
    run("filter", clips, "--steps", FILTERS, "--workers", 0)
    for stage, rules in RULES.items():
        (folder / f"{stage}.yaml").write_text(rules)
        run("select", clips, "--stage", stage, "--rules", folder / f"{stage}.yaml")
    with ChatServer(lambda *_: says_json()) as server:
        run("annotate", clips, "--server", server.url, "--model", "omni")
    drawn, words = [clip.frames for clip in puppets.values()], [TOLD.render(), DESCRIBED.render()] * 4
    codec = PatchCodecConfig(channels=8, patch=8)  # patches of half the usual side are fitted in a moment
    make_model(model, drawn, words, preset=PRESETS["tiny"], codec=codec, size=(64, 64), num_frames=FRAMES)
    encoding = ("--model", model, "--stage", 2, "--frames", FRAMES, "--buckets", "64x64")
    for part in ("0/2", "1/2"):
        run("encode", clips, shards, *encoding, "--process", part)
    run("encode", clips, shards, "--commit")  # which the last part has done already
    return folder, server.requests


def run(*command, code=0):
    assert actavatar(*command) == code, command


def by_name(clips, column):
    """The column by the names that the clips had in the corpus."""
    table = read_manifest(clips)
    names = (clip_id.rpartition("-")[0] for clip_id in table.column("id"))
    return dict(zip(names, table.column(column), strict=True))


def test_every_clip_is_chosen_or_has_one_reason(chain):
    folder, _ = chain
    reported = json.loads((folder / "corpus.report.json").read_text())
    assert reported["counts"] == {"made": 9, "skipped: no clip": 1}
    assert by_name(folder / "clips", "prepare.error") == dict.fromkeys(
        [*CHOSEN, "smaller_copy", "film", "hissing", "short"]
    ) | {"broken": "unreadable", "silent": "no audio stream"}
    assert by_name(folder / "clips", "stage1.reason") == dict.fromkeys(CHOSEN) | {
        "smaller_copy": "duplicate",
        "film": "a cut inside",
        "hissing": "little speech",
        "short": "shorter than 2 s",
        "broken": "not prepared",
        "silent": "not prepared",
    }


def test_every_chosen_clip_is_encoded(chain):
    folder, _ = chain
    assert json.loads((folder / "shards" / "report.json").read_text())["counts"] == {"made": len(CHOSEN)}


def test_only_clips_without_a_prompt_are_described(chain):
    folder, requests = chain
    assert len(requests) == 2
    assert by_name(folder / "clips", "annotate.answers") == dict.fromkeys(by_name(folder / "clips", "id")) | {
        "untold": 1,
        "other": 1,
    }


def windows_of(puppets):
    """All drawn windows, by puppet and first frame."""
    return {(name, start): puppets[name].frames[start : start + FRAMES] for name in CHOSEN for start in (0, FRAMES)}


def test_batches_hold_the_windows_of_the_chosen_clips(chain, puppets):
    """Pictures decode to what was drawn, and actions are timed from the start of their window."""
    folder, _ = chain
    everything = {"text_drop": 0.0, "audio_drop": 0.0, "both_drop": 0.0, "shuffle": False, "repeat": False}
    fingerprint = stored_fingerprint(folder / "model")
    loader = make_loader(folder / "shards", batch_size=2, seed=0, text_len=96, fingerprint=fingerprint, **everything)
    encoders = Encoders.from_folder(folder / "model")
    in_shards = [*CHOSEN[0::2], *CHOSEN[1::2]]  # each part wrote its own
    for batch, name in zip(loader, in_shards, strict=True):  # two windows of each clip
        prompt = TOLD if name == "told" else DESCRIBED
        for row, start in enumerate((0, FRAMES)):
            seen = encoders.decode(batch["latents"][row])
            assert max(windows_of(puppets), key=lambda place: psnr(seen, windows_of(puppets)[place])) == (name, start)
            windows = prompt.window(start / 25, (start + FRAMES) / 25).windows()
            np.testing.assert_allclose(batch["phase_windows"][row], windows, atol=1e-6)
        assert batch["phase_windows"].any((1, 2)).all()


def test_pages_show_clips_and_shards(chain):
    folder, _ = chain
    for name in ("clips", "shards"):
        run("data", "inspect", folder / name, "--out", folder / f"{name}.html")
        page = (folder / f"{name}.html").read_text()
        assert all(f"{clip}-" in page for clip in CHOSEN)


def test_nothing_is_done_twice(chain):
    folder, _ = chain
    before = {path: path.stat().st_mtime_ns for path in (folder / "clips" / "clips").glob("??/*")}
    report = prepare_clips(folder / "corpus.parquet", folder / "clips", min_side=48, min_frames=25, progress=False)
    assert report.counts()["kept"] == 7
    assert {path: path.stat().st_mtime_ns for path in (folder / "clips" / "clips").glob("??/*")} == before


def test_killed_at_random_moments_it_ends_with_the_same_shards(tmp_path):
    """See kill_chain.py."""
    command = [sys.executable, "-m", "tests.data.kill_chain", str(tmp_path), "--kills", "4"]
    ended = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stderr
    assert "4 kills: the shards are those of the undisturbed chain" in ended.stdout
