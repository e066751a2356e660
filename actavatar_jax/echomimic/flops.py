"""FLOPs of EchoMimicV3's transformer, counted as those of the others (`models.flops`)."""

from actavatar_jax.echomimic.config import EchoMimicConfig
from actavatar_jax.echomimic.projections import WINDOW
from actavatar_jax.models.flops import Products, backbone_flops, products, projection_flops


@products.register
def _of_echomimic(config: EchoMimicConfig, grid: tuple[int, int, int]) -> Products:
    c, frames, tokens, seen = config, grid[0], config.tokens(grid), config.image_tokens
    inner = c.heads * c.head_dim
    weights, scores = backbone_flops(c, grid)
    weights += 2 * seen * c.image_dim * (c.image_dim + c.width) + c.layers * 4 * seen * c.width * inner
    scores += c.layers * 4 * tokens * inner * seen
    if c.variant == "flash":
        heard, projection = c.audio_tokens, projection_flops(c.flash_audio, frames)
    else:
        heard, projection = len(WINDOW), 2 * 2 * (4 * frames - 3) * c.audio_dim * c.width  # two features a frame
    block = 4 * tokens * inner * heard + 4 * frames * heard * c.width * inner  # the query is text's
    return Products(weights, scores, c.layers * block + projection)
