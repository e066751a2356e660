"""A TI2V model folder written by diffusers gives the same film here and there: 8 UniPC steps.

Also where its text knows time as TIE's does (arXiv 2605.10543): an oracle of its own turns the queries and keys of
diffusers' transformer.
"""

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


def films(folder, speech_encoder, text, prompt, **options):
    """The film of diffusers, which is told `text(pipeline)`; ours of `prompt`, in float pixels and in 8 bits."""
    theirs = diffusers.WanImageToVideoPipeline.from_pretrained(folder)
    theirs.set_progress_bar_config(disable=True)
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    noise = rng.standard_normal((1, 8, (FRAMES - 1) // 4 + 1, HEIGHT // 16, WIDTH // 16)).astype(np.float32)
    want = theirs(
        image=Image.fromarray(image),
        **text(theirs),
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
        prompt,
        negative_prompt=NEGATIVE,
        height=HEIGHT,
        width=WIDTH,
        num_frames=FRAMES,
        steps=STEPS,
        text_guidance=GUIDANCE,
        audio_guidance=GUIDANCE,
        sigmas=theirs.scheduler.sigmas.numpy(),
        initial_noise=noise,
        **options,
    )
    part = ours.encoders.vae
    pixels = functional.bind(part.module, part.config, part.params).decode(jnp.asarray(latents[0])[None])[0]
    return want, (np.asarray(pixels) + 1) / 2, video.frames / 255


def check_films(want, got, rounded):
    assert want.std() > 0.05  # the films are not flat
    assert np.abs(want[1:] - want[:1]).max() > 0.05  # and they move
    assert np.abs(got - want).max() < 2e-3
    assert np.abs(rounded - want).max() < 2e-3 + 0.5 / 255


def test_same_frames_as_diffusers(folder, speech_encoder):
    text = {"prompt": PROMPT, "negative_prompt": NEGATIVE}
    check_films(*films(folder, speech_encoder, lambda _: text, PROMPT))


# ---- TIE


BASE, ACTIONS, WINDOWS = "A woman speaking", ("professionally", "in business attire"), ((0.0, 0.3), (0.2, 0.5))
RATE, SCALE = 16, 4.0  # video frames a second; of all times


def turned(x, angles, left):
    """Pairs (d, d + K/2) of every head turned by angles [L, K/2], times what is left of them."""
    heads = x.unflatten(-1, (2, -1)).double()
    a, b = heads.chunk(2, dim=-1)
    cos, sin = ((f(angles) * left)[:, None] for f in (torch.cos, torch.sin))
    return torch.cat([a * cos - b * sin, a * sin + b * cos], dim=-1).flatten(-2).to(x.dtype)


def tell_events(pipeline):
    """Arguments of the pipeline: base and events each tokenised alone, with the transformer's attention hooked."""
    pieces = [pipeline.tokenizer(one, add_special_tokens=False).input_ids for one in (BASE, *ACTIONS)]
    spans = [(0.0, 10.0), *WINDOWS]
    spans = torch.tensor([span for span, ids in zip(spans, pieces, strict=True) for _ in ids] + [spans[-1]])
    ids = torch.tensor([[*(i for piece in pieces for i in piece), pipeline.tokenizer.eos_token_id]])
    embedded = torch.zeros(1, 512, 32)
    embedded[:, : ids.shape[1]] = pipeline.text_encoder(ids).last_hidden_state.detach()

    rates = SCALE * 10_000.0 ** (-torch.arange(12, dtype=torch.float64) / 12)
    start, end = spans.double().split(1, dim=1)
    half = rates * (end - start) / 2
    left = torch.sinc(half / torch.pi)
    left = left / left.mean(dim=1, keepdim=True)
    keys = torch.zeros(512, 12, dtype=torch.float64), torch.ones(512, 12, dtype=torch.float64)
    keys[0][: len(spans)], keys[1][: len(spans)] = rates * (start + end) / 2, left
    middles = torch.tensor([0.125, *(i - 0.25 for i in range(1, (FRAMES - 1) // 4 + 1))], dtype=torch.float64)
    tokens = (HEIGHT // 32) * (WIDTH // 32)
    queries = (middles / (RATE / 4))[:, None].mul(rates).repeat_interleave(tokens, dim=0), torch.ones(1)

    transformer, timed = pipeline.transformer, []

    def note(module, args, kwargs):  # the negative prompt is a plain text: nothing of it turns
        timed[:] = [torch.equal(kwargs["encoder_hidden_states"], embedded)]

    transformer.register_forward_pre_hook(note, with_kwargs=True)
    for block in transformer.blocks:
        for norm, turns in ((block.attn2.norm_q, queries), (block.attn2.norm_k, keys)):
            norm.register_forward_hook(lambda _, args, out, turns=turns: turned(out, *turns) if timed[0] else out)
    return {"prompt_embeds": embedded, "negative_prompt": NEGATIVE}


def test_same_frames_as_diffusers_where_text_knows_time_by_intervals(folder, speech_encoder):
    phases = [
        {"start": start, "end": end, "action": action} for (start, end), action in zip(WINDOWS, ACTIONS, strict=True)
    ]
    prompt = {"base": BASE, "phases": phases}
    check_films(*films(folder, speech_encoder, tell_events, prompt, phase_time="tie", rate=RATE))
