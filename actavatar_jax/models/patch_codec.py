"""PatchCodec: a linear code with the VAE's interface, fitted in seconds; for small worlds on a CPU.

Principal components of square patches: of frame 0 alone, then of groups of four frames, so the rule of 4k+1 frames, the
causality and the shapes are the VAE's. Pictures may be averaged down before they are coded. A learned decoder, if there
is one, then draws each group anew from its linear decode and the clean first frame.
B batch, F video frames, h w pixels, T latent frames, H W latent sides, C channels.
"""

import dataclasses
import typing
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg
from flax import nnx
from jaxtyping import Array, Float

from actavatar_jax import functional
from actavatar_jax.checks import Limit, check_fields, each
from actavatar_jax.errors import InputError
from actavatar_jax.models.frame_decoder import FrameDecoder, FrameDecoderConfig
from actavatar_jax.models.limits import SIDE, SIZE

GROUP = 4
STILLEST = 0.02  # of the mean deviation: what hardly moves in the clips at hand may move in others


@typing.no_type_check  # it does so itself, in sentences
@dataclasses.dataclass(frozen=True)
class PatchCodecConfig:
    """`places` are the rows and columns of patches with bases of their own; (1, 1): all patches share one.

    With `differences` the groups are coded as what they add to frame 0: still parts have the code 0, so that a model
    that knows frame 0 has only motion to learn. Patches are `patch` pixels a side of pictures that were averaged down
    by `reduce`.
    """

    channels: int = 48
    places: tuple[int, int] = (1, 1)
    differences: bool = False
    patch: int = 16
    reduce: int = 1
    decoder: FrameDecoderConfig | None = None

    LIMITS: typing.ClassVar[dict[str, Limit]] = {
        "channels": SIZE,
        "places": each(SIDE, 2),
        **dict.fromkeys(("patch", "reduce"), SIDE),
    }
    time_factor = GROUP  # frames per latent frame after the first

    def __post_init__(self):
        check_fields(self, "PatchCodec's ", **self.LIMITS)

    @property
    def stride(self) -> int:
        """Pixels of the picture along a side of a latent."""
        return self.patch * self.reduce

    @property
    def latent_channels(self) -> int:
        """Numbers in a latent, as of every VAE."""
        return self.channels

    @property
    def sees_first_frame(self) -> bool:
        """Whether decoding is given the clean first frame: what groups are differences from."""
        return self.differences

    @property
    def values(self) -> int:
        """Numbers in a patch of one frame."""
        return self.patch * self.patch * 3


class PatchCodec(nnx.Module):
    """latent = (patch - mean) basis / scale, pixels = latent scale basis^T + mean; bases have orthonormal columns.

    With bases for every place it takes pictures of one size only, in return for a sharper code of small worlds in
    which everything has its place: faces gain more than 2 dB.
    """

    def __init__(self, config: PatchCodecConfig, *, rngs: nnx.Rngs):
        c = self.config = config
        if c.channels > c.values:
            raise InputError(
                f"PatchCodec got {c.channels} channels; a {c.patch}x{c.patch} patch allows at most {c.values}."
            )
        if c.decoder and not c.differences:
            raise InputError("PatchCodec's learned decoder starts from the first frame: set differences.")
        self.first = Basis(c.values, c.channels, c.places, rngs=rngs)
        self.rest = Basis(GROUP * c.values, c.channels, c.places, rngs=rngs)
        if c.decoder:
            self.decoder = FrameDecoder(c.decoder, rngs=rngs)

    def encode(self, pixels: Float[Array, "B F h w 3"]) -> Float[Array, "B T H W C"]:
        """Pixels in [-1, 1] -> latents; F = 4k+1, sides multiples of `config.stride`."""
        c, (frames, height, width) = self.config, pixels.shape[1:4]
        if frames % GROUP != 1 or height % c.stride or width % c.stride:
            raise InputError(
                f"PatchCodec got {frames} frames of {height}x{width}; "
                f"it takes 4k+1 frames with sides in multiples of {c.stride}."
            )
        if c.places not in ((1, 1), (height // c.stride, width // c.stride)):
            raise InputError(
                f"PatchCodec got pictures of {height}x{width}; its bases are those of every place in "
                f"{c.places[0] * c.stride}x{c.places[1] * c.stride} and take no other size."
            )
        pixels = reduced(pixels, c.reduce)
        first, rest = patches(pixels[:, :1], c.patch), patches(pixels[:, 1:], c.patch)
        if c.differences:
            rest = rest - still(first)
        return jnp.concatenate([self.first.encode(first), self.rest.encode(rest)], axis=1)

    def encode_stream(self, pixels: Float[Array, "B F h w 3"]) -> Float[Array, "B T H W C"]:
        """The same as `encode`: a linear code has no activations to speak of."""
        return self.encode(pixels)

    def decode(
        self, latents: Float[Array, "B T H W C"], first: Float[Array, "B h w 3"] | None = None
    ) -> Float[Array, "B F h w 3"]:
        """Latents -> pixels clamped to [-1, 1].

        `first` is the clean first frame, which becomes frame 0 and the ground of the others; None: what the code keeps
        of it.
        """
        first, rest = self._first(latents, first), latents[:, 1:]
        batch, groups = rest.shape[:2]
        frames = self.draw(rest.reshape(-1, *rest.shape[2:]), jnp.repeat(first, groups, axis=0))
        return jnp.concatenate([first[:, None], frames.reshape(batch, -1, *frames.shape[2:])], axis=1)

    def decode_stream(
        self, latents: Float[Array, "B T H W C"], first: Float[Array, "B h w 3"] | None = None
    ) -> Float[Array, "B F h w 3"]:
        """The same as `decode`, one group of frames after another: memory does not grow with the clip."""
        first = self._first(latents, first)
        frames = jax.lax.map(lambda group: self.draw(group, first), latents[:, 1:].swapaxes(0, 1))
        frames = frames.swapaxes(0, 1).reshape(len(first), -1, *frames.shape[3:])
        return jnp.concatenate([first[:, None], frames], axis=1)

    def draw(self, group: Float[Array, "B H W C"], first: Float[Array, "B h w 3"]) -> Float[Array, "B 4 h w 3"]:
        """The four frames of one latent frame of each sample, and of its clean first frame."""
        frames = self.draw_linearly(group, first)
        return jnp.clip(self.decoder(frames, first) if self.config.decoder else frames, -1, 1)

    def draw_linearly(
        self, group: Float[Array, "B H W C"], first: Float[Array, "B h w 3"]
    ) -> Float[Array, "B 4 h w 3"]:
        """What `draw` gives without the learned decoder, not clamped."""
        frames = enlarged(unpatches(self.rest.decode(group[:, None]), self.config.patch), self.config.reduce)
        return frames + first[:, None] if self.config.differences else frames

    def strangeness(self, latents: Float[Array, "B T H W C"]) -> Float[Array, "B"]:
        """How far first frames are from those of the clips that the code was fitted on.

        Mean square of their components in units of those clips' deviations: about 1 for pictures of the same world.
        Others need much of the components that hardly vary there.
        """
        scale = self.first.scale[...]  # see `fit_patch_codec`: the square of it is in proportion to the deviation
        deviation = scale / jnp.sqrt(jnp.mean(scale**2, axis=-1, keepdims=True))
        return jnp.mean((latents[:, 0] / deviation[None]) ** 2, axis=(1, 2, 3))

    def _first(self, latents: Float[Array, "B T H W C"], first: Float[Array, "B h w 3"] | None) -> Array:
        if first is None:
            coded = unpatches(self.first.decode(latents[:, :1]), self.config.patch)
            first = enlarged(coded, self.config.reduce)[:, 0]
        return jnp.clip(first, -1, 1)


class Basis(nnx.Module):
    """Mean, directions and scales of the patches at every place."""

    def __init__(self, values: int, channels: int, places: tuple[int, int], *, rngs: nnx.Rngs):
        self.mean = nnx.Param(jnp.zeros((*places, values)))
        self.directions = nnx.Param(nnx.initializers.orthogonal()(rngs.params(), (*places, values, channels)))
        self.scale = nnx.Param(jnp.ones((*places, channels)))

    def encode(self, patches: Float[Array, "B T H W V"]) -> Float[Array, "B T H W C"]:
        return self._project(patches - self.mean[None, None], self.directions[...]) / self.scale[None, None]

    def decode(self, latents: Float[Array, "B T H W C"]) -> Float[Array, "B T H W V"]:
        return (
            self._project(latents * self.scale[None, None], self.directions[...].swapaxes(-1, -2))
            + self.mean[None, None]
        )

    def _project(self, x: Float[Array, "B T H W I"], matrix: Float[Array, "rows columns I O"]) -> Array:
        if matrix.shape[:2] == (1, 1):
            return x @ matrix[0, 0]
        return jnp.einsum("bthwi,hwio->bthwo", x, matrix)


def fit_patch_codec(clips: Sequence[Float[np.ndarray, "_ h w 3"]], config: PatchCodecConfig) -> functional.Params:
    """Parameters of the linear code of a `PatchCodec`, from clips of 4k+1 frames in [-1, 1].

    Scales are half-whitened (the square root of each component's deviation) and their overall size makes the mean
    variance of the latents 1: fully white codes give invisible detail the weight of the picture, raw ones drown the
    detail in noise.
    """
    rows = _rows(clips, config)
    fitted = [_fit_place(rows["first"][:, i, j], rows["rest"][:, i, j], config) for i, j in np.ndindex(config.places)]
    params = jax.tree.map(lambda *leaves: np.stack(leaves).reshape(*config.places, *leaves[0].shape), *fitted)
    for part in params.values():
        deviation = part["scale"]  # of the coefficients, so far
        deviation = np.maximum(deviation, STILLEST * deviation.mean())
        part["scale"] = _half_whitened(deviation, deviation.mean())
    if not config.differences:  # a still group of four frames has twice the norm of one frame
        params["first"]["scale"] = params["rest"]["scale"] / np.float32(np.sqrt(GROUP))
    return params


def widen_patch_codec(
    params: functional.Params, clips: Sequence[Float[np.ndarray, "_ h w 3"]], config: PatchCodecConfig
) -> functional.Params:
    """Parameters of a linear code with `config.channels`, of which the first are those of `params`, fitted before.

    The others are the principal components of what the first miss of `clips`, half-whitened in the same units.
    """
    rows = _rows(clips, config)
    return {name: _widen(params[name], rows[name], config.channels) for name in rows}


def _rows(
    clips: Sequence[Float[np.ndarray, "_ h w 3"]], config: PatchCodecConfig
) -> dict[str, Float[np.ndarray, "_ rows columns _"]]:
    """The patches that the bases of frame 0 and of the later groups are fitted on, by place."""
    places, side = config.places, config.patch
    clips = [np.asarray(reduced(clip[None], config.reduce)[0]) for clip in clips]
    first = np.concatenate([patches(clip[None, i : i + 1], side)[0] for clip in clips for i in range(len(clip))])
    rest = np.concatenate([_rest(clip, config) for clip in clips])
    if places == (1, 1):
        first, rest = first.reshape(-1, 1, 1, config.values), rest.reshape(-1, 1, 1, GROUP * config.values)
    return {"first": first, "rest": rest}


def _half_whitened(deviation: np.ndarray, mean: np.float32) -> np.ndarray:
    """Scales of components, from the deviations of their coefficients and the mean of those."""
    return np.sqrt(deviation) * np.sqrt(mean)


def _widen(
    basis: functional.Params, rows: Float[np.ndarray, "N rows columns V"], channels: int
) -> dict[str, np.ndarray]:
    """A basis of every place with further components, of what those in `basis` leave of `rows`."""
    mean, old, scale = (np.asarray(basis[name], np.float32) for name in ("mean", "directions", "scale"))
    usual = np.sqrt(np.mean(scale**2))  # the mean deviation, by `_half_whitened`
    directions = np.zeros((*old.shape[:-1], channels), np.float32)
    deviation = np.zeros((*old.shape[:2], channels - old.shape[-1]), np.float32)
    for place in np.ndindex(*old.shape[:2]):
        known = np.linalg.qr(old[place])[0]  # stored ones may be rounded
        centred = rows[:, *place] - mean[place]
        left = centred - (centred @ known) @ known.T
        # The known ones count as less than nothing: they are not found again where nothing else varies.
        found = _leading(left.T @ left / len(left) - known @ known.T, deviation.shape[-1])
        directions[place] = np.concatenate([old[place], found], axis=1)
        deviation[place] = (left @ found).std(axis=0)
    further = _half_whitened(np.maximum(deviation, STILLEST * usual), usual)
    return {"mean": mean, "directions": directions, "scale": np.concatenate([scale, further], axis=-1)}


def _rest(clip: Float[np.ndarray, "F h w 3"], config: PatchCodecConfig) -> Float[np.ndarray, "T H W V"]:
    """The patches of a clip's groups of four."""
    rest = patches(clip[None, 1:], config.patch)[0]
    return rest - np.tile(patches(clip[None, :1], config.patch)[0], GROUP) if config.differences else rest


def _fit_place(first: np.ndarray, rest: np.ndarray, config: PatchCodecConfig) -> functional.Params:
    """Bases of one place; `scale` is the deviation of the coefficients.

    Where groups are coded as they are, frame 0's components are rotated so that a still patch has nearly the same code
    in frame 0 and in a later group: the transformer then sees one space, and copying the first frame is close to the
    identity.
    """
    first_mean, first_basis = _components(first, config.channels)
    rest_mean, rest_basis = _components(rest, config.channels)
    if not config.differences:
        coded_still = np.tile(first - first_mean, GROUP) @ rest_basis
        left, _, right = np.linalg.svd(((first - first_mean) @ first_basis).T @ coded_still)
        first_basis = first_basis @ (left @ right)
    return {
        "first": _basis(first, first_mean, first_basis),
        "rest": _basis(rest, rest_mean, rest_basis),
    }


def _basis(rows: np.ndarray, mean: np.ndarray, directions: np.ndarray) -> functional.Params:
    return {"mean": mean, "directions": directions, "scale": ((rows - mean) @ directions).std(axis=0)}


def _components(rows: np.ndarray, channels: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean and leading principal directions (as columns)."""
    mean = rows.mean(axis=0)
    if channels <= len(rows) < len(mean):  # much faster for few patches
        vectors = np.linalg.svd(rows - mean, full_matrices=False)[2][:channels].T
        return mean.astype(np.float32), np.ascontiguousarray(vectors, dtype=np.float32)
    covariance = np.cov(rows - mean, rowvar=False, bias=True, dtype=np.float32)
    return mean.astype(np.float32), _leading(covariance, channels)


def _leading(symmetric: np.ndarray, count: int) -> np.ndarray:
    """The eigenvectors of the largest eigenvalues, as columns."""
    size = len(symmetric)
    vectors = scipy.linalg.eigh(symmetric, subset_by_index=(size - count, size - 1))[1]
    return np.ascontiguousarray(vectors[:, ::-1], dtype=np.float32)


def still(first: Float[Array, "B one H W V"]) -> Float[Array, "B one H W values"]:
    """The group of four frames that repeats frame 0."""
    return jnp.concatenate([first] * GROUP, axis=-1)


def reduced(pixels, times: int):
    """Squares of `times` by `times` pixels averaged: [B, F, h, w, 3] -> [B, F, h / times, w / times, 3]."""
    batch, frames, height, width, _ = pixels.shape
    if times == 1:
        return pixels
    return pixels.reshape(batch, frames, height // times, times, width // times, times, 3).mean(axis=(3, 5))


def enlarged(pixels: Float[Array, "B F h w 3"], times: int) -> Float[Array, "B F hh ww 3"]:
    """Bilinearly, to sides `times` as long."""
    batch, frames, height, width, _ = pixels.shape
    if times == 1:
        return pixels
    return jax.image.resize(pixels, (batch, frames, height * times, width * times, 3), "linear")


def patches(pixels, side: int):
    """[B, F, h, w, 3] -> [B, groups, H, W, values]: one frame is one group, else groups of four."""
    batch, frames, height, width, _ = pixels.shape
    group = 1 if frames == 1 else GROUP
    x = pixels.reshape(batch, frames // group, group, height // side, side, width // side, side, 3)
    x = x.transpose(0, 1, 3, 5, 2, 4, 6, 7)
    return x.reshape(batch, frames // group, height // side, width // side, group * side * side * 3)


def unpatches(x, side: int):
    """Inverse of `patches`."""
    batch, groups, height, width, values = x.shape
    group = values // (side * side * 3)
    x = x.reshape(batch, groups, height, width, group, side, side, 3)
    return x.transpose(0, 1, 4, 2, 5, 3, 6, 7).reshape(batch, groups * group, height * side, width * side, 3)
