"""Each guidance form literally, the equal-scale identity, and how many evaluations a form costs."""

import jax.numpy as jnp
import numpy as np
import pytest

from actavatar_jax.diffusion import sigma_grid
from actavatar_jax.diffusion.guidance import combine, guidance
from actavatar_jax.errors import InputError

V = {
    (text, audio): np.random.default_rng(2 * text + audio).standard_normal((2, 3, 2, 2, 4), np.float32)
    for text in (False, True)
    for audio in (False, True)
}
V00, VT0, V0A, VTA = V[False, False], V[True, False], V[False, True], V[True, True]


def guided(form, text, audio):
    chosen = guidance(form, text, audio)
    return combine(jnp.asarray(chosen.weights), jnp.stack([V[branch] for branch in chosen.branches]))


def test_forms_are_their_formulas():
    def close(a, b):
        return np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)

    t, a = 6.0, 4.5
    close(guided("joint", t, t), V00 + t * (VTA - V00))
    close(guided("text_first", t, a), V00 + t * (VT0 - V00) + a * (VTA - VT0))
    close(guided("audio_first", t, a), V00 + a * (V0A - V00) + t * (VTA - V0A))
    close(guided("audio_only", t, a), VT0 + a * (VTA - VT0))
    close(guided("auto", t, a), guided("text_first", t, a))
    close(guided("auto", t, t), guided("joint", t, t))


def test_equal_scales_make_the_three_forms_one():
    forms = [guidance(form, 5.0, 5.0) for form in ("joint", "text_first", "audio_first", "auto")]
    assert len(set(forms)) == 1 and len(forms[0].branches) == 2


@pytest.mark.parametrize(
    ("form", "text", "audio", "evaluations"),
    [
        ("joint", 5.0, 5.0, 2),
        ("auto", 5.0, 5.0, 2),
        ("auto", 5.0, 4.0, 3),
        ("text_first", 5.0, 4.0, 3),
        ("audio_first", 5.0, 4.0, 3),
        ("audio_only", 5.0, 4.0, 2),
        ("auto", 1.0, 1.0, 1),
        ("audio_only", 5.0, 1.0, 1),
        ("text_first", 1.0, 4.0, 2),
        ("audio_first", 4.0, 1.0, 2),
        ("text_first", 4.0, 0.0, 2),
        ("auto", 0.0, 0.0, 1),
    ],
)
def test_number_of_evaluations(form, text, audio, evaluations):
    chosen = guidance(form, text, audio)
    assert len(chosen.branches) == len(chosen.weights) == evaluations
    assert sum(chosen.weights) == pytest.approx(1.0)


def test_scale_1_is_the_conditional_model_alone():
    assert guidance("auto", 1.0, 1.0).branches == ((True, True),)
    np.testing.assert_array_equal(guided("auto", 1.0, 1.0), VTA)


def test_an_interval_is_open_below_and_closed_above():
    chosen = guidance("auto", 5.0, 5.0, (0.25, 0.75))
    assert chosen.guided(np.asarray([1.0, 0.76, 0.75, 0.5, 0.26, 0.25])).tolist() == [False, False, *[True] * 3, False]
    assert guidance("auto", 5.0, 5.0, (0.5, 0.5)).guided(np.asarray([0.6, 0.5, 0.4])).tolist() == [False] * 3


def test_without_an_interval_every_level_is_guided():
    assert guidance("auto", 5.0, 5.0).guided(sigma_grid("euler", 40, 5.0)[:-1]).all()


def test_what_is_the_full_branch_alone_is_the_same_everywhere():
    assert guidance("auto", 1.0, 1.0, (0.2, 0.4)).guided(np.asarray([1.0, 0.3, 0.1])).all()
    assert not guidance("auto", 0.0, 0.0, (0.2, 0.4)).guided(np.asarray([1.0, 0.1])).any()


def test_half_precision_velocities_are_combined_in_float32():
    velocities = jnp.stack([V00, VTA]).astype(jnp.bfloat16)
    combined = combine(jnp.asarray([-4.0, 5.0]), velocities)
    assert combined.dtype == jnp.float32
    np.testing.assert_array_equal(combined, combine(jnp.asarray([-4.0, 5.0]), velocities.astype(jnp.float32)))


def test_wrong_guidance_is_refused():
    with pytest.raises(InputError, match="one scale"):
        guidance("joint", 5.0, 4.0)
    with pytest.raises(InputError, match="auto, joint"):
        guidance("both", 5.0, 5.0)
    with pytest.raises(InputError, match="finite"):
        guidance("auto", 5.0, float("nan"))


@pytest.mark.parametrize("interval", [(0.6, 0.4), (-0.1, 0.5), (0.5, 1.5), (float("nan"), 1.0)])
def test_wrong_intervals_are_refused(interval):
    with pytest.raises(InputError, match="two noise levels from 0 to 1, the lower one first"):
        guidance("auto", 5.0, 5.0, interval)
