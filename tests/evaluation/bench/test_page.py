"""A folder of videos as docs/evaluation.md has it, on drawn talkers and small networks with random weights."""

import dataclasses
import json
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

for package in ("cv2", "jinja2", "onnxruntime", "torch"):
    pytest.importorskip(package)
onnx = pytest.importorskip("onnx")

from actavatar_jax.evaluation.bench import CONTROLS, METRICS  # noqa: E402
from actavatar_jax.evaluation.bench.judge.verdicts import PhaseVerdict  # noqa: E402
from actavatar_jax.evaluation.published import PUBLISHED  # noqa: E402
from tests.commands import actavatar  # noqa: E402
from tests.data import tiny_models  # noqa: E402
from tests.data.chat_server import ChatServer  # noqa: E402
from tests.data.filters.test_voice_and_sync import talker  # noqa: E402
from tests.evaluation import small_networks  # noqa: E402
from tests.evaluation.bench.test_judge import good  # noqa: E402
from tests.evaluation.test_identity import save_network  # noqa: E402

pytestmark = pytest.mark.usefixtures("quick_compilation")
PAGE = (Path(__file__).resolve().parents[3] / "docs" / "evaluation.md").read_text()
SECTION = PAGE.partition("## A folder of videos")[2].partition("## Lip synchrony")[0]
FRAMES = 60


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
            shutil.move("clips/talk.mp4", f"{folder}/{name}.mp4")
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


def commands():
    return [shlex.split(code.replace("\\\n", " "))[1:] for code in re.findall(r"```bash\n(.*?)```", SECTION, re.S)]


@pytest.mark.slow
def test_the_command_measures_by_all_networks(weights, capsys):
    assert actavatar("models", "check", "models") == 0
    metrics = capsys.readouterr().out.partition("metrics\n")[2].splitlines()
    assert [line.split()[-1] for line in metrics] == ["ready"] * 5
    assert actavatar(*commands()[0]) == 0
    told = json.loads(Path("report/report.json").read_text())
    missing = {name: metric["reason"] for name, metric in told["metrics"].items() if not metric["available"]}
    assert set(missing) <= {"ssim"} and all("it needs dm-pix" in reason for reason in missing.values())
    for name, metric in told["metrics"].items():
        if metric["available"]:
            assert metric["backbone"] and metric["coverage"] == pytest.approx(2 / 3), name
            assert metric["not_scored"] == {"missing": 1}
            assert all(figure["clips"] == 2 for figure in metric["figures"].values()), name
    early, late, _ = told["clips"]
    assert (early["scores"]["sync_offset"], late["scores"]["sync_offset"]) == (2, -3)
    assert early["scores"]["csim_coverage"] == 1 and early["scores"]["csim"] > 0.9
    assert told["metrics"]["fid"]["samples"] == [120, 120] and told["metrics"]["fvd"]["samples"] == [6, 6]
    assert told["metrics"]["fid"]["resize"].startswith("clean, ")
    assert set(told["metrics"]["lpips"]["weights"]) == {"alexnet-owt-7be5be79.pth", "alex.pth"}
    assert "FID: " in capsys.readouterr().out and Path("report/report.html").stat().st_size > 10_000
    lips = ["--weights", "models", "--metrics", "sync", "--out", "controls"]
    assert actavatar("evaluate", "controls", "results", "--bench", "bench.jsonl", *lips) == 0
    lines = {line.split("  ")[0]: line for line in capsys.readouterr().out.splitlines()}
    assert all(lines[name].endswith("as it should") for name in ("silent", "late"))


def test_the_page_has_all_controls():
    table = SECTION.partition("### Controls")[2]
    assert re.findall(r"^\| `([a-z ]+)` \|", table, re.M) == [control.name for control in CONTROLS]


def test_the_other_commands_do_what_is_said_of_them(files, capsys):
    _, compare, external, judge, controls = commands()
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
