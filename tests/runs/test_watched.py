"""Sampling that is watched, by the shipped model: previews, a stop in the middle, the path of the velocity and what it
saves; guidance on an interval, in a whole model."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image
from scipy.io import wavfile

from actavatar_jax import ActAvatarPipeline, InputError, Sampling
from actavatar_jax.media import load_image, load_video
from actavatar_jax.puppets.recipe import SHIPPED
from actavatar_jax.runs.calibration import calibrate
from actavatar_jax.runs.jobs import Job, run_jobs
from actavatar_jax.runs.preview import save_preview
from actavatar_jax.weights import change_defaults, load_defaults

pytestmark = pytest.mark.slow

PROMPT = "A puppet. [0-0.4s] Waves."
STEPS = Sampling(steps=8, num_frames=13, text_guidance=2.0, audio_guidance=2.0)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A model folder, a portrait and speech on disk."""
    root, rng = tmp_path_factory.mktemp("watched"), np.random.default_rng(0)
    shutil.copytree(SHIPPED, root / "model")
    face = np.kron(rng.integers(60, 200, (8, 8, 3)), np.ones((16, 16, 1))).astype(np.uint8)
    Image.fromarray(face).save(root / "face.png")
    wavfile.write(root / "speech.wav", 16_000, (3000 * rng.standard_normal(13 * 640)).astype(np.int16))
    return root


@pytest.fixture(scope="module")
def pipe(files):
    return ActAvatarPipeline.from_pretrained(files / "model")


@pytest.fixture
def latents(files, pipe):
    """latents(**changes): of the clip, [T, H, W, C]."""

    def make(**changes):
        inputs = load_image(files / "face.png"), str(files / "speech.wav"), PROMPT
        return pipe.sample_latents(*inputs, STEPS, anyway=True, **changes)[0]

    return make


def job(files, out, **options):
    options = {"anyway": True, "num_frames": 13, "steps": 3, "solver": "euler"} | options
    return Job(str(files / "face.png"), str(files / "speech.wav"), PROMPT, str(out), options)


def test_watching_changes_nothing(latents):
    seen = []
    watched = latents(callback=seen.append)
    np.testing.assert_allclose(watched, latents(), atol=2e-5 * np.abs(watched).max())
    assert [step.done for step in seen] == list(range(1, 9))
    np.testing.assert_array_equal(np.asarray(seen[-1].data)[0], watched)


@pytest.mark.parametrize("scales", [(2.0, 2.0), (3.0, 2.0), (2.0, 0.0)])
def test_an_interval_without_levels_is_guidance_of_scale_1(latents, scales):
    text, audio = scales
    alone = latents(text_guidance=1.0, audio_guidance=1.0)
    none = latents(text_guidance=text, audio_guidance=audio, guidance_interval=(0.0, 0.0))
    np.testing.assert_allclose(none, alone, atol=2e-5 * np.abs(alone).max())
    some = latents(text_guidance=text, audio_guidance=audio, guidance_interval=(0.5, 0.9))
    assert np.abs(some - alone).max() > 0.01 * np.abs(alone).max()


def test_every_job_is_watched_and_a_stop_leaves_whole_videos_only(files, pipe, tmp_path):
    seen = []

    def watch(pipeline, job):
        def callback(step):
            seen.append((job.out, step.done, step.steps))
            if job.out.endswith("b.mp4") and step.done == 2:
                raise KeyboardInterrupt

        assert pipeline is pipe
        return callback

    first, second = tmp_path / "a.mp4", tmp_path / "b.mp4"
    with pytest.raises(KeyboardInterrupt):
        run_jobs(pipe, [job(files, first), job(files, second)], watch=watch)
    assert seen == [(str(first), i, 3) for i in (1, 2, 3)] + [(str(second), i, 3) for i in (1, 2)]
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]
    assert load_video(first).frames.shape == (13, 128, 128, 3)
    assert run_jobs(pipe, [job(files, first), job(files, second)]) == 0  # and it goes on from there
    assert load_video(second).frames.shape == (13, 128, 128, 3)


def test_a_preview_shows_the_portrait_the_middle_and_the_end(files, pipe, latents, tmp_path):
    steps = []
    latents(callback=steps.append)
    sheets = []
    for step in (steps[0], steps[-1]):
        save_preview(tmp_path / "new" / "x.png", pipe.encoders, step)
        sheets.append(load_image(tmp_path / "new" / "x.png").astype(float))
    assert sheets[0].shape == (128 + 8, 3 * 128 + 16, 3)
    first, middle, last = (np.stack([sheet[4:-4, k : k + 128] for sheet in sheets]) for k in (4, 136, 268))
    np.testing.assert_array_equal(first[0], first[1])
    assert np.abs(first[0] - load_image(files / "face.png")).mean() < 40
    assert np.abs(middle[0] - middle[1]).mean() > 1 and np.abs(last[0] - last[1]).mean() > 1
    assert not np.array_equal(middle[1], last[1])
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"preview .* cannot be written"):
        save_preview(tmp_path / "file" / "x.png", pipe.encoders, steps[0])


def test_calibration_lets_steps_be_skipped(files, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(files / "model", folder)
    inputs = str(files / "face.png"), str(files / "speech.wav"), PROMPT
    before = json.loads((folder / "model_index.json").read_text())
    assert not load_defaults(folder).velocity_path and not before["actavatar"].pop("velocity_path")

    def skipping(least):
        seen = []
        pipe = ActAvatarPipeline.from_pretrained(folder)
        made = pipe.sample_latents(*inputs, STEPS, anyway=True, skip=least, callback=seen.append)[0]
        return len(seen), made

    with pytest.raises(InputError, match=r"no measured path of its velocity.*actavatar calibrate"):
        skipping(0.1)
    with pytest.raises(InputError, match="2 steps or more, not 1"):
        calibrate(folder, *inputs, options={"num_frames": 13}, anyway=True)

    options = {name: getattr(STEPS, name) for name in ("steps", "solver", "num_frames", "text_guidance")}
    seen = []
    told = calibrate(folder, *inputs, options=options | {"skip": 0.5}, anyway=True, watch=seen.append)
    assert len(seen) == 8 and "skip 0.05: " in told
    after = json.loads((folder / "model_index.json").read_text())
    path = after["actavatar"].pop("velocity_path")
    assert after == before and len(path) == 8
    assert [tuple(point) for point in path] == list(load_defaults(folder).velocity_path)

    full, some, few = skipping(0.0), skipping(0.1), skipping(0.5)
    assert 8 == full[0] > some[0] > few[0] >= 1
    missed = [np.abs(made - full[1]).mean() for _, made in (some, few)]
    assert 0 < missed[0] < missed[1]


def test_a_path_is_written_into_model_folders_only(tmp_path):
    with pytest.raises(InputError, match=r"no .*model_index\.json to write into"):
        change_defaults(tmp_path, velocity_path=[])
