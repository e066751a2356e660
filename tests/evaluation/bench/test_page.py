"""A folder of videos as docs/evaluation.md has it, on drawn talkers and small networks with random weights."""

import dataclasses
import json
import re
import shlex
import shutil
import sys
import types
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from PIL import Image

for package in ("cv2", "jinja2", "onnxruntime"):
    pytest.importorskip(package)
onnx, torch = pytest.importorskip("onnx"), pytest.importorskip("torch")

from actavatar_jax.evaluation.bench import CONTROLS, METRICS  # noqa: E402
from actavatar_jax.evaluation.bench.judge.verdicts import PhaseVerdict  # noqa: E402
from actavatar_jax.evaluation.published import PUBLISHED  # noqa: E402
from actavatar_jax.media import load_video  # noqa: E402
from data_pipelines.table import shelved  # noqa: E402
from tests.commands import actavatar, refused  # noqa: E402
from tests.data import tiny_models  # noqa: E402
from tests.data.chat_server import ChatServer  # noqa: E402
from tests.data.filters.test_voice_and_sync import talker  # noqa: E402
from tests.evaluation import small_landmarks, small_networks  # noqa: E402
from tests.evaluation.bench.test_judge import good  # noqa: E402
from tests.evaluation.test_identity import save_network  # noqa: E402

pytestmark = pytest.mark.usefixtures("quick_compilation")
PAGE = (Path(__file__).resolve().parents[3] / "docs" / "evaluation.md").read_text()
SECTION = PAGE.partition("## A folder of videos")[2].partition("## Lip synchrony")[0]
FRAMES = 60
NONE = {"fvd": {"fvd_125": 0}, "dynamics": {"dynamics_silent": 0}}  # clips are too short; nobody is silent


@pytest.fixture
def files(tmp_path, monkeypatch):
    """What the commands name, in the current folder: two videos of the three that the bench asks for."""
    monkeypatch.chdir(tmp_path)
    row, other = [json.loads(code) for code in re.findall(r"```json\n(.*?)```", SECTION, re.S)]
    Path("iqa.json").write_text(json.dumps(other | {"scores": {"early": 0.71}}))
    row |= {"duration": FRAMES / 25, "phases": [{"start": 0.5, "end": 2.0, "action": "She nods.", "body_part": "head"}]}
    Path("bench.jsonl").write_text("".join(json.dumps(row | {"id": name}) + "\n" for name in ("early", "late", "none")))
    for folder in ("results", "real"):
        Path(folder).mkdir()
        for name, late in (("early", -2), ("late", 3)):
            talker(tmp_path, late, frames=FRAMES)
            shutil.move(shelved(Path("clips"), "talk", ".mp4"), f"{folder}/{name}.mp4")
    face = np.zeros((224, 256, 3), np.uint8)
    face[64:160, 64:160] = 230, 40, 40
    Image.fromarray(face).save("anna.png")


@pytest.fixture
def weights(files, monkeypatch):
    """The networks of the table, narrow and with random weights, under the agreed names."""
    folder = Path("models")
    folder.mkdir()
    small_networks.use(monkeypatch, folder)
    for name, parts in small_networks.PARTS.items():
        for written, agreed in zip(parts, PUBLISHED[name].files, strict=True):
            (folder / written).rename(folder / agreed)
    tiny_models.face(folder / "face.onnx")
    tiny_models.syncnet(folder / "syncnet_v2.model")
    save_network(onnx, folder / "w600k_r50.onnx", 112)
    tiny_models.person(folder / "person.onnx")
    small_landmarks.pose(folder / "pose.onnx")


def commands():
    return [shlex.split(code.replace("\\\n", " "))[1:] for code in re.findall(r"```bash\n(.*?)```", SECTION, re.S)]


@pytest.mark.slow
def test_the_command_measures_by_all_networks(weights, capsys):
    assert actavatar("models", "check", "models") == 0
    metrics = capsys.readouterr().out.partition("metrics\n")[2].splitlines()
    assert [line.split()[-1] for line in metrics] == ["ready"] * 6
    assert actavatar(*commands()[0]) == 0
    told = json.loads(Path("report/report.json").read_text())
    missing = {name: metric["reason"] for name, metric in told["metrics"].items() if not metric["available"]}
    assert set(missing) <= {"ssim"} and all("it needs dm-pix" in reason for reason in missing.values())
    for name, metric in told["metrics"].items():
        if metric["available"]:
            assert metric["backbone"] and metric["coverage"] == pytest.approx(2 / 3), name
            assert metric["not_scored"] == {"missing": 1}
            counts = {column: figure["clips"] for column, figure in metric["figures"].items()}
            assert counts == dict.fromkeys(counts, 2) | NONE.get(name, {}), name
    early, late, _ = told["clips"]
    assert (early["scores"]["sync_offset"], late["scores"]["sync_offset"]) == (2, -3)
    assert early["scores"]["csim_coverage"] == 1 and early["scores"]["csim"] > 0.9
    opened = small_landmarks.OPEN - small_landmarks.CLOSED
    two_states = [opened * np.sqrt(n * (FRAMES - n)) / FRAMES for n in range(1, FRAMES)]  # open in n frames
    assert np.abs(np.array(two_states) - early["scores"]["dynamics_lips"]).min() < 1e-5
    assert early["scores"]["dynamics_head"] == 0 and early["scores"]["dynamics_coverage"] == 1
    assert told["metrics"]["fid"]["samples"] == {"fid": [120, 120]}
    assert told["metrics"]["fvd"]["samples"] == {"fvd_16": [6, 6]}
    assert told["metrics"]["sync"]["coverage_at"] == {"minimum track 50": 2 / 3, "minimum track 100": 0}
    assert told["metrics"]["fid"]["resize"].startswith("clean, ")
    assert set(told["metrics"]["lpips"]["weights"]) == {"alexnet-owt-7be5be79.pth", "alex.pth"}
    out, page = capsys.readouterr().out, Path("report/report.html").read_text()
    assert "FID: " in out and "FVD, windows of 125 frames: none | 0 of 3 clips" in out and len(page) > 10_000
    for text in (out, page):
        assert "fvd: FVD, windows of 125 frames: no clip has so many" in text
        assert "sync: clips that are scored: 67% at minimum track 50, 0% at minimum track 100" in text
    lips = ["--weights", "models", "--metrics", "sync", "--out", "controls"]
    assert actavatar("evaluate", "controls", "results", "--bench", "bench.jsonl", *lips) == 0
    lines = {line.split("  ")[0]: line for line in capsys.readouterr().out.splitlines()}
    assert all(lines[name].endswith("as it should") for name in ("silent", "late"))


class OneAlign:
    """In the place of Q-Align: how bright frames are, on its scale."""

    asked: ClassVar = []

    @classmethod
    def from_pretrained(cls, name, **options):
        assert name == "q-future/one-align" and options["trust_remote_code"]
        return cls()

    def score(self, given, task_, input_):
        self.asked.append((task_, input_, len(given)))
        videos = given if input_ == "video" else [[frame] for frame in given]
        return torch.tensor([1 + 4 * np.mean([np.asarray(frame) / 255 for frame in video]) for video in videos])


def test_other_programs_are_given_what_they_need_and_what_they_find_is_taken(files, monkeypatch, capsys):
    _, _, export, external, vbench, *_ = commands()
    assert actavatar(*export) == 0
    assert capsys.readouterr().out == "2 clips in export; left out: 1 missing\n"
    assert sorted(file.name for file in Path("export/videos").iterdir()) == ["early.mp4", "late.mp4"]
    prompts = json.loads(Path("export/prompts.json").read_text())
    assert prompts["early.mp4"] == "A woman in a bright office speaks to the camera. She nods."
    clips = json.loads(Path("export/clips.json").read_text())
    assert [clip["id"] for clip in clips] == ["early", "late"] and clips[0]["prompt"] == prompts["early.mp4"]
    assert clips[1]["frames"] == [f"frames/late/00{second}.png" for second in range(3)]  # of 60 frames: 0, 25, 50
    kept = np.asarray(Image.open("export/frames/late/002.png"))
    np.testing.assert_array_equal(kept, load_video("results/late.mp4").frames[50])

    monkeypatch.setitem(sys.modules, "transformers", types.SimpleNamespace(AutoModelForCausalLM=OneAlign))
    (script,) = re.findall(r"```python\n(.*?)```", SECTION, re.S)
    exec(script, {})
    assert set(OneAlign.asked) == {
        (t, k, n) for t in ("quality", "aesthetics") for k, n in (("video", 1), ("image", 3))
    }
    videos = [
        {"video_path": "export/videos/early.mp4", "video_results": 0.9, "more": 1},
        {"video_path": "export/videos/late.mp4", "video_results": True},
    ]
    Path("evaluation_results").mkdir()
    found = {"motion_smoothness": [0.95, videos], "dynamic_degree": [0.5, videos[1:]]}
    Path("evaluation_results/results_eval_results.json").write_text(json.dumps(found))
    assert actavatar(*vbench) == 0
    files = [
        "iqa.json",
        "ase_frames.json",
        "external/vbench_motion_smoothness.json",
        "external/vbench_dynamic_degree.json",
    ]
    assert actavatar(*external[:-1], files[0], *(part for file in files[1:] for part in ("--external", file))) == 0
    told = json.loads(Path("report/report.json").read_text())
    assert told["clips"][0]["scores"]["iqa"] == pytest.approx(told["clips"][0]["scores"]["ase_frames"], abs=1e-6)
    assert told["metrics"]["iqa"]["backbone"] == "one-align, quality of videos, 1 frame a second"
    assert told["clips"][1]["scores"]["vbench_dynamic_degree"] == 1.0
    assert told["clips"][0]["scores"]["vbench_motion_smoothness"] == 0.9
    refused(capsys, "export holds something already; give a folder that is new", *export)


@pytest.mark.parametrize(
    ("found", "words"),
    [
        ({}, "has no dimension"),
        ({"motion_smoothness": [0.5, []]}, "motion_smoothness has no videos"),
        ({"motion_smoothness": 0.5}, "motion_smoothness"),
        ({"motion_smoothness": [0.5, [{"video_path": "a.mp4", "video_results": "good"}]]}, "video_results"),
    ],
)
def test_results_of_vbench_that_are_none_are_one_sentence(tmp_path, capsys, found, words):
    (tmp_path / "found.json").write_text(json.dumps(found))
    refused(capsys, words, "evaluate", "vbench", tmp_path / "found.json", "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_page_has_all_controls():
    table = SECTION.partition("### Controls")[2]
    assert re.findall(r"^\| `([a-z ]+)` \|", table, re.M) == [control.name for control in CONTROLS]


def test_the_other_commands_do_what_is_said_of_them(files, capsys):
    _, compare, _, external, _, judge, _, controls = commands()
    assert actavatar(*compare[: compare.index("--compare")]) == 0
    shutil.copytree("report", "other_report")
    assert actavatar(*compare) == 0
    assert json.loads(Path("report/report.json").read_text())["comparison"]["figures"]["energy"]["value"] == 0
    capsys.readouterr()
    assert actavatar(*external) == 0
    assert "IQA: 0.71 | 1 of 3 clips\niqa, not scored: 1 not in the file" in capsys.readouterr().out
    with ChatServer(good) as server:
        judge[judge.index("--server") + 1] = server.url
        assert actavatar(*judge) == 0
        assert len(server.requests) == 2 * 5
    assert "H@S: 1 (1 to 1) | 2 of 3 clips" in capsys.readouterr().out
    with ChatServer(good) as server:
        controls[controls.index("--server") + 1] = server.url
        assert actavatar(*controls, "--runs", 1) == 0
        assert len(server.requests) == 2 * 3  # whole, frozen and reversed: no prompt has two actions to be swapped
    assert "2 of 5 as they should; 4 not measured" in capsys.readouterr().out


def test_the_page_names_all_metrics_files_and_keys():
    first_cells = re.findall(r"^\| (`\w+`(?:, `\w+`)*) \|", SECTION, re.M)
    assert set(re.findall(r"`(\w+)`", "".join(first_cells))) >= set(METRICS)
    for network in PUBLISHED.values():
        assert all(f"`{file}`" in SECTION for file in network.files)
    assert all(f"`{field.name}`" in SECTION for field in dataclasses.fields(PhaseVerdict))
