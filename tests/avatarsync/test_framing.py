"""Heads in larger pictures: what is cut out goes back to where it was, and the rest of the picture stays."""

import numpy as np
import pytest
from PIL import Image

from actavatar_jax.avatarsync.framing import frame_head, soft_edge, square_around
from actavatar_jax.avatarsync.pasting import Paste
from actavatar_jax.errors import InputError

RNG = np.random.default_rng(0)


def picture(height=96, width=120):
    """Smooth, so that it survives a change of size."""
    y, x = np.mgrid[:height, :width] / 40
    return np.rint(127 + 60 * np.stack([np.sin(y), np.cos(x), np.sin(x + y)], axis=-1)).astype(np.uint8)


def test_a_head_that_does_not_change_leaves_the_picture_as_it_is():
    framing = frame_head(picture(), (30, 10, 64))
    np.testing.assert_array_equal(framing.head, picture()[10:74, 30:94])
    films = framing.put_back(np.stack([framing.head] * 2))
    np.testing.assert_array_equal(films, np.stack([picture()] * 2))
    small = np.asarray(Image.fromarray(framing.head).resize((32, 32), Image.Resampling.BOX))
    near = framing.put_back(small[None])[0].astype(int) - picture()
    assert 0 < np.abs(near).max() <= 2 and (near[:10] == 0).all() and (near[:, 94:] == 0).all()


def test_a_frame_fades_into_the_picture():
    framing = frame_head(np.zeros((96, 120, 3), np.uint8), (30, 10, 64))
    film = framing.put_back(np.full((1, 32, 32, 3), 200, np.uint8))[0, :, :, 0]
    assert (film[14:70, 34:90] == 200).all()
    steps = np.diff(film.astype(int), axis=1)[42]
    assert steps[29:34].max() <= 50 and (film[:10] == 0).all() and 0 < film[10, 30] <= 25
    np.testing.assert_allclose(soft_edge(64), soft_edge(64).T[::-1])


def test_pasted_frames_change_the_picture_where_they_change_alone():
    """The tokenizer's blur of the whole head is not seen; a mouth that opens is."""
    framing = frame_head(picture(), (30, 10, 64))
    portrait = framing.head.astype(np.float32) / 255
    decoded = np.clip(portrait + 0.03 * RNG.uniform(-1, 1, portrait.shape).astype(np.float32), 0, 1)
    frame = np.rint(255 * decoded).astype(np.uint8)
    frame[40:48, 24:40] = 255
    film = framing.put_back(frame[None], Paste(portrait, decoded))[0]
    assert (film[52:56, 58:66] > 250).all()
    np.testing.assert_array_equal(film[:40], picture()[:40])
    np.testing.assert_array_equal(film[10:74, 30:44], picture()[10:74, 30:44])


def test_large_pictures_become_smaller_and_sides_even():
    framing = frame_head(picture(701, 2001), (1000, 100, 500))
    assert framing.picture.shape == (448, 1280, 3) and framing.square == (640, 64, 320)
    assert frame_head(picture(97, 121), (25, 1, 96)).square == (25, 1, 95)  # the last row is cut off


def test_squares_that_are_not_in_the_picture():
    for square in ((-1, 0, 40), (90, 0, 40), (0, 60, 40), (0, 0, 31)):
        with pytest.raises(InputError, match=r"within the picture's 120 x 96"):
            frame_head(picture(), square)


def test_the_square_of_the_largest_face():
    wide = picture(200, 300)
    faces = np.asarray([[10, 10, 20, 20], [140, 80, 40, 50]], float)
    assert square_around(faces, wide) == (160 - 45, 105 - 45, 90)
    assert square_around(np.asarray([[0, 0, 40, 50]], float), wide) == (0, 0, 90)
    assert square_around(np.asarray([[100, 0, 180, 190]], float), wide) == (90, 0, 200)
    with pytest.raises(InputError, match="shows no face"):
        square_around(np.zeros((0, 4)), wide)
