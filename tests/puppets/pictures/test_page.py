"""What pictures are made of: enlarged frames, letters, scales of plots; the preview and the sheet of many clips."""

import numpy as np
import pytest
from PIL import Image, ImageColor, ImageFont, ImageSequence

from actavatar_jax.prompt import StructuredPrompt
from actavatar_jax.puppets.pictures.enlarge import enlarged
from actavatar_jax.puppets.pictures.film import draw_preview
from actavatar_jax.puppets.pictures.page import COLOURS, Page, Plot, pale, spelt, ticks
from actavatar_jax.puppets.pictures.sheets import CONTACT, draw_contacts
from actavatar_jax.puppets.world.clips import World, make_clip

PROMPT = StructuredPrompt.parse("A host. [0-1s] Nods. [2-3s] Waves.")


def plain(colours, side=8):
    """A frame of each colour."""
    return np.stack([np.full((side, side, 3), colour, np.uint8) for colour in colours])


# ---- enlarged


def test_frames_are_enlarged_in_proportion_and_stay_what_they_were():
    clip = make_clip(0, World(frames=2))
    large = enlarged(clip.frames)
    assert large.shape == (2, 512, 512, 3)
    small = np.stack([np.asarray(Image.fromarray(frame).reduce(8)) for frame in large])
    assert np.abs(small.astype(int) - clip.frames).mean() < 3
    assert enlarged(clip.frames.repeat(2, axis=1), 100).shape == (2, 200, 100, 3)
    assert enlarged(clip.frames[:, :31], 65).shape[1] == 32  # as videos ask for
    assert np.array_equal(enlarged(plain([7, 200])), plain([7, 200], 512))


def test_enlarged_frames_are_near_those_drawn_large():
    small, large = (make_clip(5, World(side=side, frames=1)).frames.astype(int) for side in (128, 512))
    # 0.64 of the error of repeated pixels; a bicubic filter leaves 0.67, a bilinear one 0.76.
    error = np.square(enlarged(small.astype(np.uint8)) - large).mean()
    assert error < 0.65 * np.square(small.repeat(4, axis=1).repeat(4, axis=2) - large).mean()


# ---- page and plot


def test_every_letter_is_one_that_the_font_has():
    font = ImageFont.load_default(24)
    missing = bytes(font.getmask("\uffff"))  # the box that stands for a letter that is not there
    assert bytes(font.getmask("ß")) == missing
    text = spelt("„Größe ändert Übermut über Öl”, così, naïve Noël, José")
    assert text.startswith("“Groesse aendert Uebermut ueber Oel”, cosi")
    assert [letter for letter in text if bytes(font.getmask(letter)) == missing] == []


def test_text_that_is_too_wide_loses_its_last_words():
    page, text = Page(10, 10), "one two three four"
    assert page.fitted(text, 20, 1000) == text
    width = page.width_of("one two three ...", 20)
    assert page.fitted(text, 20, width) == "one two three ..."
    assert page.fitted(text, 20, width - 1) == "one two ..."
    assert page.fitted("unbreakable", 20, 30) == "..."


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (14.2, 25.9, [14, 16, 18, 20, 22, 24, 26]),
        (0, 0.31, [0, 0.1, 0.2, 0.3, 0.4]),
        (-0.3, 1, [-0.5, 0, 0.5, 1]),
        (0, 9, [0, 2, 4, 6, 8, 10]),
        (20, 20, None),
    ],
)
def test_ticks_are_round_and_hold_everything(low, high, expected):
    found = ticks(low, high)
    assert found[0] <= low and found[-1] >= high and found[0] < found[-1]
    if expected:
        assert found == pytest.approx(expected)


def test_a_plot_puts_values_between_its_corners():
    plot = Plot(Page(300, 200), 50, 20, (200, 100), (1.0, 3.0), (-1.0, 1.0))
    assert (plot.x(1.0), plot.x(2.0), plot.x(3.0)) == (50, 150, 250)
    assert (plot.y(-1.0), plot.y(0.5), plot.y(1.0)) == (120, 45, 20)
    plot.band(1.5, 2.0, COLOURS[0])
    picture = np.asarray(plot.page.picture())
    assert tuple(picture[60, 120]) == ImageColor.getrgb(pale(COLOURS[0]))
    assert (picture[60, 95] == 255).all() and (picture[60, 155] == 255).all()


# ---- preview and contacts


def frames_of(path):
    with Image.open(path) as film:
        return [np.asarray(frame.convert("RGB")).astype(int) for frame in ImageSequence.Iterator(film)], film


def near(picture, colour):
    return np.abs(picture - np.array(ImageColor.getrgb(colour))).max(-1) < 40


def test_a_preview_shows_both_films_and_the_phase_that_is_on(tmp_path):
    black, white = plain([0] * 77), plain([200] * 77)
    draw_preview(tmp_path / "p.webp", black, white, PROMPT, size=128)
    pictures, film = frames_of(tmp_path / "p.webp")
    assert len(pictures) == 77 and film.format == "WEBP"
    for k, picture in enumerate(pictures):
        assert picture[40:150, 20:130].max() < 20 and np.abs(picture[40:150, 160:265] - 200).max() < 20
        caption = picture[165:200]
        nods, waves = (near(caption, colour).any() for colour in COLOURS[:2])
        assert (nods, waves) == (k < 25, 50 <= k < 75), k
    windows = [12 + 268 * middle // 77 for middle in (12, 62)]  # on the timeline
    for k, on in ((5, [True, False]), (38, [False, False]), (70, [False, True])):
        bars = [pictures[k][206, place] for place in windows]
        assert [bool(near(bar, colour)) for bar, colour in zip(bars, COLOURS, strict=False)] == on
    heads = [np.flatnonzero(near(pictures[k][199:204], "black").any(0)).mean() for k in (0, 38, 76)]
    assert heads == pytest.approx([12, 12 + 268 * 38 / 77, 12 + 268 * 76 / 77], abs=3)


def test_a_preview_plays_at_its_frames_rate_and_rests_at_the_end(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (4, 16, 16, 3), np.uint8)
    for fps, lasting in ((25, 40), (10, 100)):
        draw_preview(tmp_path / "p.webp", noise, noise, PROMPT, fps=fps, size=64)
        with Image.open(tmp_path / "p.webp") as film:
            durations = []
            for k in range(film.n_frames):
                film.seek(k)
                film.load()
                durations.append(film.info["duration"])
            assert durations == [lasting] * 3 + [800] and film.info["loop"] == 0


def test_a_preview_of_a_whole_clip_is_small_enough_for_a_page(tmp_path):
    clip = make_clip(4, World(side=128))
    noisy = np.clip(clip.frames + np.random.default_rng(0).normal(0, 6, clip.frames.shape), 0, 255).astype(np.uint8)
    draw_preview(tmp_path / "p.webp", clip.frames, noisy, clip.prompt)
    assert 100_000 < (tmp_path / "p.webp").stat().st_size < 2_000_000


def test_contacts_have_two_rows_for_every_pair(tmp_path):
    greys = [40 * k for k in range(5)]
    pairs = [(plain(greys), plain(greys[::-1])), (plain([255, 1, 0, 2, 255]), plain([9] * 5))]
    draw_contacts(tmp_path / "c.png", pairs, columns=3)
    sheet = np.asarray(Image.open(tmp_path / "c.png"))
    pitch = CONTACT + 2
    assert sheet.shape == (4 * CONTACT + 2 * 2 + 10 + 2, 3 * pitch - 2, 3)
    middle = CONTACT // 2
    rows = [middle + k * pitch + 10 * (k // 2) for k in range(4)]
    found = [[int(sheet[row, middle + column * pitch, 0]) for column in range(3)] for row in rows]
    assert found == [[0, 80, 160], [160, 80, 0], [255, 0, 255], [9, 9, 9]]
