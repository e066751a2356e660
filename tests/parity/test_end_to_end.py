"""A TI2V model folder written by diffusers gives the same film here and there: 8 UniPC steps."""

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from actavatar_jax import ActAvatarPipeline, functional
from actavatar_jax.prompt.tokenizer import fit_tokenizer

torch = pytest.importorskip("torch")
diffusers = pytest.importorskip("diffusers")
transformers = pytest.importorskip("transformers")

pytestmark = pytest.mark.slow

PROMPT = "A woman in business attire speaking professionally"
NEGATIVE = "blurred, static"
HEIGHT, WIDTH, FRAMES, STEPS, GUIDANCE = 64, 96, 9, 8, 5.0


def randomise(model, seed: int):
    """Every parameter random: gains around 1, the rest small enough for a flow that stays tame."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        gain = any(part in name for part in ("norm", "gamma")) and name.endswith(("weight", "gamma"))
        fan_in = max(parameter[0].numel(), 1) if parameter.ndim > 1 else 1
        spread = 0.1 if parameter.ndim == 1 or gain else fan_in**-0.5
        parameter.data = noise * spread + (1.0 if gain else 0.0)
    return model.eval()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A small random TI2V-5B-style folder, saved by diffusers itself."""
    path = tmp_path_factory.mktemp("ti2v")
    # The structure of TI2V-5B: per-token timesteps, 48 -> 8 channels, residual VAE.
    transformer = diffusers.WanTransformer3DModel(
        patch_size=(1, 2, 2), num_attention_heads=2, attention_head_dim=24, in_channels=8, out_channels=8, text_dim=32,
        freq_dim=32, ffn_dim=64, num_layers=2, cross_attn_norm=True, qk_norm="rms_norm_across_heads",
    )  # fmt: skip
    vae = diffusers.AutoencoderKLWan(
        base_dim=8, decoder_base_dim=8, z_dim=8, dim_mult=[1, 2, 4, 4], num_res_blocks=2, attn_scales=[],
        temperal_downsample=[False, True, True], latents_mean=[0.1 * i for i in range(8)],
        latents_std=[0.5 + 0.1 * i for i in range(8)], is_residual=True, in_channels=12, out_channels=12, patch_size=2,
        scale_factor_temporal=4, scale_factor_spatial=16,
    )  # fmt: skip
    text_encoder = transformers.UMT5EncoderModel(
        transformers.UMT5Config(
            vocab_size=512, d_model=32, d_kv=8, num_heads=4, d_ff=48, num_layers=2, feed_forward_proj="gated-gelu"
        )
    )
    fit_tokenizer([PROMPT, NEGATIVE], vocab_size=512).save(path / "tokenizer")
    pipeline = diffusers.WanImageToVideoPipeline(
        tokenizer=transformers.AutoTokenizer.from_pretrained(path / "tokenizer"),
        text_encoder=randomise(text_encoder, 0),
        vae=randomise(vae, 1),
        transformer=randomise(transformer, 2),
        scheduler=diffusers.UniPCMultistepScheduler(
            prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=5.0, num_train_timesteps=1000
        ),
        expand_timesteps=True,
    )
    pipeline.save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def speech_encoder(tmp_path_factory):
    """A random Wav2Vec2 of the size that the adapter of a plain folder expects, in a folder of its own."""
    path = tmp_path_factory.mktemp("wav2vec2")
    sizes = {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 4, "intermediate_size": 32}
    model = transformers.Wav2Vec2Model(transformers.Wav2Vec2Config(conv_dim=(16,) * 7, **sizes))
    model.save_pretrained(path)
    return path


def test_same_frames_as_diffusers(folder, speech_encoder):
    theirs = diffusers.WanImageToVideoPipeline.from_pretrained(folder)
    theirs.set_progress_bar_config(disable=True)
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    noise = rng.standard_normal((1, 8, (FRAMES - 1) // 4 + 1, HEIGHT // 16, WIDTH // 16)).astype(np.float32)
    want = theirs(
        image=Image.fromarray(image),
        prompt=PROMPT,
        negative_prompt=NEGATIVE,
        height=HEIGHT,
        width=WIDTH,
        num_frames=FRAMES,
        num_inference_steps=STEPS,
        guidance_scale=GUIDANCE,
        latents=torch.from_numpy(noise),
        output_type="np",
    ).frames[0]

    ours = ActAvatarPipeline.from_pretrained(folder, audio_encoder=speech_encoder)
    latents = []  # of the same call: its public result is rounded to 8 bits
    decode = ours.encoders.decode
    ours.encoders.decode = lambda x, *first: latents.append(x) or decode(x, *first)
    video = ours(
        image,
        rng.standard_normal(FRAMES * 640).astype(np.float32),  # any speech: the adapter is at its identity
        PROMPT,
        negative_prompt=NEGATIVE,
        height=HEIGHT,
        width=WIDTH,
        num_frames=FRAMES,
        steps=STEPS,
        text_guidance=GUIDANCE,
        audio_guidance=GUIDANCE,
        sigmas=theirs.scheduler.sigmas.numpy(),
        initial_noise=noise,
    )
    part = ours.encoders.vae
    pixels = functional.bind(part.module, part.config, part.params).decode(jnp.asarray(latents[0])[None])[0]
    got = (np.asarray(pixels) + 1) / 2
    assert want.std() > 0.05  # the films are not flat
    assert np.abs(want[1:] - want[:1]).max() > 0.05  # and they move
    assert np.abs(got - want).max() < 2e-3
    assert np.abs(video.frames / 255 - want).max() < 2e-3 + 0.5 / 255
