"""Public entry points and odd inputs for them: an area yields (what is odd, a call).

A call either returns, or raises InputError with one short sentence; `run` looks that it does.
"""

import io
import json
import tarfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from random import Random

import numpy as np
from PIL import Image

from actavatar_jax import Sampling, StructuredPrompt, functional
from actavatar_jax.chat.completions import Answer, read_completion
from actavatar_jax.chat.servers import Server
from actavatar_jax.diffusion import sample_noise
from actavatar_jax.evaluation.bench import BenchItem, BenchPhase, accept_bench, read_bench
from actavatar_jax.evaluation.bench.judge import read_verdicts
from actavatar_jax.evaluation.bench.making import Plan, read_texts
from actavatar_jax.evaluation.bench.report import read_report
from actavatar_jax.evaluation.bench.review.accepting import item_digest
from actavatar_jax.media import load_audio, load_image, load_sound, load_video, probe, write_video
from actavatar_jax.models import PRESETS
from actavatar_jax.models.avatar import ActAvatarDiT
from actavatar_jax.parallel import make_mesh
from actavatar_jax.planning import topology
from actavatar_jax.prompt.tokenizer import load_tokenizer
from actavatar_jax.puppets.demo import SHIPPED
from actavatar_jax.runs.jobs import read_jobs
from actavatar_jax.runs.resolve import check_names, in_steps, training_settings
from actavatar_jax.runs.sections import check_values
from actavatar_jax.runs.settings import read_config
from actavatar_jax.storage import check_output
from actavatar_jax.weights import find, load_defaults, read_adapter, write_adapter
from actavatar_jax.weights.residence import parse_size
from data_pipelines.annotation.reading import parse_answer
from data_pipelines.corpora import read_corpus
from data_pipelines.selection.ruleset import RuleSet
from data_pipelines.shards import list_shards, open_dataset, parse_buckets
from data_pipelines.table import Table, read_manifest
from data_pipelines.table.journals import Journal, read_rows
from tests.data.corpora.on_disk import touch
from tests.media.sounds import encode, tones
from tests.odd_inputs.made import make_dataset
from tests.odd_inputs.mutations import ODD_VALUES, odd_bytes, odd_json, odd_values

Cases = Iterator[tuple[str, Callable[[], object]]]
COUNT = 90  # cases of an area
ROOT = Path(__file__).resolve().parents[2]
PROMPT = {
    "base": "A man.",
    "phases": [{"start": 0, "end": 1.5, "action": "Waves."}, {"start": 2, "end": 3, "action": "Nods."}],
}
TEXT = "A woman in a red coat. [0-2s] Waves the left arm. [2.5-4s] Nods; smiles: “yes”.\n- [4-5s] Points."


def files(folder: Path, name: str, contents: Iterator[tuple[str, bytes]], call: Callable[[Path], object]) -> Cases:
    """Each content in a file of its own."""
    stem, dot, suffix = name.partition(".")
    for number, (what, content) in enumerate(contents):
        path = folder / f"{stem}{number}{dot}{suffix}"
        path.write_bytes(content)
        yield what, partial(call, path)


def prompts_in_text(folder: Path, rng: Random) -> Cases:
    pieces = [
        "[",
        "]",
        "(",
        ")",
        "-",
        "~",
        "→",
        "0",
        "2",
        "s",
        "秒",
        ":",
        ".",
        "Phase-1",
        "{",
        "}",
        "&amp;",
        "\n",
        " ",
        "a",
        "é",
        "%",
    ]
    for number in range(COUNT):
        text = TEXT[: rng.randrange(len(TEXT))] + "".join(rng.choices(pieces, k=rng.randrange(1, 60))) * rng.choice(
            [1, 1, 1, 300]
        )
        yield f"text {number}", partial(StructuredPrompt.for_clip, text, 5.0)
    for name, text in odd_bytes(TEXT.encode(), rng, COUNT):
        yield name, partial(StructuredPrompt.for_clip, text.decode(errors="surrogateescape"), 5.0)


def prompts_in_documents(folder: Path, rng: Random) -> Cases:
    for name, value in odd_values(PROMPT, rng, COUNT):
        yield name, partial(StructuredPrompt.for_clip, value, 5.0)

    def read(path: Path) -> None:
        StructuredPrompt.for_clip(path, 5.0)

    yield from files(folder, "p.json", odd_json(PROMPT, rng, COUNT), read)
    yaml = (
        b"base: A man.\nphases:\n  - {start: 0, end: 1.5, action: Waves.}\n  - start: 2\n    end: 3\n    action: Nod.\n"
    )
    yield from files(folder, "p.yaml", odd_bytes(yaml, rng, COUNT), read)


def jobs(folder: Path, rng: Random) -> Cases:
    row = {
        "image": "a.png",
        "audio": "a.wav",
        "prompt": PROMPT,
        "out": "x.mp4",
        "steps": 4,
        "guidance_interval": [0.1, 0.9],
    }
    lines = [json.dumps(row | {"out": f"{number}.mp4"}).encode() for number in range(3)]
    read = partial(read_jobs, shared={})
    yield from files(folder, "j.jsonl", odd_json(row, rng, COUNT), read)
    yield from files(folder, "k.jsonl", odd_bytes(b"\n".join(lines), rng, COUNT), read)


def sampling(folder: Path, rng: Random) -> Cases:
    options = vars(Sampling(num_frames=9, height=64, width=64))
    for _ in range(COUNT):
        name, value = rng.choice(list(options)), rng.choice(ODD_VALUES)
        yield f"{name} {value!r:.40}", partial(lambda name, value: Sampling().changed(**{name: value}), name, value)


def seeds(folder: Path, rng: Random) -> Cases:
    for _ in range(COUNT):
        seed = rng.choice(
            [rng.randrange(2**70), -rng.randrange(2**40), 2**64 - 1 - rng.randrange(9), rng.choice(ODD_VALUES)]
        )
        yield f"{seed!r:.40}", partial(_draw, seed)


def _draw(seed: object) -> None:
    noise = sample_noise(Sampling(seed=seed).seed, np.arange(1), (1, 1, 2))
    assert np.isfinite(np.asarray(noise)).all()


def pictures(folder: Path, rng: Random) -> Cases:
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (48, 40, 3), np.uint8))
    for form in ("png", "jpeg", "webp", "gif", "tiff", "bmp"):
        whole = io.BytesIO()
        picture.save(whole, form)
        yield from files(folder, f"a.{form}", odd_bytes(whole.getvalue(), rng, COUNT // 4), load_image)


def sounds(folder: Path, rng: Random) -> Cases:
    for suffix, codec, form in (("wav", "pcm_s16le", "s16"), ("flac", "flac", "s16"), ("m4a", "aac", "fltp")):
        whole = encode(folder / f"whole.{suffix}", tones(16000, 0.6, 300), 16000, codec, form).read_bytes()
        yield from files(folder, f"a.{suffix}", odd_bytes(whole, rng, COUNT // 3), load_audio)
        yield from files(folder, f"b.{suffix}", odd_bytes(whole, rng, COUNT // 6), partial(load_sound, num_frames=9))


def videos(folder: Path, rng: Random) -> Cases:
    frames = np.random.default_rng(0).integers(0, 256, (9, 48, 64, 3), np.uint8)
    write_video(folder / "whole.mp4", frames, tones(16000, 0.36, 300)[0])
    whole = (folder / "whole.mp4").read_bytes()
    yield from files(folder, "a.mp4", odd_bytes(whole, rng, COUNT // 2), load_video)
    yield from files(folder, "b.mkv", odd_bytes(whole, rng, COUNT // 2), probe)


def outputs(folder: Path, rng: Random) -> Cases:
    (folder / "file").touch()
    for _ in range(COUNT):
        parts = rng.choices(
            ["a", "..", ".", "file", "x" * 300, "é\u202e", "12:30", "~", "*", " ", "con", "\ud83d"], k=3
        )
        yield "/".join(parts)[:60], partial(check_output, folder.joinpath(*parts, f"x{rng.randrange(9)}.mp4"))


def model_indices(folder: Path, rng: Random) -> Cases:
    whole = json.loads((SHIPPED / "model_index.json").read_text())
    for number, (what, content) in enumerate(odd_json(whole, rng, COUNT)):
        place = folder / f"m{number}"
        place.mkdir()
        (place / "model_index.json").write_bytes(content)
        yield what, partial(load_defaults, place)


def part_configs(folder: Path, rng: Random) -> Cases:
    for part in ("transformer", "vae", "text_encoder", "audio_encoder"):
        whole = json.loads((SHIPPED / part / "config.json").read_text())
        for number, (what, content) in enumerate(odd_json(whole, rng, COUNT // 3)):
            place = folder / f"m{number}" / part
            place.mkdir(parents=True)
            for file in (SHIPPED / part).glob("*.safetensors*"):
                (place / file.name).symlink_to(file)
            (place / "config.json").write_bytes(content)
            yield f"{part} {what}", partial(find, place.parent, part)


def weights(folder: Path, rng: Random) -> Cases:
    part = "audio_encoder"
    [file] = (SHIPPED / part).glob("*.safetensors")
    whole = file.read_bytes()
    size = int.from_bytes(whole[:8], "little")
    header = json.loads(whole[8 : 8 + size])
    contents = [
        (what, len(text).to_bytes(8, "little") + text + whole[8 + size :])
        for what, text in odd_json(header, rng, COUNT)
    ]
    contents += [(what, start + whole[200:]) for what, start in odd_bytes(whole[:200], rng, COUNT // 2)]
    for number, (what, content) in enumerate(contents):
        place = folder / f"m{number}" / part
        place.mkdir(parents=True)
        (place / "config.json").symlink_to(SHIPPED / part / "config.json")
        (place / file.name).write_bytes(content)
        yield what, partial(find, place.parent, part)


def tokenizers(folder: Path, rng: Random) -> Cases:
    whole = (SHIPPED / "tokenizer" / "tokenizer.json").read_bytes()
    contents = [*odd_json(json.loads(whole), rng, COUNT // 2), *odd_bytes(whole, rng, COUNT // 2)]
    for number, (what, content) in enumerate(contents):
        place = folder / f"t{number}"
        place.mkdir()
        for file in (SHIPPED / "tokenizer").iterdir():
            (place / file.name).write_bytes(content if file.name == "tokenizer.json" else file.read_bytes())
        yield what, partial(load_tokenizer, place)


def adapters(folder: Path, rng: Random) -> Cases:
    config = PRESETS["tiny"].transformer
    shapes = functional.abstract(ActAvatarDiT, config)
    zeros = {name: np.zeros(leaf.shape, np.float32) for name, leaf in functional.flatten(shapes).items()}
    write_adapter(folder / "whole.safetensors", functional.unflatten(zeros), config, base="b", step=1, settings={})
    whole = (folder / "whole.safetensors").read_bytes()
    contents = [(what, start + whole[3000:]) for what, start in odd_bytes(whole[:3000], rng, COUNT)]
    yield from files(folder, "a.safetensors", iter(contents), partial(read_adapter, config=config))


def training_configs(folder: Path, rng: Random) -> Cases:
    config = read_config(str(ROOT / "configs" / "stage2.py"))
    for what, values in odd_values(json.loads(config.to_json_best_effort()), rng, 2 * COUNT):
        yield what, partial(_settle, config.copy_and_resolve_references(), values)


def _settle(config, values: object) -> None:
    """As the command line sets them: settings of a name that is there."""
    changed = 0
    for name, value in values.items() if isinstance(values, dict) else ():
        if name in config and config[name] != value and not isinstance(value, dict):
            with config.ignore_type():
                config[name] = value
            changed += 1
        elif name in config and isinstance(value, dict) and hasattr(config[name], "keys"):
            for inner, one in value.items():
                if inner in config[name] and config[name][inner] != one:
                    with config.ignore_type():
                        config[name][inner] = one
    check_names(config)
    check_values(config)
    training_settings(in_steps(config, 1000))


def machines(folder: Path, rng: Random) -> Cases:
    letters = "v5eph1200:x,-48GMib tpu"
    for whole, call in (
        ("2xv5p:2x2x2", topology.parse),
        ("1,2,4", make_mesh),
        ("24GB", parse_size),
        ("704x1280,64x64", partial(parse_buckets, frames=9)),
    ):
        for _ in range(COUNT // 3):
            text = list(whole)
            for _ in range(rng.randrange(1, 4)):
                text[rng.randrange(len(text))] = rng.choice([*letters, "", "9" * 30, "é"])
            yield f"{call} {''.join(text)}"[-60:], partial(call, "".join(text))


def corpora(folder: Path, rng: Random) -> Cases:
    record = {
        "video_name": "a_b-c_d_e-f_9x9_full_video", "start_seconds": 1.5, "end_seconds": 3.5, "speaker": ["B"],
        "bbox": [0.1, 0.1, 0.9, 0.9], "raw_video_width": 640, "raw_video_height": 480, "clip_video_width": 64,
        "clip_video_height": 48,
    }  # fmt: skip
    name = "a_b-c_d_e-f_9x9_full_video_001_A_00"
    for number, (what, content) in enumerate(odd_json(record, rng, COUNT // 2)):
        src = folder / f"s{number}"
        touch(src / "videos" / "a_b-c_d_e-f.mp4")
        (src / "merged_anno").mkdir(parents=True)
        (src / "merged_anno" / f"{name}.json").write_bytes(content)
        yield what, partial(read_corpus, "speakervid", src, src / "t.parquet")
    rows = b'clips/part_001/aa/05/aa,aa,A man.,1.5\r\nclips/part_001/ab/05/ab,ab,"A, b",2\r\n'
    table = b"path,clip_id,caption,aesthetic\r\n" + rows
    for number, (what, content) in enumerate(odd_bytes(table, rng, COUNT // 2)):
        src = folder / f"o{number}"
        touch(src / "part_001" / "aa" / "05" / "aa.mp4")
        (src / "OpenHumanVid_part_001.csv").write_bytes(content)
        yield what, partial(read_corpus, "openhumanvid", src, src / "t.parquet")


def archives(folder: Path, rng: Random) -> Cases:
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w") as archive:
        for number in range(4):
            for suffix, content in ((".mp4", b"video" * 200), (".json", json.dumps(PROMPT).encode())):
                info = tarfile.TarInfo(f"{number}{suffix}")
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    for number, (what, content) in enumerate(odd_bytes(whole.getvalue(), rng, COUNT)):
        src = folder / f"w{number}"
        src.mkdir()
        (src / "0.tar").write_bytes(content)
        yield what, partial(read_corpus, "webdataset", src, folder / f"w{number}-t" / "t.parquet")


def tables(folder: Path, rng: Random) -> Cases:
    touch(folder / "src" / "a.mp4", folder / "src" / "b.mp4")
    read_corpus("folder", folder / "src", folder / "t.parquet")
    whole = (folder / "t.parquet").read_bytes()
    yield from files(folder, "a.parquet", odd_bytes(whole, rng, COUNT // 2), Table.read)
    for number, (what, content) in enumerate(odd_bytes(whole, rng, COUNT // 2)):
        (folder / f"c{number}").mkdir()
        (folder / f"c{number}" / "manifest.parquet").write_bytes(content)
        yield what, partial(read_manifest, folder / f"c{number}")


def journals(folder: Path, rng: Random) -> Cases:
    row = {"id": "a", "row": {"shots.cuts": 0, "shots.length": 2.5}, "version": "1"}
    lines = b"".join(json.dumps(row | {"id": str(number)}).encode() + b"\n" for number in range(5))
    contents = [
        *odd_bytes(lines, rng, COUNT // 2),
        *((what, text + b"\n" + lines) for what, text in odd_json(row, rng, COUNT // 2)),
    ]
    for number, (what, content) in enumerate(contents):
        place = folder / f"j{number}"
        path = Journal(place, 0).path()
        place.mkdir(parents=True)
        path.write_bytes(content)
        yield what, lambda place=place: list(read_rows([place]))


def answers(folder: Path, rng: Random) -> Cases:
    draft = {"base": "A man.", "phases": [{"start": 0, "end": 1, "action": "Waves.", "sure": 0.9}], "confidence": 0.8}
    completion = {
        "choices": [{"message": {"content": json.dumps(draft)}, "finish_reason": "stop"}],
        "model": "m",
        "usage": {},
    }
    for what, content in odd_json(completion, rng, COUNT):
        yield what, partial(read_completion, content)
    for what, content in odd_json(draft, rng, COUNT):
        answer = Answer(content.decode(errors="replace"), "stop", "m", None)
        yield what, partial(parse_answer, answer)


def benches(folder: Path, rng: Random) -> Cases:
    row = {"id": "a", "image": "a.png", "audio": "a.wav", "duration": 5.0, "fps": 25, "seed": 3, **PROMPT}
    lines = [json.dumps(row | {"id": name}).encode() for name in "abc"]
    yield from files(folder, "b.jsonl", odd_json(row, rng, COUNT), read_bench)
    yield from files(folder, "c.jsonl", odd_bytes(b"\n".join(lines), rng, COUNT), read_bench)
    phases = tuple(BenchPhase(phase["start"], phase["end"], phase["action"]) for phase in PROMPT["phases"])
    item = BenchItem("a", folder / "a.png", folder / "a.wav", "A man.", phases)
    seen = {"observed": "Waves.", "observed_start": 0.2, "observed_end": 2.9, "ao": 1, "aa": 8, "tc": 7, "aq": 6}
    for what, content in odd_json({"phases": [seen | {"hc": None}, seen | {"hc": 5}]}, rng, COUNT):
        yield f"verdicts {what}", partial(read_verdicts, content.decode(errors="replace"), item)
    plan = Plan(0, folder / "a.png", "pointing", "en", ((0.5, 2.0), (2.0, 4.0)))
    actions = [{"action": f"She points {where} with one hand.", "body_part": "hands"} for where in ("up", "down")]
    texts = {"base": "A woman speaks in an office.", "transcript": "Good morning.", "actions": actions}
    for what, content in odd_json(texts, rng, COUNT):
        yield f"texts {what}", partial(read_texts, content.decode(errors="replace"), plan)
    (folder / "draft.jsonl").write_bytes(lines[0])
    [drafted] = read_bench(folder / "draft.jsonl")
    verdict = {"id": "a", "digest": item_digest(drafted), "verdict": "accepted", "base": "A man.", "actions": ["Nods."]}
    verdict["actions"] *= len(drafted.phases)
    yield from files(folder, "review.json", odd_json({"items": [verdict]}, rng, COUNT), partial(accept_bench, folder))
    for what, content in odd_json({"results": "a", "bench": {"digest": "b"}, "metrics": {}, "clips": []}, rng, COUNT):
        place = folder / f"report{rng.random()}"
        place.mkdir()
        (place / "report.json").write_bytes(content)
        yield f"report {what}", partial(read_report, place)


def servers(folder: Path, rng: Random) -> Cases:
    whole = "https://name:secret@example.org:8000/v1?x=1"
    for what, text in odd_bytes(whole.encode(), rng, COUNT):
        yield what, partial(_check_secret, text.decode(errors="replace"))


def _check_secret(url: str) -> None:
    server = Server(url, "m", key="top\nsecret")
    assert "secret" not in repr(server) and "secret" not in str(server)


def rule_sets(folder: Path, rng: Random) -> Cases:
    rules = {
        "duplicates": ["quality.score"],
        "rules": [
            {"column": "shots.cuts", "test": "==", "value": 0, "kind": "hard", "reason": "cut"},
            {"column": "sync.offset", "test": "within", "value": [-3, 3], "kind": "soft", "reason": "late"},
        ],
    }
    yield from files(folder, "r.yaml", odd_json(rules, rng, COUNT), RuleSet.load)


def shards(folder: Path, rng: Random) -> Cases:
    whole = make_dataset(folder / "whole")
    for name in sorted(path.name for path in whole.glob("*.json")):
        value = json.loads((whole / name).read_text())
        for number, (what, content) in enumerate(odd_json(value, rng, COUNT // 3)):
            yield f"{name} {what}", partial(_open_copy, whole, folder / f"{name}{number}", name, content)
    [shard, *_] = list_shards(whole)
    for number, (what, content) in enumerate(odd_bytes(shard.read_bytes(), rng, COUNT // 2)):
        yield f"shard {what}", partial(_open_copy, whole, folder / f"s{number}", shard.name, content)


def _open_copy(whole: Path, copy: Path, name: str, content: bytes) -> None:
    copy.mkdir()
    for file in whole.iterdir():
        (copy / file.name).write_bytes(content if file.name == name else file.read_bytes())
    dataset = open_dataset(copy)
    for number in range(len(dataset.source)):
        dataset.source[number]


AREAS = (
    prompts_in_text, prompts_in_documents, jobs, sampling, seeds, pictures, sounds, videos, outputs, model_indices,
    part_configs, weights, tokenizers, adapters, training_configs, machines, corpora, archives, tables, journals,
    answers, benches, servers, rule_sets, shards,
)  # fmt: skip
