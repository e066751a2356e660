"""AvatarSync on heads that no training saw: the whole, its parts, and beside it the diffusion model."""

import dataclasses
from collections.abc import Iterable, Mapping

from tqdm import tqdm

from actavatar_jax.avatarsync import ALLOCATIONS, AvatarSyncPipeline
from actavatar_jax.errors import InputError
from actavatar_jax.evaluation.report import Figure
from actavatar_jax.pipeline import ActAvatarPipeline
from actavatar_jax.puppets.avatarsync import makers
from actavatar_jax.puppets.avatarsync.heads import Head, make_head
from actavatar_jax.puppets.avatarsync.scores import score
from actavatar_jax.puppets.world.clips import World

Rows = dict[str, Mapping[str, Figure]]


def evaluate_heads(
    pipeline: AvatarSyncPipeline,
    world: World,
    seeds: Iterable[int],
    allocations: bool = False,
    rival: tuple[ActAvatarPipeline, World] | None = None,
) -> Rows:
    """The figures of what each maker makes of the heads of `seeds`: as drawn, by the tokenizer, by interpolation of
    drawn keyframes, by keyframes that are held, by the whole model, and by it with its frames pasted.

    With `allocations` also by the whole model with keyframes at other times; with a `rival`, an ActAvatar model and its
    world of puppets, by it as well. All clips are then as long as the rival's; it is measured against heads of its own
    drawings.
    """
    parts, seeds = pipeline.parts, list(seeds)
    world = dataclasses.replace(world, frames=rival[1].frames) if rival else world
    heads = draw_heads(pipeline, world, seeds)
    made = {
        "drawn": makers.as_drawn,
        "tokenizer": makers.decoded(parts.tokenizer),
        "between": makers.filled(parts.interpolator),
        "keyframes": makers.held(parts.tokenizer, parts.keyframes, parts.sampling),
        "model": makers.whole(pipeline),
        "pasted": makers.whole(pipeline, paste=True),
    }
    if allocations:
        made |= {f"model, {name}": makers.whole(pipeline, name) for name in ALLOCATIONS if name != "dynamic"}
    rows = {name: score(make, tqdm(heads, name, unit="clip")) for name, make in made.items()}
    if rival:
        model, theirs = rival
        rows["ActAvatar"] = score(
            makers.diffusion(model), tqdm(draw_heads(pipeline, theirs, seeds), "ActAvatar", unit="clip")
        )
    return rows


def draw_heads(pipeline: AvatarSyncPipeline, world: World, seeds: Iterable[int]) -> list[Head]:
    """Heads as large as the model takes them, with units of its level."""
    return [make_head(seed, world, side_of(pipeline), level=pipeline.level) for seed in seeds]


def side_of(pipeline: AvatarSyncPipeline) -> int:
    """Pixels of a head."""
    return pipeline.parts.tokenizer.config.stride * pipeline.parts.keyframes.config.tokens[0]


def world_of(pipeline: AvatarSyncPipeline) -> World:
    """The world whose heads a model was trained on; InputError if its folder names none."""
    if pipeline.parts.world is None:
        raise InputError(
            "The model folder does not say of which world of puppets it is; accepted is one of launch/avatarsync.py."
        )
    return World.from_dict(pipeline.parts.world)
