"""What EchoMimicDiT promises beside parity: its size, its start, and who hears what."""

import jax
import numpy as np
import pytest

from actavatar_jax import functional
from actavatar_jax.echomimic import EchoMimicConfig, EchoMimicDiT
from actavatar_jax.echomimic.config import AUDIO
from actavatar_jax.errors import InputError
from actavatar_jax.models import Execution
from tests.echomimic.small import (
    CONFIGS,
    FRAMES,
    HEIGHT,
    LATENTS,
    TIMES,
    WIDTH,
    inputs,
    random_params,
    relative_error,
    run,
)


@pytest.mark.parametrize(
    ("variant", "of_audio", "total"), [("preview", 142_786_560, 1_707_215_168), ("flash", 299_344_384, 1_863_772_992)]
)
def test_full_size_has_the_published_parameters(variant, of_audio, total):
    flat = functional.flatten(functional.abstract(EchoMimicDiT, EchoMimicConfig(variant=variant)))
    audio, backbone = functional.split(flat, AUDIO)
    assert functional.count(backbone) == 1_564_428_608
    assert functional.count(audio) == of_audio
    assert functional.count(flat) == total


@pytest.mark.slow
def test_preview_starts_deaf_and_learns_values_first():
    draw = jax.jit(functional.init, static_argnums=(0, 1), compiler_options=functional.RUN_ONCE)
    config = CONFIGS["preview"]
    params = draw(EchoMimicDiT, config, jax.random.key(0))
    params["head"]["out"]["kernel"] += 1.0  # zero at first, which would stop every gradient

    @jax.jit
    def gradient(audio_attn, given, latents, times):
        def energy(audio_attn):
            changed = params | {"blocks": params["blocks"] | {"audio_attn": audio_attn}}
            model = functional.bind(EchoMimicDiT, config, changed)
            return (model(latents, times, model.condition(**given)) ** 2).sum()

        return jax.grad(energy)(audio_attn)

    own = params["blocks"]["audio_attn"]
    found = gradient(own, inputs("preview"), LATENTS, np.tile(TIMES[:, None], (1, FRAMES)))
    for name in ("key", "value"):
        assert not np.any(own[name]["kernel"])
    assert not np.any(found["key"]["kernel"])
    assert np.all(np.any(found["value"]["kernel"], axis=(1, 2)))


def test_speech_is_heard_in_the_face_alone_and_by_its_strength():
    params = random_params("preview")
    tokens = HEIGHT // 2 * WIDTH // 2
    strengths = np.ones((2, 3), np.float32)
    deaf = run("preview", params, face=np.zeros((2, tokens), np.float32), strengths=strengths)
    silenced = strengths * np.float32([1, 1, 0])
    np.testing.assert_array_equal(
        run("preview", params, face=np.ones((2, tokens), np.float32), strengths=silenced), deaf
    )
    heard = run("preview", params, face=np.ones((2, tokens), np.float32), strengths=strengths)
    assert relative_error(heard, deaf) > 1e-2


@pytest.mark.parametrize(("source", "place"), [("text", 0), ("image", 1), ("audio", 2)])
def test_a_source_without_strength_does_nothing(source, place):
    """In the sample that leaves it out, and only there."""
    params = random_params("preview")
    strengths = np.ones((2, 3), np.float32)
    strengths[1, place] = 0
    face = np.ones((2, HEIGHT // 2 * WIDTH // 2), np.float32)
    plain, other = (
        run("preview", params, face=face, strengths=strengths, **{source: inputs("preview")[source] * factor})
        for factor in (1, np.float32(-1))
    )
    np.testing.assert_array_equal(plain[1], other[1])
    assert relative_error(other[0], plain[0]) > 1e-3


@pytest.mark.slow
def test_flash_ignores_the_query_of_its_weights():
    params = random_params("flash")
    plain = run("flash", params)
    params["blocks"]["audio_attn"]["query"] = jax.tree.map(np.zeros_like, params["blocks"]["audio_attn"]["query"])
    np.testing.assert_array_equal(run("flash", params), plain)


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["preview", "flash"])
def test_bf16_compute_stays_near_fp32(variant):
    params = random_params(variant)
    short = run(variant, params, execution=Execution(dtype="bfloat16", remat="full"))
    assert short.dtype == np.float32
    assert relative_error(short, run(variant, params)) < 0.05


@pytest.mark.parametrize(("variant", "needed"), [("preview", 18), ("flash", 9)])
def test_speech_of_another_length_is_told(variant, needed):
    given = inputs(variant)
    given["audio"] = given["audio"][:, :-1]
    model = functional.bind(EchoMimicDiT, CONFIGS[variant], random_params(variant))
    problem = f"There are {needed - 1} features of speech for a video of 9 frames; {variant} takes {needed}."
    with pytest.raises(InputError, match=problem):
        jax.eval_shape(lambda given: model.condition(**given), given)


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"variant": "turbo"}, "variant is 'turbo'; accepted is preview or flash"),
        ({"in_channels": 16}, "in_channels are 16; accepted are more than its out_channels, 16"),
        ({"layers": 0}, "layers is 0"),
        ({"patch": (2, 2, 2)}, "patch is .*accepted is 1, and two sides"),
    ],
)
def test_wrong_sizes(changed, problem):
    with pytest.raises(InputError, match=problem):
        EchoMimicConfig(**changed)
