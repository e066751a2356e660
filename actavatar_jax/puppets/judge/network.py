"""PuppetJudge: reads actions, mouth, hands and appearance off the pixels of a puppet clip, and nothing else.

It is told neither prompt nor sound. Mouth, hands and appearance are read from each frame alone, so that their timing
is that of the picture; actions are read from 21 frames (0.84 s) around each. B batch, F frames.
"""

import dataclasses
import functools
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, UInt8
from PIL import Image

from actavatar_jax import functional
from actavatar_jax.errors import InputError
from actavatar_jax.evaluation.scores import Judgement
from actavatar_jax.storage import read_json, replaced_folder, write_json
from actavatar_jax.weights import Exported, Safetensors, names, write_sharded

SIDE = 64  # pixels; larger pictures are averaged down, smaller ones enlarged
LEAST_SIDE = 32  # drawn clips of this side are read as well as those of 64
SHIPPED_JUDGE = Path(__file__).parents[1] / "assets" / "judge"
STEM = "model"

PATCH, STEM_CHANNELS, BODY_CHANNELS, THIN_CHANNELS = 4, 32, 64, 24
EMBEDDING = 32
DILATIONS = (1, 2, 3, 4)  # of the convolutions over time, three taps each: 21 frames are seen


@dataclasses.dataclass(frozen=True)
class JudgeConfig:
    """The actions it tells apart, in the order of its outputs, and the width of what it keeps of a frame."""

    actions: tuple[str, ...]
    width: int = 96


class Readings(NamedTuple):
    """What the network says of every frame."""

    actions: Float[Array, "B F K"]  # logits: of no action, then of each
    mouth: Float[Array, "B F 2"]  # opening and width
    hands: Float[Array, "B F 2 2"]  # left and right; x, y as fractions of the side
    embeddings: Float[Array, "B F E"]  # of unit length


class PuppetJudge(nnx.Module):
    """Frames as patches, two convolutions, one vector per frame; then residual convolutions over time."""

    def __init__(self, config: JudgeConfig, *, rngs: nnx.Rngs):
        cells = (SIDE // PATCH // 2) ** 2
        self.stem = nnx.Conv(PATCH * PATCH * 3, STEM_CHANNELS, (3, 3), rngs=rngs)
        self.merge = nnx.Linear(4 * STEM_CHANNELS, BODY_CHANNELS, rngs=rngs)
        self.body = nnx.Conv(BODY_CHANNELS, BODY_CHANNELS, (3, 3), rngs=rngs)
        self.thin = nnx.Linear(BODY_CHANNELS, THIN_CHANNELS, rngs=rngs)
        self.frame = nnx.Linear(cells * THIN_CHANNELS, config.width, rngs=rngs)
        self.mouth = nnx.Linear(config.width, 2, rngs=rngs)
        self.hands = nnx.Linear(config.width, 4, rngs=rngs)
        self.look = nnx.Linear(BODY_CHANNELS + 4 * 4 * 3, BODY_CHANNELS, rngs=rngs)
        self.embedding = nnx.Linear(BODY_CHANNELS, EMBEDDING, rngs=rngs)
        self.past_and_future = nnx.Dict({str(d): TimeBlock(config.width, d, rngs=rngs) for d in DILATIONS})
        self.actions = nnx.Linear(config.width, 1 + len(config.actions), rngs=rngs)

    def __call__(self, pixels: Float[Array, "B F 64 64 3"]) -> Readings:
        """Pixels in [-1, 1]."""
        B, F = pixels.shape[:2]
        frames = pixels.reshape(B * F, SIDE, SIDE, 3)
        x = jax.nn.relu(self.stem(to_patches(frames, PATCH)))
        x = jax.nn.relu(self.merge(to_patches(x, 2)))
        x = jax.nn.relu(x + self.body(x))
        h = jax.nn.relu(self.frame(jax.nn.relu(self.thin(x)).reshape(B * F, -1)))

        colours = frames.reshape(B * F, 4, SIDE // 4, 4, SIDE // 4, 3).mean(axis=(2, 4)).reshape(B * F, -1)
        look = jax.nn.relu(self.look(jnp.concatenate([x.mean(axis=(1, 2)), colours], axis=-1)))
        embedding = self.embedding(look)
        embedding = embedding * jax.lax.rsqrt(jnp.sum(embedding**2, axis=-1, keepdims=True) + 1e-6)

        y = h.reshape(B, F, -1)
        for dilation in DILATIONS:
            y = self.past_and_future[str(dilation)](y)
        return Readings(
            self.actions(y),
            self.mouth(h).reshape(B, F, 2),
            self.hands(h).reshape(B, F, 2, 2),
            embedding.reshape(B, F, -1),
        )


class TimeBlock(nnx.Module):
    """Adds what the frame itself and those `dilation` before and after it say together; zeros beyond the ends."""

    def __init__(self, width: int, dilation: int, *, rngs: nnx.Rngs):
        self.norm = nnx.RMSNorm(width, rngs=rngs)
        self.mix = nnx.Linear(3 * width, width, rngs=rngs)
        self.dilation = dilation

    def __call__(self, x: Float[Array, "B F D"]) -> Float[Array, "B F D"]:
        F, d = x.shape[1], self.dilation
        padded = jnp.pad(self.norm(x), ((0, 0), (d, d), (0, 0)))
        around = jnp.concatenate([padded[:, :F], padded[:, d : F + d], padded[:, 2 * d :]], axis=-1)
        return x + jax.nn.relu(self.mix(around))


def to_patches(x: Float[Array, "N h w c"], size: int) -> Float[Array, "N H W C"]:
    """Squares of `size` by `size` positions become channels."""
    N, h, w, c = x.shape
    x = x.reshape(N, h // size, size, w // size, size, c).transpose(0, 1, 3, 2, 4, 5)
    return x.reshape(N, h // size, w // size, size * size * c)


# ---- the trained judge


@dataclasses.dataclass(frozen=True, eq=False)
class Judge:
    """A network with its parameters: frames in, `Judgement` out."""

    config: JudgeConfig
    params: functional.Params

    def __call__(self, frames: UInt8[np.ndarray, "F h w 3"]) -> Judgement:
        """Judges one clip of any length, square and at least 32 pixels a side. Compiles once per length."""
        readings = _read(self.config, self.params, resized(frames)[None] / 127.5 - 1)
        actions, mouth, hands, embeddings = (np.asarray(value)[0] for value in readings)
        return Judgement(self.config.actions, actions[:, 1:], *np.clip(mouth.T, 0, 1), hands, embeddings)


@functools.partial(jax.jit, static_argnums=0)
def _read(config: JudgeConfig, params: functional.Params, pixels: Float[Array, "B F 64 64 3"]) -> Readings:
    """The readings, with actions as probabilities."""
    readings = functional.bind(PuppetJudge, config, params)(pixels)
    return readings._replace(actions=jax.nn.softmax(readings.actions, axis=-1))


def resized(frames: UInt8[np.ndarray, "F h w 3"]) -> Float[np.ndarray, "F 64 64 3"]:
    """Area averages or cubic interpolation on a 64 x 64 grid, 0 to 255; InputError for pictures that are not square or
    too small."""
    side = frames.shape[1]
    if frames.shape[2] != side or side < LEAST_SIDE:
        accepted = f"accepted are square ones, {LEAST_SIDE} or more a side"
        raise InputError(f"The judge got frames of {frames.shape[2]}x{side} pixels; {accepted}.")
    if side == SIDE:
        return frames.astype(np.float32)
    if side < SIDE:
        larger = [Image.fromarray(frame).resize((SIDE, SIDE), Image.Resampling.BICUBIC) for frame in frames]
        return np.stack(larger).astype(np.float32)
    edges = np.arange(SIDE + 1) * (side / SIDE)
    pixel = np.arange(side)
    overlap = np.minimum(edges[1:, None], pixel + 1) - np.maximum(edges[:-1, None], pixel)
    shares = (np.clip(overlap, 0, None) * (SIDE / side)).astype(np.float32)  # [64, side], rows sum to 1
    rows = np.einsum("rh,fhwc->frwc", shares, frames.astype(np.float32), optimize=True)
    return np.ascontiguousarray(np.einsum("sw,frwc->frsc", shares, rows, optimize=True))


def save_judge(folder: str | Path, config: JudgeConfig, params: functional.Params) -> None:
    """Writes `config.json` and `model.safetensors`; replaces the folder once both are written."""
    names.check_shapes(params, functional.abstract(PuppetJudge, config))
    with replaced_folder(Path(folder)) as partial:
        write_sharded(partial, STEM, Exported(_table(config), params))
        write_json(partial / "config.json", {"actions": list(config.actions), "width": config.width})


def load_judge(folder: str | Path = SHIPPED_JUDGE) -> Judge:
    """Reads what `save_judge` wrote; InputError if a file is missing, broken, or does not fit the other."""
    folder = Path(folder)
    values = read_json(folder / "config.json")
    actions, width = values.get("actions"), values.get("width")
    if not (isinstance(actions, list) and all(isinstance(a, str) for a in actions) and isinstance(width, int)):
        raise InputError(f"{folder / 'config.json'} is no judge's; expected a list of actions and a whole width.")
    config = JudgeConfig(tuple(actions), width)
    abstract = functional.abstract(PuppetJudge, config)
    tensors = Safetensors(folder / f"{STEM}.safetensors")
    return Judge(config, names.import_params(_table(config), abstract, tensors, model=f"the judge of {folder}"))


def _table(config: JudgeConfig) -> names.Table:
    """Tensors are stored under our own names."""
    flat = functional.flatten(functional.abstract(PuppetJudge, config))
    return tuple(names.Entry(name.replace("/", "."), name) for name in flat)
