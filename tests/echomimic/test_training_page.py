"""docs/echomimic.md as it stands there, with tiny networks in the place of the published ones: clips to a training."""

import json
import re
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from actavatar_jax.echomimic import EchoMimicEncoders, EchoMimicPipeline, write_transformer
from actavatar_jax.runs import faces, training
from actavatar_jax.runs.settings import read_config as read_settings
from data_pipelines.shards import open_dataset
from tests.commands import actavatar, refused
from tests.data.fakes import write_clip
from tests.echomimic.tiny import picture, pipeline
from tests.media.sounds import encode, tones

ROOT = Path(__file__).resolve().parents[2]
BLOCKS = re.findall(r"```bash\n(.*?)```", (ROOT / "docs" / "echomimic.md").read_text(), re.DOTALL)
ENCODE, TRAIN, PAIRS, LOCAL, _ = (shlex.split(block.replace("\\\n", " ")) for block in BLOCKS)
SMALL = ["--frames", "9", "--buckets", "32x32"]  # said after what the page says, so that it counts instead


@pytest.fixture
def files(tmp_path, monkeypatch, quick_compilation):
    """The current folder has what the page's commands name, but for the published weights."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    made = {variant: pipeline(variant).encoders for variant in ("preview", "flash")}

    def from_files(base, audio_encoder, variant, dtype, find_mouths):
        assert (base, audio_encoder) == (Path("Wan2.1-Fun-V1.1-1.3B-InP"), Path("wav2vec2-base-960h"))
        own = made[variant]
        parts = own.text_encoder, own.image_encoder, own.audio_encoder, own.vae
        return EchoMimicEncoders(own.tokenizer, *parts, variant, own.text_len, find_mouths)

    monkeypatch.setattr(EchoMimicEncoders, "from_files", from_files)
    monkeypatch.setattr(faces, "mouth_finder", lambda models: lambda frames: [(16, 28, 8, 24)] * len(frames))
    for number in range(3):
        write_clip(Path(f"videos/clip{number}.mp4"), frames=20, height=64, width=64, seed=number)
    assert actavatar("prepare", "videos", "clips", "--min-frames", 9, "--min-side", 32, "--workers", 0) == 0
    return made


@pytest.mark.slow
def test_the_page(files, monkeypatch):
    program, *arguments = ENCODE
    assert program == "actavatar" and actavatar(*arguments, *SMALL) == 0
    source = open_dataset(Path("shards/echomimic/32x32x9")).source
    assert len(source) == 6 and source[0]["tasks"].tolist() == [0, 1, 2, 3]

    part = pipeline("preview").transformer
    for folder in ("EchoMimicV3/transformer", "Wan2.1-Fun-V1.1-1.3B-InP"):
        write_transformer(Path(folder), part.config, part.params)
    words = dict(zip(TRAIN[2::2], TRAIN[3::2], strict=False))
    assert TRAIN[:2] == ["python", "launch/train.py"]
    overrides = [word for word in TRAIN if word.startswith("--config.")]
    config = read_settings(words["--config"], [*overrides, "--config.steps=2", "--config.data.batch_size=2"])
    config.model.remat, config.precision, config.log_every = "none", "float32", "1 steps"
    state = training.run_training(config, Path(words["--workdir"]))
    assert int(state.step) == 2 and Path("runs/echomimic/model/config.json").is_file()
    moved = (
        state.weights["blocks"]["self_attn"]["query"]["kernel"] - part.params["blocks"]["self_attn"]["query"]["kernel"]
    )
    assert np.abs(np.asarray(moved)).max() > 0

    monkeypatch.setattr(EchoMimicPipeline, "from_pretrained", lambda *folders, variant, **_: pipeline(variant))
    Image.fromarray(picture(0, 32, 32)).save("face.png")
    encode(Path("speech.wav"), tones(16000, 0.36, 300), 16000)
    job = {"image": "face.png", "audio": "speech.wav", "prompt": "Bad. [0-0.2s] Hands.", "out": "a.mp4"}
    Path("jobs.jsonl").write_text(json.dumps(job | {"steps": 2, "text_guidance": 1.0}) + "\n")
    Path("score.py").write_text(
        "import sys; from actavatar_jax.media import load_video; print(load_video(sys.argv[1]).frames.mean())"
    )
    program, *arguments = [argument.replace("python score.py", f"{sys.executable} score.py") for argument in PAIRS]
    assert program == "actavatar" and actavatar(*arguments, "--seeds", 2) == 0
    config.preference.folder, config.preference.batch_size, config.preference.every = "pairs", 2, 2
    training.run_training(config, Path("runs/preferred"))
    rows = [json.loads(line) for line in Path("runs/preferred/metrics.jsonl").read_text().splitlines()]
    assert rows[1]["preference_loss"] == pytest.approx(np.log(2), abs=0.2)

    config = read_settings(LOCAL[3])
    assert config.model.preset == "tiny" and LOCAL[4:] == ["--workdir", "runs/local_echomimic"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["--system", "wan"], 'no system "wan"; choose one of actavatar, echomimic'),
        (["--variant", "fast"], "variant is 'fast'; accepted is preview or flash"),
        (["--model", "model"], "echomimic has no use for --model"),
        (["--commit"], "Give --base to encode clips, or --commit"),
    ],
)
def test_options_that_do_not_go_together_are_refused(files, changes, message, capsys):
    refused(capsys, message, *ENCODE[1:], *SMALL, *changes)
