"""A whole pipeline of tiny networks with random parameters, in steps of the published one's proportions."""

import dataclasses
import functools

import jax
import numpy as np

from actavatar_jax import functional
from actavatar_jax.echomimic import EchoMimicDiT, EchoMimicEncoders, EchoMimicPipeline
from actavatar_jax.models import Execution, UMT5Config, UMT5Encoder, Wav2Vec2, Wav2Vec2Config
from actavatar_jax.models.clip import CLIPVision, CLIPVisionConfig
from actavatar_jax.models.wan_vae import Wan21VAEConfig, WanVAE
from actavatar_jax.prompt.tokenizer import fit_tokenizer
from actavatar_jax.weights import Component
from tests.echomimic.small import CONFIG

VAE = Wan21VAEConfig(  # a latent is 4x4 pixels, so that a token is 8x8
    encoder_base=4,
    decoder_base=4,
    z_dim=4,
    multipliers=(1, 1, 1),
    temporal_down=(True, True),
    res_blocks=1,
    latents_mean=(0.1,) * 4,
    latents_std=(0.5,) * 4,
)
SPEECH = Wav2Vec2Config(  # steps of 320 samples, as all published ones
    hidden=6, layers=2, heads=2, ffn=16, conv_dim=(4,) * 7, pos_conv_kernel=4, pos_conv_groups=2
)
CLIP = CLIPVisionConfig(width=20, heads=2, ffn=16, layers=1, image_size=8, patch=4)
TEXTS = ["A person talks.", "Bad hands."]
CONFIGS = {
    name: dataclasses.replace(CONFIG, variant=name, in_channels=12, text_len=24, layers=1, image_tokens=5)
    for name in ("preview", "flash")
}


def component(module, config, execution=None):
    """Every leaf random: nothing hides behind a zero or a one."""
    rng = np.random.default_rng(1)

    def draw(path, leaf):
        gain, few = path[-1].key in ("scale", "gain"), len(leaf.shape) < 2
        spread = 0.2 if few else np.prod(leaf.shape[:-1]) ** -0.5
        return (rng.normal(size=leaf.shape, scale=spread) + gain).astype(np.float32)

    params = jax.tree_util.tree_map_with_path(draw, functional.abstract(module, config))
    return Component(module, config, params, execution)


@functools.cache
def pipeline(variant):
    tokenizer = fit_tokenizer(TEXTS, 512)
    text = UMT5Config(vocab_size=len(tokenizer), width=12, heads=2, head_dim=4, ffn=12, layers=1)
    encoders = EchoMimicEncoders(
        tokenizer,
        component(UMT5Encoder, text),
        component(CLIPVision, CLIP),
        component(Wav2Vec2, SPEECH),
        component(WanVAE, VAE),
        variant,
        text_len=24,
    )
    return EchoMimicPipeline(component(EchoMimicDiT, CONFIGS[variant], Execution()), encoders)


def speech(frames):
    """16 kHz mono, as long as so many frames."""
    return (0.1 * np.sin(np.arange(frames * 640) ** 1.5 / 900)).astype(np.float32)


def picture(seed, height=48, width=32):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
