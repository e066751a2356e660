"""The example of docs/today.md, as it stands there, with tiny networks in the place of the published ones."""

import re
import shlex
from pathlib import Path

import pytest
from PIL import Image

from actavatar_jax.echomimic import EchoMimicPipeline
from actavatar_jax.media import load_video
from tests.commands import actavatar
from tests.echomimic.tiny import picture, pipeline
from tests.media.sounds import encode, tones

BOX = "30,44,10,24"  # the page's are those of a larger portrait
PAGE = Path(__file__).resolve().parents[2] / "docs" / "today.md"


@pytest.mark.slow
def test_the_example_of_the_page(tmp_path, monkeypatch, quick_compilation):
    asked = {}

    def from_pretrained(transformer, base, audio_encoder, **options):
        asked.update(options, folders=(transformer, base, audio_encoder))
        return pipeline(options["variant"])

    monkeypatch.setattr(EchoMimicPipeline, "from_pretrained", from_pretrained)
    monkeypatch.chdir(tmp_path)
    Image.fromarray(picture(0)).save("face.png")
    encode(Path("speech.wav"), tones(16000, 1, 300), 16000)
    section = PAGE.read_text().partition("## EchoMimicV3")[2]
    exec(re.search(r"```python\n(.*?)```", section, re.DOTALL)[1], {})
    assert all(folder in section.partition("```python")[0] for folder in map(str, asked["folders"]))
    assert len(load_video("talk.mp4").frames) == 25

    commands = re.search(r"```bash\n(.*?)```", section, re.DOTALL)[1].replace("\\\n", " ").splitlines()
    assert len(commands) == 2
    for command in commands:
        program, *arguments = shlex.split(command.replace("380,460,200,310", BOX).replace("170,500,140,370", BOX))
        assert program == "actavatar" and actavatar(*arguments, "--steps", 2) == 0
    assert len(load_video("dubbed.mp4").frames) == 25
