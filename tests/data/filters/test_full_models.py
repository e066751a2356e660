"""Models of the published sizes are as large as they say and show something; the time that filters take is told."""

import functools
import importlib
import re
import shutil
from pathlib import Path

import jax
import numpy as np
import onnx
import pytest
from typer.testing import CliRunner

from actavatar_jax import functional
from actavatar_jax.evaluation.published import PUBLISHED, read_published
from actavatar_jax.keypoints import PERSON_SHAPES, PERSON_SIDE, POSE_SHAPES, Landmarker, _tools
from actavatar_jax.models.iresnet import IResNet, IResNetConfig
from actavatar_jax.onnx_files import count_products, load_model, run_model
from actavatar_jax.published import FILES
from actavatar_jax.synchrony.syncnet import load_syncnet
from data_pipelines.filters import MODELS
from data_pipelines.filters.faces import DETECTOR_SIDE, detect_faces
from data_pipelines.table import Step
from launch import bench
from tests.data import full_models, tiny_models
from tests.data.fakes import make_clips

LAUNCH = Path(bench.__file__).parent

for package in ("onnxruntime", "torch"):
    pytest.importorskip(package)


@pytest.fixture(scope="module")
def models():
    return {name.removesuffix(".onnx"): make() for name, make in full_models.MODELS.items()}


@pytest.fixture(scope="module")
def paths(models, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    for name, model in models.items():
        onnx.save(model, folder / f"{name}.onnx")
    yield {name: folder / f"{name}.onnx" for name in models}
    for cache in (load_model, _tools):  # hundreds of megabytes that no other test needs
        cache.cache_clear()
    for path in folder.iterdir():
        path.unlink()


@pytest.fixture(scope="module")
def syncnet(tmp_path_factory):
    """The file, and its parameters and multiply-adds."""
    path = tmp_path_factory.mktemp("syncnet") / "syncnet_v2.model"
    yield path, full_models.syncnet(path)
    path.unlink()


def noise(*shape):
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def test_yunet_has_the_published_54608_parameters(models):
    parameters, products = full_models.size(models["face"])
    normalised = (16 + 16) + (16 + 32) + (32 + 64) + 6 * 64 + 3 * 64  # channels: stem, stages, neck
    placing = 2 * (2 * 20 + 1 + 1)  # kernels and biases that count the cells around a cell
    assert parameters == 54_608 - 2 * normalised + placing
    # 96 million operations at 320x320 are published. Norms, biases and ReLU are among them; here products alone count.
    assert 0.88 * 96e6 < products / 4 < 96e6


def test_syncnet_has_the_parameters_of_its_layers(syncnet):
    video = [(3 * 5 * 7 * 7, 96), (96 * 5 * 5, 256), *[(256 * 3 * 3, 256)] * 3, (256 * 6 * 6, 512)]
    audio = [(9, 64), (64 * 9, 192), (192 * 9, 384), (384 * 9, 256), (256 * 9, 256), (256 * 5 * 4, 512)]
    normalised = [(inputs + 1 + 4, outputs) for inputs, outputs in (*video, *audio, (512, 512), (512, 512))]
    _, (parameters, products) = syncnet
    assert parameters == sum(inputs * outputs for inputs, outputs in (*normalised, *[(512 + 1, 1024)] * 2))
    places = 109**2, 26**2, *[13**2] * 3, 1  # and of the first layer, five frames that are seen once each
    lips = sum(n * inputs * outputs for n, (inputs, outputs) in zip(places, video, strict=True)) + 4 * 109**2 * 735 * 96
    places = 13 * 20, 13 * 20, *[11 * 9] * 3, 1
    sound = sum(n * inputs * outputs for n, (inputs, outputs) in zip(places, audio, strict=True))
    assert products == pytest.approx(lips + sound, rel=0.02)


# RTMPose-l: the published backbone is that of a classifier of 1000 things; what follows it has the sizes of the paper.
CSPNEXT_L = 27.16e6 - 1000 * (1024 + 1)
RTMPOSE_HEAD = 1024 * 7 * 7 * 133 + 108 * 256 + 256 * (2 * 512 + 128) + 512 * 256 + 256 * (576 + 768)


@pytest.mark.parametrize(
    "name, parameters, products",
    [
        ("person", 54.2e6, 155.6e9 / 2),  # YOLOX-l, whose table counts a product and a sum as two
        ("pose", CSPNEXT_L + RTMPOSE_HEAD, 10.07e9),  # for 133 points at 384x288
    ],
)
def test_the_large_models_are_within_one_percent_of_the_published_sizes(name, parameters, products, models):
    assert full_models.size(models[name]) == pytest.approx((parameters, products), rel=0.01)


def test_the_network_of_faces_is_as_large_as_ours_of_fifty_layers(models):
    params = functional.abstract(IResNet, IResNetConfig())
    face = jax.ShapeDtypeStruct((1, 112, 112, 3), np.float32)
    program = jax.jit(lambda params, face: functional.bind(IResNet, IResNetConfig(), params)(face))
    parameters, products = full_models.size(models["w600k_r50"])
    assert parameters == pytest.approx(functional.count(params), rel=0.01)
    counted = program.lower(params, face).cost_analysis()["flops"] / 2
    assert counted < products < 1.1 * counted  # without those with what lies beyond the border


def test_the_script_writes_whole_files_under_the_names_of_the_filters(syncnet, tmp_path, monkeypatch, capsys):
    def write_again(path):
        shutil.copy(syncnet[0], path)
        return syncnet[1]

    assert set(full_models.MODELS) <= set(FILES) and set(MODELS) <= set(FILES)
    monkeypatch.setattr(full_models, "MODELS", {"face.onnx": full_models.MODELS["face.onnx"]})
    monkeypatch.setattr(full_models, "syncnet", write_again)
    monkeypatch.setattr(full_models, "write_measures", lambda folder: [(folder / "alex.pth", 1_152)])
    full_models.main(tmp_path / "new")
    assert {path.name for path in (tmp_path / "new").iterdir()} == {"face.onnx", "syncnet_v2.model"} <= set(MODELS)
    told = capsys.readouterr().out
    assert "face.onnx: 0.05 M parameters, 0.34 G multiply-adds" in told
    assert f"syncnet_v2.model: {syncnet[1][0] / 1e6:.2f} M parameters, " in told
    assert told.endswith("alex.pth: 0.00 M parameters\n")


@pytest.mark.slow
def test_what_only_measures_is_read_as_published(tmp_path):
    parameters = {path.name: count for path, count in full_models.write_measures(tmp_path)}
    assert {name for published in PUBLISHED.values() for name in published.files} == set(parameters)
    for name in PUBLISHED:
        leaves = jax.tree.leaves(read_published(name, "A measure", [tmp_path / file for file in PUBLISHED[name].files]))
        assert sum(leaf.size for leaf in leaves) > 2e6 and all(np.isfinite(leaf).all() for leaf in leaves)
    assert parameters["pt_inception-2015-12-05-6726825d.pth"] == pytest.approx(23.85e6, rel=0.01)
    assert parameters["i3d_pretrained_400.pt"] == pytest.approx(12.7e6, rel=0.01)


def test_sizes_are_those_of_the_layers():
    net = full_models.Network()
    x = net.conv("x", 4, 6, 3, 2, groups=2)  # of 8 x 8 inputs: 4 x 4 outputs
    x = net.dense(net("Flatten", x), 96, 5)
    net("Identity", net.linear(x, 5, 7), out="y")
    model = net.model({"x": ("n", 4, 8, 8)}, {"y": ("n", 7)})
    weights = 6 * 2 * 9, 96 * 5, 5 * 7
    assert full_models.size(model) == (sum(weights) + 6 + 5, 16 * weights[0] + weights[1] + weights[2])


@pytest.mark.parametrize("height, width", [(720, 1280), (1280, 720), (512, 512), (352, 640), (200, 900)])
def test_there_is_one_face_in_the_middle_of_every_picture(height, width, paths):
    (box,) = detect_faces(noise(height, width, 3), paths["face"])
    pixels = max(height, width) / DETECTOR_SIDE if max(height, width) > DETECTOR_SIDE else 1
    assert box[2:] == pytest.approx(tiny_models.FACE * pixels, rel=0.01)
    # Half a cell of 32 pixels where their number is odd, and another half for what fills up the last cell.
    assert box[:2] + box[2:] / 2 == pytest.approx([width / 2, height / 2], abs=32 * pixels)


@pytest.mark.slow
def test_syncnet_gives_finite_features_that_follow_its_input(syncnet):
    loaded = load_syncnet(syncnet[0])
    for features in (loaded.see(noise(6, 224, 224, 3)), loaded.hear(noise(2, 13, 20).astype(float))):
        assert features.shape == (2, 1024) and np.isfinite(features).all()
        assert 1e-3 < np.abs(features[0] - features[1]).max() < 1e6


@pytest.mark.parametrize("height, width", [(720, 1280), (640, 480)])
def test_one_person_is_found_with_points_all_over(height, width, paths):
    landmarker = Landmarker(paths["person"], paths["pose"])
    (points,) = landmarker([noise(height, width, 3)])
    scale = max(height, width) / PERSON_SIDE
    left, top, right, bottom = landmarker.box / scale
    assert ((left + right) / 2, (top + bottom) / 2) == pytest.approx(full_models.PERSON, abs=1)
    assert (right - left, bottom - top) == pytest.approx(full_models.PERSON_SIZE, rel=0.01)
    assert np.isfinite(points).all() and (points[:, 2] > 0.3).all()
    assert (points[:, :2].std(axis=0) > 20).all()
    inside = (points[:, :2] >= [left * scale, top * scale]) & (points[:, :2] <= [right * scale, bottom * scale])
    assert inside[:, 1].all() and inside[:, 0].mean() > 0.5


@pytest.mark.parametrize(
    "name, size, layout", [("person", (1, 3, 640, 640), PERSON_SHAPES), ("pose", (1, 3, 384, 288), POSE_SHAPES)]
)
def test_answers_depend_on_the_picture(name, size, layout, paths):
    """A constant answer could be computed once and for all, and would then cost nothing."""
    session, picture = load_model(paths[name], *layout), noise(*size)
    answers = (run_model(session, values.astype(np.float32)) for values in (picture, 255 - picture))
    for one, other in zip(*answers, strict=True):
        assert np.isfinite(one).all() and (one != other).any()


# ---- what filters cost


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return tiny_models.all_models(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def clip_dir(tmp_path_factory):
    return make_clips(tmp_path_factory.mktemp("root"), {"a": (10, 64, 96), "b": (20, 64, 96)})


@pytest.fixture
def filters(monkeypatch):
    monkeypatch.syspath_prepend(LAUNCH)  # as it is for the program itself
    return importlib.import_module("benchmarks.filters")


@pytest.fixture(autouse=True)
def _as_the_program_itself(filters): ...


def bench_filters(*arguments):
    return CliRunner().invoke(bench.app, ["filters", *map(str, arguments)])


def rows(result):
    assert result.exit_code == 0, result.output
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in result.stdout.splitlines()]


def test_filters_are_timed_and_the_table_says_which_had_a_model(clip_dir, tiny):
    names = "probe,voice,quality,text_area,faces"
    head, _, *body = rows(bench_filters(clip_dir, "--models", tiny, "--steps", names, "--clips", 2))
    assert head[0] == "filter" and [row[0] for row in body] == names.split(",")
    assert [row[-1] for row in body] == ["none needed", "yes", "yes", "yes", "yes"]
    for name, *cells, _ in body:
        speed, hours, beside, gpu = (float(cell.replace(",", "")) for cell in cells)
        assert speed * hours == pytest.approx(500_000 / 3600, rel=0.1)
        assert 0 < beside <= hours and gpu >= 0
        assert (beside == hours) == (name in ("probe", "faces"))  # OpenCV runs its own


def test_without_models_only_what_is_measured_has_figures(clip_dir):
    body = rows(bench_filters(clip_dir, "--steps", "voice,text_area", "--clips", 1))[2:]
    assert body[0][-1] == "no" and float(body[0][1]) > 0
    assert body[1] == ["text_area", "-", "-", "-", "-", "no"]


def test_the_first_measuring_is_not_counted_and_time_is_per_five_seconds_of_clip(filters, clip_dir, monkeypatch):
    clock, seen = [0.0], []
    monkeypatch.setattr(filters.time, "process_time", lambda: clock[0])

    def measure(clip, folder):
        clock[0] += 100.0 if not seen else 0.3  # 0.4 s and 0.8 s of video
        seen.append(clip.id)
        return {"value": 1}

    clips = filters.prepared_clips(clip_dir, 2)
    row = bench.filter_row(Step("slow", measure), clips, clip_dir, 1e12)
    assert seen == [clips[0].id, clips[0].id, clips[1].id]
    seconds = 0.6 / 1.2 * 5
    hours = f"{500_000 * seconds / 3600:,.1f}"
    assert row == ["slow", f"{1 / seconds:.3g}", hours, hours, "0.0", "none needed"]


def test_networks_are_metered(filters, clip_dir, tiny, syncnet):
    """Their products for the shapes that they are given, whichever way they are called."""
    session, loaded = load_model(tiny / "person.onnx", *PERSON_SHAPES), load_syncnet(syncnet[0])
    picture = np.zeros((1, 3, PERSON_SIDE, PERSON_SIDE), np.float32)
    with filters.metered_networks() as meter:
        run_model(session, picture)
        once = meter.flops
        shapes = {session.get_inputs()[0].name: picture.shape}
        assert once == 2 * count_products(onnx.load(tiny / "person.onnx"), shapes) > 0
        assert meter.seconds > 0
        run_model(session, picture)
        assert meter.flops == 2 * once
        loaded.see(noise(6, 224, 224, 3), every=1)
        faces = meter.flops - 2 * once
        loaded.hear(noise(2, 13, 20).astype(float))
        assert faces > 5 * (meter.flops - faces - 2 * once) > 0
    run_model(session, picture)
    assert meter.flops < 2 * once + 2 * faces


def test_counting_products_is_no_part_of_the_time(filters, clip_dir, tiny, monkeypatch):
    """It takes as long as reading a model, and comes with the first, uncounted measuring."""
    clock = [0.0]
    session = load_model(tiny / "person.onnx", *PERSON_SHAPES)
    picture = np.zeros((1, 3, PERSON_SIDE, PERSON_SIDE), np.float32)
    monkeypatch.setattr(filters.time, "process_time", lambda: clock[0])

    @functools.cache
    def count(*_):
        clock[0] += 100.0
        return 7

    def measure(clip, folder):
        run_model(session, picture)
        clock[0] += 0.25
        return {"value": 1}

    monkeypatch.setattr(filters, "_products", count)
    cost = filters.cost_of(Step("slow", measure), filters.prepared_clips(clip_dir, 2), clip_dir)
    assert (cost.seconds, cost.inside) == (pytest.approx(0.5 / 1.2 * 5), 0) and cost.flops == pytest.approx(
        28 / 1.2 * 5
    )


@pytest.mark.parametrize(
    "options, sentence",
    [
        (["--steps", "sync"], r"error: sync skips the clip a-\w+: no face is seen"),
        (["--steps", "blur"], "error: there is no filter 'blur'"),
        (["--clips", 3], "--clips 3, but 2 clips are prepared there"),
        (["--chip", "q9"], "error: .*q9"),
    ],
)
def test_clips_that_are_no_measure_are_one_sentence(options, sentence, clip_dir, tiny):
    result = bench_filters(clip_dir, "--models", tiny, "--clips", 1, *options)
    assert result.exit_code == 2
    assert re.search(sentence, result.stderr) and result.stderr.count("\n") == 1


def test_a_folder_that_was_not_prepared_is_refused(tmp_path):
    result = bench_filters(tmp_path)
    assert result.exit_code == 2 and "no manifest.parquet here" in result.stderr
