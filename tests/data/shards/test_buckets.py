"""Buckets: sizes the model can take, chosen by shape."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actavatar_jax.errors import InputError
from data_pipelines.shards import DEFAULT_SIZES, Bucket, choose_bucket, measure_enlargement, parse_buckets
from data_pipelines.shards.buckets import nearest_bucket

LADDER = parse_buckets(DEFAULT_SIZES, 125)


def test_default_sizes_are_of_two_areas_and_come_in_both_directions():
    assert [(area[0].height, area[0].width) for area in LADDER] == [(704, 1280), (480, 832)]
    for area in LADDER:
        assert {(b.width, b.height) for b in area} == {(b.height, b.width) for b in area}
        assert len(area) == 9
        assert all(abs(b.height * b.width / (area[0].height * area[0].width) - 1) < 0.04 for b in area)


@pytest.mark.parametrize(
    ("height", "width", "size"),
    [
        (1080, 1920, (704, 1280)),
        (1920, 1080, (1280, 704)),
        (720, 1280, (704, 1280)),
        (910, 512, (832, 480)),
        (480, 854, (480, 832)),
        (720, 720, (640, 640)),  # 1.33 times for 960x960
        (873, 873, (960, 960)),  # 1.0996 times
        (872, 872, (640, 640)),  # 1.1009 times
        (582, 582, (640, 640)),
        (581, 581, None),
        (480, 480, None),  # would be enlarged 1.33 times, and 2 times for the larger area
        (256, 455, None),
    ],
)
def test_known_formats(height, width, size):
    bucket = choose_bucket(height, width, LADDER)
    assert (bucket and (bucket.height, bucket.width)) == size


@given(st.sampled_from(LADDER), st.data(), st.floats(0.5, 5))
def test_a_bucket_scaled_is_its_own_nearest_and_none_is_enlarged_much(area, data, scale):
    bucket = data.draw(st.sampled_from(area))
    height, width = round(bucket.height * scale), round(bucket.width * scale)
    assert nearest_bucket(height, width, area) == bucket
    chosen = choose_bucket(height, width, LADDER)
    assert (chosen is None) == (measure_enlargement(height, width, nearest_bucket(height, width, LADDER[1])) > 1.1)
    assert chosen is None or measure_enlargement(height, width, chosen) <= 1.1


def test_list_in_height_by_width():
    assert parse_buckets("128x224, 128x128", 33) == ((Bucket(128, 224, 33), Bucket(128, 128, 33)),)
    assert choose_bucket(700, 700, parse_buckets("128x224,128x128", 33)) == Bucket(128, 128, 33)
    small, large = Bucket(64, 64, 33), Bucket(128, 128, 33)
    assert parse_buckets("64x64/128x128", 33) == parse_buckets("128x128 / 64x64", 33) == ((large,), (small,))


@pytest.mark.parametrize(
    ("sizes", "frames"),
    [("100x128", 33), ("128", 33), ("", 33), ("0x0", 33), ("128x128", 32), ("128x128/", 33), ("128x128;64x64", 33)],
)
def test_wrong_lists(sizes, frames):
    with pytest.raises(InputError):
        parse_buckets(sizes, frames)
