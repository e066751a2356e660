"""What makes the video of a head: AvatarSync, parts of it, and the model that it is compared with.

F frames, s pixels a side.
"""

import dataclasses
from collections.abc import Callable

import numpy as np
from jaxtyping import Int, UInt8

from actavatar_jax.avatarsync import (
    AvatarSyncPipeline,
    KeyframePainter,
    KeyframeSampling,
    Part,
    compiled_interpolator,
    fill_frames,
    schedule,
)
from actavatar_jax.avatarsync.painting import decode_tokens, encode_pictures, to_bytes
from actavatar_jax.media import FPS
from actavatar_jax.pipeline import ActAvatarPipeline
from actavatar_jax.puppets.avatarsync.heads import Head, cut_head

Frames = UInt8[np.ndarray, "F s s 3"]
Make = Callable[[Head], Frames]


def as_drawn(head: Head) -> Frames:
    """The truth."""
    return head.frames


def decoded(tokenizer: Part) -> Make:
    """Every frame by itself, as its tokens have it: the best that keyframes can be."""
    encode, part = encoder(tokenizer), tokenizer.on_device()
    places = (-1, *tokenizer.config.tokens)
    return lambda head: to_bytes(
        np.asarray(decode_tokens(part.network, part.params, encode(head.frames).reshape(places)))
    )


def held(tokenizer: Part, keyframes: Part, sampling: KeyframeSampling) -> Make:
    """Every keyframe as long as it is the last one."""
    painter = KeyframePainter(tokenizer, keyframes)

    def make(head: Head) -> Frames:
        plan, portrait = head.plan.schedule, painter.read_portrait(head.frames[0])
        return to_bytes(painter.show(painter.draw(portrait, plan.ids, sampling, 0))[plan.left])

    return make


def filled(interpolator: Part) -> Make:
    """Frames between the keyframes as they were drawn."""
    interpolate = compiled_interpolator(interpolator)

    def make(head: Head) -> Frames:
        plan = head.plan.schedule
        drawn = head.frames[[int(k.time) for k in plan.keyframes]].astype(np.float32) / 255
        return to_bytes(fill_frames(drawn, plan, interpolate))

    return make


def whole(pipeline: AvatarSyncPipeline, allocation: str = "dynamic", paste: bool = False) -> Make:
    """All of it from the first frame and the sound; `allocation` says when keyframes are shown, see `schedule`, and
    `paste` whether the first frame is seen where nothing changes."""

    def make(head: Head) -> Frames:
        plan, rng = head.plan, np.random.default_rng(0)
        shown = schedule(plan.units, len(head.frames) / FPS, allocation=allocation, rng=rng)
        return pipeline(head.frames[0], dataclasses.replace(plan, schedule=shown), paste=paste).frames

    return make


def diffusion(pipeline: ActAvatarPipeline) -> Make:
    """What ActAvatar's puppets make of the same presenter and sound, their heads cut out; `head` is of their world."""

    def make(head: Head) -> Frames:
        clip = head.clip
        frames = pipeline(clip.frames[0], clip.audio, clip.prompt, num_frames=len(clip.frames)).frames
        return cut_head(frames, clip, head.frames.shape[1])

    return make


def encoder(tokenizer: Part) -> Callable[[Frames], Int[np.ndarray, "F N"]]:
    """Bytes -> tokens."""
    part = tokenizer.on_device()
    return lambda pixels: np.asarray(encode_pictures(part.network, part.params, pixels)).reshape(len(pixels), -1)
