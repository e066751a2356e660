"""Tasks as masks: which pixels of which frames are known, and the channels that tell the transformer.

F video frames, T latent frames, h w pixel sides, H W latent sides, C latent channels, P tokens of a latent frame.
Source: antgroup/echomimic_v3 `src/pipeline_wan_fun_inpaint_audio.py` and `src/utils.py`.
"""

import contextlib
import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Float32, UInt8

from actavatar_jax.errors import InputError
from actavatar_jax.functional import Network
from actavatar_jax.media.clock import latent_frames
from actavatar_jax.storage import shown
from actavatar_jax.weights import Component

Box = Any  # four numbers: top, bottom, left, right in pixels


@dataclasses.dataclass(frozen=True, eq=False)
class Task:
    """A video to be made of which a part is known: `frames` hold it, and anything where `known` is False."""

    frames: UInt8[np.ndarray, "F h w 3"]
    known: Bool[np.ndarray, "F h w"]

    def cut(self, begin: int, num_frames: int) -> "Task":
        """Frames `begin` to `begin + num_frames`; beyond the end nothing is known."""
        part = slice(begin, begin + num_frames)
        beyond = (0, num_frames - len(self.known[part]))
        frames = np.pad(self.frames[part], (beyond, (0, 0), (0, 0), (0, 0)))
        return Task(frames, np.pad(self.known[part], (beyond, (0, 0), (0, 0))))

    def starting_with(self, start: UInt8[np.ndarray, "n a b 3"]) -> "Task":
        """The same with its first frames known as a whole."""
        _check_size("A frame", start[0], *self.known.shape[1:])
        frames, known = self.frames.copy(), self.known.copy()
        frames[: len(start)], known[: len(start)] = start, True
        return Task(frames, known)


def known_frames(
    num_frames: int, height: int, width: int, given: Mapping[int, UInt8[np.ndarray, "_ _ 3"]] | None = None
) -> Task:
    """Frames that are known as a whole, by their place in the video: none, the first, first and last, or many.

    Raises:
      InputError: one has another size than the video, or no place in it.
    """
    task = Task(np.zeros((num_frames, height, width, 3), np.uint8), np.zeros((num_frames, height, width), bool))
    for place, frame in (given or {}).items():
        if not 0 <= place < num_frames:
            raise InputError(f"Frame {place} is to be known of a video of {num_frames} frames; there is no such frame.")
        _check_size(f"Frame {place}", frame, height, width)
        task.frames[place], task.known[place] = frame, True
    return task


def replacement(video: UInt8[np.ndarray, "F h w 3"], region: Bool[np.ndarray, "n a b"]) -> Task:
    """All of a video known but a region of every frame, such as the mouth.

    Raises:
      InputError: the region is not of the video's size, or there is none.
    """
    if region.shape != video.shape[:3]:
        raise InputError(
            f"The region to replace is {_by(region.shape)} in {len(region)} frames; "
            f"the video is {_by(video.shape[:3])} in {len(video)}."
        )
    if not region.any():
        raise InputError("The region to replace is empty; mark at least a pixel of a frame.")
    return Task(video, ~region)


def region_of_boxes(
    boxes: Sequence[Box] | Float[np.ndarray, "n edges"], size: tuple[int, int], new_size: tuple[int, int]
) -> Bool[np.ndarray, "n h w"]:
    """The pixels of a box in each frame of a video that is brought from one (height, width) to another.

    Raises:
      InputError: a box is empty or beyond the frame.
    """
    region = np.zeros((len(boxes), *new_size), bool)
    for number, box in enumerate(boxes):
        checked = _checked_box(f"The region of frame {number}", box, size)
        edges = checked.reshape(2, 2) * np.divide(new_size, size)[:, None]
        (top, left), (bottom, right) = np.floor(edges[:, 0]).astype(int), np.ceil(edges[:, 1]).astype(int)
        region[number, top:bottom, left:right] = True
    return region


def known_channels(task: Task, vae: Component) -> Float32[np.ndarray, "T H W knownchannels"]:
    """Four channels of mask (1: known) and the latent of what is known, the rest of it grey; zeros where nothing is.

    Raises:
      InputError: the number of frames is not 4k + 1, or a side is no multiple of the latents' stride.
    """
    frames, height, width = task.known.shape
    stride = vae.config.stride
    if height % stride or width % stride:
        raise InputError(f"The video is {_by(task.known.shape)}; accepted are multiples of {stride}.")
    grid = (latent_frames(frames), height // stride, width // stride)
    if not task.known.any():
        return np.zeros((*grid, 4 + vae.config.latent_channels), np.float32)
    with vae.on_device() as params:
        latents = np.asarray(encode_known(vae.network, params, task.frames, task.known))
    return np.concatenate([mask_channels(task.known, stride), latents], axis=-1)


def mask_channels(known: Bool[np.ndarray, "F h w"], stride: int) -> Float32[np.ndarray, "T H W 4"]:
    """A channel for each frame of a latent frame; the first one is its only frame four times.

    The original's trilinear interpolation leaves time as it is, and in space comes to the mean of the four pixels in
    the middle of a latent.
    """
    middle = stride // 2 - 1
    rows = known[:, middle::stride].astype(np.float32) + known[:, middle + 1 :: stride]
    means = (rows[:, :, middle::stride] + rows[:, :, middle + 1 :: stride]) / 4
    grouped = np.concatenate([means[:1]] * 3 + [means]).reshape(-1, 4, *means.shape[1:])
    return np.moveaxis(grouped, 1, -1)


@functools.partial(jax.jit, static_argnames="network")
def encode_known(
    network: Network, params: Any, frames: UInt8[Array, "F h w 3"], known: Bool[Array, "F h w"]
) -> Float32[Array, "T H W C"]:
    pixels = (frames.astype(jnp.float32) / 127.5 - 1) * known[..., None]  # what is not known is grey, not black
    if network.config.sees_first_frame:  # or, where that is how much frames differ, does not differ from the first one
        pixels = jnp.where(known[..., None], pixels, pixels[:1])
    return network.bind(params).encode_stream(pixels[None])[0].astype(jnp.float32)


def face_tokens(box: Box, size: tuple[int, int], new_size: tuple[int, int], token: int) -> Float32[np.ndarray, " P"]:
    """1 on the tokens, in raster order, of a face in a picture brought from one (height, width) to another.

    As in the original, one factor serves both axes although sides are rounded apart, and all edges are rounded down.

    Args:
      box: of the face in the picture before.
      token: its side in pixels.

    Raises:
      InputError: the box is empty or beyond the picture, or no token is in it.
    """
    checked = _checked_box("The face", box, size)
    factor = np.sqrt(np.prod(new_size) / np.prod(size))
    top, bottom, left, right = np.floor(checked * factor / token).astype(int)
    tokens = np.zeros((new_size[0] // token, new_size[1] // token), np.float32)
    tokens[top:bottom, left:right] = 1
    if not tokens.any():
        raise InputError(f"The face {shown(box)} covers no token of {token} pixels; the picture shows it too small.")
    return tokens.ravel()


def _checked_box(name: str, box: Box, size: tuple[int, int]) -> Float[np.ndarray, "4"]:
    (height, width), edges = size, np.zeros(0)
    with contextlib.suppress(TypeError, ValueError):
        edges = np.asarray(box, np.float64)
    if edges.shape != (4,) or not (0 <= edges[0] < edges[1] <= height and 0 <= edges[2] < edges[3] <= width):
        raise InputError(
            f"{name} is {shown(box)}; accepted is (top, bottom, left, right) within {height} rows and {width} columns."
        )
    return edges


def _check_size(name: str, frame: np.ndarray, height: int, width: int) -> None:
    if frame.shape[:2] != (height, width):
        raise InputError(f"{name} is {_by((1, *frame.shape[:2]))}; the video is {_by((1, height, width))}.")


def _by(shape: tuple[int, ...]) -> str:
    return f"{shape[2]}x{shape[1]} pixels"
