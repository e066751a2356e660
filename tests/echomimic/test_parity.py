"""`EchoMimicDiT` against diffusers' transformer and against the original restated in PyTorch, float32."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from actavatar_jax import functional
from actavatar_jax.echomimic import EchoMimicDiT, tables
from actavatar_jax.echomimic.config import AUDIO
from actavatar_jax.echomimic.projections import WINDOW, AudioWindows
from actavatar_jax.models import Execution
from actavatar_jax.weights import names
from tests.echomimic.small import (
    CONFIG,
    CONFIGS,
    HEIGHT,
    LATENTS,
    TIMES,
    WIDTH,
    inputs,
    random_params,
    relative_error,
    run,
)

torch = pytest.importorskip("torch")
from tests.echomimic import original  # noqa: E402 - it is written in PyTorch

TOLERANCE = 1e-5


def channels_first(x):
    return torch.from_numpy(x).permute(0, 4, 1, 2, 3)


@pytest.mark.slow
def test_backbone_is_diffusers():
    """With a freshly initialised `preview`, whose speech is not heard yet."""
    diffusers = pytest.importorskip("diffusers")
    torch.manual_seed(0)
    model = diffusers.WanTransformer3DModel(
        patch_size=(1, 2, 2), num_attention_heads=3, attention_head_dim=24, in_channels=10, out_channels=4, text_dim=12,
        freq_dim=16, ffn_dim=96, num_layers=2, cross_attn_norm=True, qk_norm="rms_norm_across_heads", eps=1e-6,
        image_dim=20, added_kv_proj_dim=72, pos_embed_seq_len=None, rope_max_seq_len=1024,
    ).eval()  # fmt: skip
    for name, parameter in model.named_parameters():
        gain = "norm" in name and name.endswith("weight")
        spread = 0.2 if parameter.ndim == 1 or "table" in name else parameter[0].numel() ** -0.5
        parameter.data = torch.randn(parameter.shape) * spread + (1.0 if gain else 0.0)
    draw = jax.jit(functional.init, static_argnums=(0, 1), compiler_options=functional.RUN_ONCE)
    params = names.import_params(
        tables.diffusers(CONFIG),
        functional.abstract(EchoMimicDiT, CONFIG),
        names.Arrays({name: value.detach().numpy() for name, value in model.state_dict().items()}),
        initial=draw(EchoMimicDiT, CONFIG, jax.random.key(0)),
        may_miss=AUDIO,
    )
    given = inputs("preview")
    with torch.no_grad():
        want = model(
            hidden_states=torch.cat([channels_first(LATENTS), channels_first(given["known"])], 1),
            timestep=torch.from_numpy(TIMES),
            encoder_hidden_states=torch.from_numpy(given["text"]),
            encoder_hidden_states_image=torch.from_numpy(given["image"]),
        ).sample
    assert relative_error(run("preview", params), want.permute(0, 2, 3, 4, 1).numpy()) < TOLERANCE


FACE = np.random.default_rng(3).integers(0, 2, (2, HEIGHT // 2 * WIDTH // 2)).astype(np.float32)


@pytest.mark.slow
@pytest.mark.parametrize(("variant", "face", "scale"), [("preview", FACE, (1.0, 0.6)), ("flash", None, (1.0, 1.0))])
def test_variants_are_the_original(variant, face, scale):
    params, given, config = random_params(variant), inputs(variant), CONFIGS[variant]
    exported = names.export_params(tables.original(config), params)
    weights = {name: torch.from_numpy(np.array(value)) for name, value in exported}
    arguments = [torch.from_numpy(given[name]) for name in ("text", "image", "audio")]
    known, times = channels_first(given["known"]), torch.from_numpy(TIMES)
    options = {"face": None if face is None else torch.from_numpy(face)}
    options["audio_scale"] = torch.tensor(scale).reshape(2, 1, 1)
    with torch.no_grad():
        want = original.velocity(weights, config, channels_first(LATENTS), known, times, *arguments, **options)
    strengths = np.asarray([[1, 1, one] for one in scale], np.float32)
    want = want.permute(0, 2, 3, 4, 1).numpy()
    for cached in (False, True):
        got = run(variant, params, cached, face=face, strengths=strengths)
        assert relative_error(got, want) < TOLERANCE, cached


def test_windows_are_the_originals():
    """For whole and for odd numbers of features, whatever the original reckons of frames that do not divide."""
    for length in range(18, 1000, 7):
        frames = 4 * ((length // 2 - 1) // 4) + 1
        want = original.preview_ranges(length)
        assert len(want) == (frames - 1) // 4 + 1
        assert want == [(8 * i + int(WINDOW[0]), 8 * i + int(WINDOW[-1])) for i in range(len(want))], length


@pytest.mark.parametrize("length", [18, 226])
def test_tokens_beyond_the_ends_are_zeros(length):
    """Though the bias of the norm is not; the original has them at the end of the window."""
    config = CONFIGS["preview"]
    params = random_params("preview")["audio_projection"]
    weights = {
        "audio2token.proj.weight": torch.from_numpy(params["linear"]["kernel"].T.copy()),
        "audio2token.norm.weight": torch.from_numpy(params["norm"]["scale"]),
        "audio2token.norm.bias": torch.from_numpy(params["norm"]["bias"]),
    }
    features = np.random.default_rng(0).standard_normal((1, length, 6)).astype(np.float32)
    want = original.preview_tokens(weights, torch.from_numpy(features)).numpy()[0]
    got = np.asarray(functional.bind(Windows, config, params)(jnp.asarray(features), len(want)))[0]
    counts = [int(one.any(-1).sum()) for one in got]
    assert counts == ([6, 14] + [17] * 26 + [13] if length == 226 else [6, 14, 13])
    for i, count in enumerate(counts):
        assert not want[i, count:].any()
        assert relative_error(got[i][got[i].any(-1)], want[i, :count]) < TOLERANCE


class Windows(AudioWindows):
    def __init__(self, config, *, rngs):
        super().__init__(config, Execution(), rngs=rngs)
