"""Buckets: sizes the model can take, chosen by shape."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actavatar_jax.errors import InputError
from data_pipelines.shards import DEFAULT_SIZES, Bucket, choose_bucket, parse_buckets


def test_default_sizes_are_of_one_area_and_come_in_both_directions():
    buckets = parse_buckets(DEFAULT_SIZES, 125)
    assert {(b.width, b.height) for b in buckets} == {(b.height, b.width) for b in buckets}
    assert len(buckets) == 9 and Bucket(704, 1280, 125) in buckets
    assert all(abs(b.height * b.width / (704 * 1280) - 1) < 0.04 for b in buckets)


@pytest.mark.parametrize(
    ("height", "width", "size"),
    [(1080, 1920, (704, 1280)), (1920, 1080, (1280, 704)), (512, 512, (960, 960)), (910, 512, (1280, 704))],
)
def test_known_formats(height, width, size):
    bucket = choose_bucket(height, width, parse_buckets(DEFAULT_SIZES, 125))
    assert (bucket.height, bucket.width) == size


@given(st.sampled_from(parse_buckets(DEFAULT_SIZES, 125)), st.floats(0.2, 5))
def test_a_bucket_scaled_is_its_own_nearest(bucket, scale):
    assert (
        choose_bucket(round(bucket.height * scale), round(bucket.width * scale), parse_buckets(DEFAULT_SIZES, 125))
        == bucket
    )


def test_list_in_height_by_width():
    assert parse_buckets("128x224, 128x128", 33) == (Bucket(128, 224, 33), Bucket(128, 128, 33))
    assert choose_bucket(700, 700, parse_buckets("128x224,128x128", 33)) == Bucket(128, 128, 33)


@pytest.mark.parametrize(("sizes", "frames"), [("100x128", 33), ("128", 33), ("", 33), ("0x0", 33), ("128x128", 32)])
def test_wrong_lists(sizes, frames):
    with pytest.raises(InputError):
        parse_buckets(sizes, frames)
