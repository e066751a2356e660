"""What training data hold of a clip, from tiny encoders to batches: tasks, pictures, speech, and which is drawn."""

import numpy as np
import pytest

from actavatar_jax.echomimic import TRAINED
from actavatar_jax.echomimic.tasks import known_channels, known_frames, region_of_boxes, replacement
from actavatar_jax.errors import InputError
from actavatar_jax.prompt import StructuredPrompt
from data_pipelines.loading import make_loader, make_pair_loader
from data_pipelines.loading.tasks import UNKNOWN, DrawTask
from data_pipelines.shards import (
    BFLOAT16,
    Bucket,
    RecordMaker,
    describe_records,
    deserialize_record,
    serialize_record,
    write_dataset,
)
from tests.echomimic.tiny import pipeline, speech

pytestmark = pytest.mark.usefixtures("quick_compilation")

FRAMES, SIDE = 9, 32
PROMPT = StructuredPrompt.parse("Bad. [0-0.2s] Hands.")
VARIANTS = ("preview", "flash")


def encoders(variant, find_mouths=None):
    made = pipeline(variant).encoders
    other = type(made)(
        made.tokenizer, made.text_encoder, made.image_encoder, made.audio_encoder, made.vae, variant, 24, find_mouths
    )
    return other


def frames(seed=0):
    return np.random.default_rng(seed).integers(0, 256, (FRAMES, SIDE, SIDE, 3), np.uint8)


def mouth_below(frames):
    return [(16, 28, 8, 24)] * len(frames)


@pytest.fixture(scope="module", params=VARIANTS)
def made(request, quick_compilation):
    """(variant, encoders, a record)."""
    parts = encoders(request.param, mouth_below)
    maker = RecordMaker(parts, anchors=False)
    return request.param, parts, maker("clip", 0, frames(), speech(FRAMES), PROMPT)


@pytest.mark.slow
def test_a_record_holds_every_task_and_what_is_told(made):
    variant, parts, record = made
    assert [TRAINED[n] for n in record["tasks"]] == list(TRAINED)
    given, size = frames(), (SIDE, SIDE)
    begin = int(np.flatnonzero((record["known"][2][..., 0] == 1).all((1, 2)))[-1])  # last latent frame that is known
    tasks = {
        "first_frame": known_frames(FRAMES, *size, {0: given[0]}),
        "first_and_last": known_frames(FRAMES, *size, {0: given[0], 8: given[8]}),
        "continuation": known_frames(FRAMES, *size, dict(enumerate(given[: 4 * begin + 1]))),
        "mouth": replacement(given, region_of_boxes(mouth_below(given), size, size)),
    }
    for number, (name, task) in enumerate(tasks.items()):
        want = known_channels(task, parts.vae).astype(BFLOAT16)
        np.testing.assert_array_equal(record["known"][number], want, err_msg=name)
    np.testing.assert_array_equal(record["picture"], parts.picture(given[0]).astype(BFLOAT16))
    assert record["audio_feats"].shape == ((2 * FRAMES, 1, 6) if variant == "preview" else (FRAMES, 2, 6))
    np.testing.assert_array_equal(record["latents"], parts.video(given).astype(BFLOAT16))
    assert set(record["phase_ids"].tolist()) == {0, 1} and record["phase_windows"].tolist() == [[0.0, np.float32(0.2)]]


@pytest.mark.slow
def test_a_record_is_the_same_there_and_back_and_whenever_it_is_made(made):
    _, parts, record = made
    data = serialize_record(record)
    read = deserialize_record(data, parts.system)
    assert read.keys() == record.keys()
    for name, value in record.items():
        if isinstance(value, np.ndarray):
            np.testing.assert_array_equal(read[name], value, err_msg=name)
    again = RecordMaker(parts, anchors=False)("clip", 0, frames(), speech(FRAMES), PROMPT)
    assert serialize_record(again) == data


@pytest.mark.slow
def test_clips_without_a_mouth_have_no_task_of_it_and_continuations_differ():
    parts = encoders("preview", lambda frames: None)
    fields = [parts.fields(frames(), seed) for seed in range(6)]
    assert all([TRAINED[n] for n in one["tasks"]] == list(TRAINED[:3]) for one in fields)
    masks = {one["known"][2][..., :4].tobytes() for one in fields}
    assert len(masks) == 2  # of nine frames one or five
    told = parts.fields(frames(), 0, [(16, 28, 8, 24)] * FRAMES)  # by somebody who knows where it is
    assert [TRAINED[n] for n in told["tasks"]] == list(TRAINED)
    np.testing.assert_array_equal(told["known"][:3], fields[0]["known"])


# ---- in shards and batches


def write(folder, variant, records, **about):
    parts = encoders(variant)
    metadata = describe_records(parts, FRAMES, anchors=False)
    metadata |= {"empty_prompt": RecordMaker(parts, anchors=False).encode_empty_prompt().to_dict()} | about
    folder.mkdir(parents=True)
    write_dataset(folder, map(serialize_record, records), len(records), 4, metadata)
    return folder


@pytest.mark.slow
def test_a_loader_draws_tasks_by_their_shares(made, tmp_path):
    variant, _, record = made
    folder = write(tmp_path / str(Bucket(SIDE, SIDE, FRAMES)), variant, [record | {"clip": str(n)} for n in range(4)])
    form = {"batch_size": 4, "seed": 0, "text_len": 24, "max_phases": 2, "anchors": False}
    batches = iter(make_loader(folder, tasks={"first_frame": 1.0, UNKNOWN: 1.0}, **form))
    seen = [next(batches) for _ in range(10)]
    state = batches.get_state()
    ahead = next(batches)
    batches.set_state(state)
    np.testing.assert_array_equal(next(batches)["known"], ahead["known"])
    known = np.concatenate([batch["known"] for batch in seen])
    pictures = np.concatenate([batch["picture"] for batch in seen])
    nothing = ~known.any((1, 2, 3, 4))
    assert 8 < nothing.sum() < 32
    assert not pictures[nothing].any() and (pictures[~nothing] == record["picture"]).all()
    assert (known[~nothing] == record["known"][0]).all()
    mouths = next(iter(make_loader(folder, tasks={"mouth": 2.0}, **form)))
    assert (mouths["known"] == record["known"][3]).all()
    with pytest.raises(InputError, match="they are made for echomimic, not for actavatar"):
        make_loader(folder, **form)


@pytest.mark.slow
def test_pairs_share_what_is_known(made, tmp_path):
    variant, _, record = made
    bucket = str(Bucket(SIDE, SIDE, FRAMES))
    write(tmp_path / "preferred" / bucket, variant, [record] * 2)
    write(tmp_path / "rejected" / bucket, variant, [record | {"latents": -record["latents"]}] * 2)
    form = {"batch_size": 2, "seed": 0, "text_len": 24, "max_phases": 2, "anchors": False}
    batch = next(iter(make_pair_loader(tmp_path, tasks={"first_and_last": 1.0}, **form)))
    assert (batch["known"] == record["known"][1]).all() and (batch["rejected"] == -record["latents"]).all()
    other = record | {"picture": -record["picture"]}
    write(tmp_path / "odd" / "preferred" / bucket, variant, [record] * 2)
    write(tmp_path / "odd" / "rejected" / bucket, variant, [other] * 2)
    with pytest.raises(InputError, match="another picture in each half"):
        next(iter(make_pair_loader(tmp_path / "odd", tasks={"first_and_last": 1.0}, **form)))


def one_of(*tasks):
    return {
        "clip": "a",
        "tasks": np.asarray([TRAINED.index(name) for name in tasks], np.int8),
        "known": np.arange(1, len(tasks) + 1)[:, None, None, None, None] * np.ones((1, 2, 2, 2, 5)),
        "picture": np.ones((3, 2)),
    }


def test_a_missing_task_leaves_its_share_to_the_others():
    draw = DrawTask({"first_frame": 1.0, "continuation": 2.0, "mouth": 7.0})
    rng = np.random.default_rng(0)
    drawn = [draw.random_map(one_of("first_frame", "continuation"), rng)["known"].max() for _ in range(600)]
    assert np.mean(np.asarray(drawn) == 2) == pytest.approx(2 / 3, abs=0.06)
    with pytest.raises(InputError, match="clip a: it holds the tasks first_and_last, text_and_audio; wanted are"):
        draw.random_map(one_of("first_and_last"), rng)


@pytest.mark.parametrize(
    ("shares", "message"),
    [
        ({"lips": 1.0}, "no task lips; accepted are first_frame, first_and_last, continuation, mouth, text_and_audio"),
        ({"mouth": -1.0}, "tasks' shares"),
        ({"mouth": 0.0}, "one is above 0"),
        ({}, "one is above 0"),
    ],
)
def test_shares_are_of_tasks_and_not_below_zero(shares, message):
    with pytest.raises(InputError, match=message):
        DrawTask(shares)


def test_the_fingerprint_tells_variants_apart():
    assert {name: encoders(name).fingerprint()["variant"] for name in VARIANTS} == {name: name for name in VARIANTS}
    assert "image_encoder" in encoders("flash").fingerprint()
