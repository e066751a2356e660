"""Videos longer than what is made at once: chunks that know the last frames before, or windows over all latents.

F video frames, T latent frames, n frames of an overlap, h w pixel sides, H W latent sides, C latent channels.
Source: antgroup/echomimic_v3 `infer_preview.py` and `src/pipeline_wan_fun_inpaint_audio.py`.
"""

import dataclasses
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32, UInt8

from actavatar_jax.media.clock import floor_frames

WINDOW, SHARED = 29, 8  # latent frames of a sliding window, and those that it has in common with the next


@dataclasses.dataclass(frozen=True)
class Chunk:
    """Frames `begin` to `begin + frames` of a video; the first `known` are those of the chunk before."""

    begin: int
    frames: int  # 4k + 1
    known: int

    @property
    def end(self) -> int:
        return self.begin + self.frames


def cut_chunks(total: int, most: int, overlap: int, tail: str) -> list[Chunk]:
    """The chunks of a video of `total` frames, of `most` frames (4k + 1) each but for the last.

    tail: `pad`, the last one goes on beyond the end by up to 3 frames, which are to be cut off; `drop`, it ends before,
      as in the public code, which makes 4k + 1 frames of a video that is one chunk, and of any other one up to 6 fewer.
    """
    total = floor_frames(total) if tail == "drop" else total
    chunks, begin = [], 0
    while begin + most < total:
        chunks.append(Chunk(begin, most, overlap if begin else 0))
        begin += most - overlap
    left = total - begin
    chunks.append(Chunk(begin, floor_frames(left + 3 if tail == "pad" else left), overlap if begin else 0))
    return chunks


def join(
    video: UInt8[np.ndarray, "F h w 3"], chunk: UInt8[np.ndarray, "f h w 3"], overlap: int, fade: str
) -> UInt8[np.ndarray, "F+f-{overlap} h w 3"]:
    """The video and a chunk that goes on from it, cross-faded where both have a frame.

    fade: the weights of the chunk are `linspace` from 0 to 1, or `open` i / n, which end below 1.
    """
    weights = np.linspace(0, 1, overlap, endpoint=fade == "linspace", dtype=np.float32)[:, None, None, None]
    old, new = video[-overlap:].astype(np.float32), chunk[:overlap].astype(np.float32)
    mixed = np.rint(old * (1 - weights) + new * weights).astype(np.uint8)
    return np.concatenate([video[:-overlap], mixed, chunk[overlap:]])


def cut_windows(latent_frames: int) -> list[tuple[int, int]]:
    """First latent frame of each window and the one behind its last; a short clip is a single window."""
    starts = range(0, max(latent_frames - SHARED, 1), WINDOW - SHARED)
    return [(start, min(start + WINDOW, latent_frames)) for start in starts]


def blend_windows(
    windows: Sequence[tuple[int, int]],
    velocities: Sequence[Float[Array, "B _ H W C"]],
    fade: Float[Array, " shared"] | Float32[np.ndarray, " shared"],
) -> Float[Array, "B T H W C"]:
    """The velocity of all latents from those of the windows, which weigh `fade` where they begin on others.

    The original mixes latents after an Euler step. That is the same, and this holds for every solver.
    """
    whole, weights = velocities[0], fade[None, :, None, None, None]
    for (start, _), new in zip(windows[1:], velocities[1:], strict=True):
        old = whole[:, start : start + SHARED]
        mixed = old * (1 - weights) + new[:, :SHARED] * weights
        whole = jnp.concatenate([whole[:, :start], mixed, new[:, SHARED:]], axis=1)
    return whole


def window_fades(steps: int) -> Float32[np.ndarray, "{steps} shared"]:
    """Weights of a window's first latents at every step; at the first one it overwrites those before."""
    fades = np.tile(np.linspace(0, 1, SHARED, dtype=np.float32), (steps, 1))
    fades[0] = 1
    return fades
