"""What the picture and the speech are before the blocks attend to them.

B batch, T latent frames, F features of speech, D width, A audio tokens per latent frame, I picture tokens.
"""

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from actavatar_jax.echomimic.config import EchoMimicConfig
from actavatar_jax.errors import InputError
from actavatar_jax.models.execution import Execution
from actavatar_jax.models.layers import gelu, layer_norm, linear
from actavatar_jax.parallel import BATCH, SEQ, constrain

WINDOW = np.arange(-11, 6)  # features around feature 8i that latent frame i hears in `preview`
FOLLOWING = 6  # features of the frames after a window, of which the last latent frame hears the first ones


class ImageProjection(nnx.Module):
    """CLIP's hidden state -> tokens of the transformer's width: norm, linear, GELU, linear, norm."""

    def __init__(self, config: EchoMimicConfig, execution: Execution, *, rngs: nnx.Rngs):
        c, e = config, execution
        self.in_norm = layer_norm(c.image_dim, epsilon=1e-5, rngs=rngs)
        self.linear_1 = linear(c.image_dim, c.image_dim, e, rngs)
        self.linear_2 = linear(c.image_dim, c.width, e, rngs)
        self.out_norm = layer_norm(c.width, epsilon=1e-5, rngs=rngs)

    def __call__(self, image: Float[Array, "B I E"]) -> Float[Array, "B I D"]:
        # The error function here, tanh everywhere else.
        return self.out_norm(self.linear_2(gelu(self.linear_1(self.in_norm(image)))))


class AudioWindows(nnx.Module):
    """The audio projection of `preview`: a token of every feature, 17 of them for each latent frame."""

    def __init__(self, config: EchoMimicConfig, execution: Execution, *, rngs: nnx.Rngs):
        self.linear = linear(config.audio_dim, config.width, execution, rngs, use_bias=False)
        self.norm = layer_norm(config.width, epsilon=1e-5, rngs=rngs)

    def __call__(self, features: Float[Array, "B F E"], latent_frames: int) -> Float[Array, "B T A D"]:
        """Tokens of features at 50 Hz; beyond the ends they are zeros, and attended to all the same.

        The original moves these to the end of the window: attention does not know the order of its keys.
        """
        length = features.shape[1]
        windows = 8 * np.arange(latent_frames)[:, None] + WINDOW[None]
        inside = (windows >= 0) & (windows < length)
        tokens = self.norm(self.linear(features))[:, windows.clip(0, length - 1)]
        return constrain(jnp.where(inside[None, :, :, None], tokens, 0), BATCH, SEQ)


def check_audio(features: int, latent_frames: int, variant: str) -> None:
    """InputError where there are not as many features as the video is long: none is made up here.

    In a window of a longer video, the last latent frame of `preview` may hear six of the frames that follow.
    """
    frames, rate = 4 * latent_frames - 3, {"preview": 2, "flash": 1}[variant]
    if features != rate * frames and (variant, features) != ("preview", 2 * frames + FOLLOWING):
        raise InputError(
            f"There are {features} features of speech for a video of {frames} frames; {variant} takes {rate * frames}."
        )
