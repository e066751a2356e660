"""The commands of the pages at full size, with weights that are holes in files: everything but reading and computing.

XLA_FLAGS=--xla_force_host_platform_device_count=32 python -m tests.parallel.full_size FOLDER
"""

import dataclasses
import json
import math
import os
import re
import shlex
import sys
from functools import partial
from pathlib import Path

import jax
import ml_dtypes
import numpy as np
from PIL import Image

from actavatar_jax import functional, parallel
from actavatar_jax.media import Video
from actavatar_jax.models import PRESETS
from actavatar_jax.parallel import make_mesh
from actavatar_jax.planning.sampling import System, Workload
from actavatar_jax.planning.sampling.program import Place, Programs
from actavatar_jax.planning.training import Workload as TrainingWorkload
from actavatar_jax.planning.training import program
from actavatar_jax.prompt.tokenizer import fit_tokenizer
from actavatar_jax.runs import jobs, room, training
from actavatar_jax.runs.settings import read_config
from actavatar_jax.runs.systems import system_of
from actavatar_jax.storage import write_json
from actavatar_jax.weights import COMPONENTS, check_parts, their_shape
from tests.commands import actavatar
from tests.media.sounds import encode, tones

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
WAN = "Wan2.2-TI2V-5B-Diffusers"
FULL = PRESETS["wan22_ti2v_5b"]


def main(folder: Path) -> None:
    write_model(folder / WAN)
    write_others(folder)
    write_files(folder)
    (folder / "configs").symlink_to(ROOT / "configs")
    os.chdir(folder)
    found = [line for page in PAGES for line in commands(page.read_text())]
    for line in found:
        words = shlex.split(line.replace("/shared/", f"{folder}/"))
        command = words.index("sample") if "actavatar sample" in line else 0  # some processes are started by srun
        if command and Path(words[words.index("--model") + 1]).is_dir():
            report(line, sample(words[command + 1 :]))
        elif "--config configs/stage" in line and WAN in line:
            report(line, train(words))


def commands(page: str) -> list[str]:
    """Lines of the page's shell blocks."""
    blocks = re.findall(r"```bash\n(.*?)```", page, re.S)
    return [line.split("  #")[0].strip() for block in blocks for line in block.replace("\\\n", " ").splitlines()]


def write_model(folder: Path) -> None:
    """A plain folder of full size in bfloat16: headers and configs are real, and the numbers are holes."""
    for part, kinds in COMPONENTS.items():
        kind, config = kinds[0], getattr(FULL, part)
        place = folder / part if part != "audio_encoder" else folder.parent / "wav2vec2-base-960h"
        shapes = functional.flatten(functional.abstract(kind.module, config))
        stored = {
            entry.theirs: their_shape(entry, shapes[entry.ours].shape)
            for entry in kind.table(config)
            if not re.fullmatch(kind.may_miss, entry.ours)
        }
        write_holes(place / f"{kind.stem}.safetensors", stored)
        write_json(place / "config.json", kind.to_json(config))
    (folder / "audio_encoder").symlink_to(folder.parent / "wav2vec2-base-960h")
    own = {part: kinds[0] for part, kinds in COMPONENTS.items() if part != "audio_encoder"}
    listed = {part: [kind.library, kind.class_name] for part, kind in own.items()}
    write_json(folder / "model_index.json", {"_class_name": "WanPipeline", "expand_timesteps": True, **listed})
    (folder / "tokenizer").mkdir()
    fit_tokenizer(["A woman speaking. [0-2s] Waves."]).save(folder / "tokenizer")


def write_holes(path: Path, shapes: dict[str, tuple[int, ...]]) -> None:
    """A safetensors file that has a header, and as many bytes as it says, none of which were written."""
    header, end = {}, 0
    for name, shape in shapes.items():
        begin, end = end, end + math.prod(shape) * ml_dtypes.bfloat16.dtype.itemsize
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + end)


def write_others(folder: Path) -> None:
    """The same weights by other names of the pages: what stage 2 leaves, and a model whose text knows time as TIE."""
    (folder / "runs" / "stage2").mkdir(parents=True)
    (folder / "runs" / "stage2" / "model").symlink_to(folder / WAN)
    (folder / "tie" / "transformer").mkdir(parents=True)
    for path in (folder / WAN).iterdir():
        if path.name != "transformer":
            (folder / "tie" / path.name).symlink_to(path)
    kind = COMPONENTS["transformer"][0]
    weights = f"transformer/{kind.stem}.safetensors"
    (folder / "tie" / weights).symlink_to(folder / WAN / weights)
    config = dataclasses.replace(FULL.transformer, phase_time="tie", latent_rate=4.0)
    write_json(folder / "tie" / "transformer" / "config.json", kind.to_json(config))


def write_files(folder: Path) -> None:
    Image.fromarray(np.zeros((704, 1280, 3), np.uint8)).save(folder / "face.png")
    encode(folder / "speech.wav", tones(16000, 5.0, 300), 16000)
    phase = {"start": 0, "end": 2, "action": "Waves."}
    write_json(folder / "prompt.json", {"base": "A woman speaking.", "phases": [phase]})
    job = {"image": "face.png", "audio": "speech.wav", "prompt": "A woman speaking. [0-2s] Waves."}
    (folder / "jobs.jsonl").write_text(json.dumps(job | {"out": "job.mp4"}))


def sample(arguments: list[str]) -> dict:
    """Runs the command up to the weights; there its programs are traced and lowered, at the size that it asks for."""
    seen, forms = {}, set()

    def open_folder(folder, *, dtype, attention, audio_encoder, mesh, quantize, adapter, memory, loras, working):
        check_parts(folder, audio_encoder)
        system = System.of_folder(folder, audio_encoder)

        def make(image, audio, prompt, *, callback, **options):
            work = Workload(system, system.defaults.sampling.changed(**options), dtype, attention, quantize)
            forms.add(work.network("transformer").config.phase_time)
            programs = Programs(work, Place(mesh and mesh_of(mesh)))
            for lower in programs.makers.values():
                for one in lower():
                    one.lower()
                    seen[one.name] = one.part
            return Video(np.zeros((5, 64, 64, 3), np.uint8), np.zeros(3200, np.float32))

        return make

    parallel.join_cluster = lambda: None
    jobs.ActAvatarPipeline.from_pretrained, room.make_mesh = open_folder, mesh_of
    assert actavatar("sample", *arguments) == 0
    Path("job.mp4").unlink(missing_ok=True)  # or the next command would find it finished
    return {"programs": list(seen), "forms": sorted(forms)}


def train(words: list[str]) -> dict:
    """Runs the training up to its step, which is lowered for the mesh that the command asks for."""
    flags = words[words.index("--config") :]
    named = dict(zip(flags[::2], flags[1::2], strict=False))
    overrides = [word for word in flags if word.startswith("--config.")]
    config, seen = read_config(named["--config"], overrides), {}
    seen["adapter"] = Path(config.adapter).name
    config.adapter = ""  # that of stage 1, which is not there
    system = system_of(config)

    def record(settings, network, open_weights, batches, workdir, **_):
        sizes = config.data.batch_size, tuple(config.data.bucket), partial(system.entries, network.config)
        work = TrainingWorkload(network, settings, *sizes, system.STRIDE)
        mesh = mesh_of(config.mesh)
        program.lower(work, mesh)
        names = functional.flatten(functional.abstract(network.module, network.config))
        small = [name for name, leaf in names.items() if leaf.size < 2**16]
        leaves = system.open_weights(config, network, settings, small, None)
        assert set(leaves) == set(small)
        seen.update(mesh=list(mesh.shape.values()), tokens=network.config.tokens(work.grid), read=len(small))

    training.make_mesh = mesh_of
    training.open_data, training.identify_data = (lambda *_: (iter(()), 1000)), (lambda _: {})
    training.train = record
    training.run_training(config, Path(named["--workdir"]))
    return seen


def mesh_of(shape: str) -> jax.sharding.Mesh:
    """Of as many devices as it asks for; where it takes what is left, that is a single one."""
    return make_mesh(shape, jax.devices()[: math.prod(abs(int(size)) for size in shape.split(","))])


def report(line: str, seen: dict) -> None:
    print(json.dumps({"line": line, **seen}), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
