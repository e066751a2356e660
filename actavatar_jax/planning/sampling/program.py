"""The programs that make a video, for devices that need not be here: shapes only, nothing is allocated.

They are those of a pipeline, called with what it calls them with: on the devices that are here, JAX has them compiled
by the time that the pipeline comes to them.
"""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec, SingleDeviceSharding

from actavatar_jax import functional
from actavatar_jax.diffusion import sample_calls
from actavatar_jax.encoders.pictures import decode_video, encode_video
from actavatar_jax.encoders.speech import encode_speech
from actavatar_jax.encoders.text import encode_text
from actavatar_jax.functional.kernels import Quantized
from actavatar_jax.media.clock import SAMPLE_RATE
from actavatar_jax.models import condition_flops, forward_flops
from actavatar_jax.parallel import (
    BATCH,
    RULES,
    SEQ,
    TEXT_ENCODER_RULES,
    WHOLE,
    fitting,
    local_part,
    param_shardings,
    result_shapes,
    use_mesh,
)
from actavatar_jax.pipeline import embed_conditions, fitting_params, velocity_function
from actavatar_jax.planning.flops import program_flops
from actavatar_jax.planning.sampling.workload import Workload

_RULES = {"transformer": RULES, "text_encoder": TEXT_ENCODER_RULES}  # all others are whole on every device


@dataclasses.dataclass(frozen=True)
class Place:
    """Where programs run: a mesh, or one device; if neither is named, the usual one of this machine."""

    mesh: Mesh | None = None
    device: Any = None
    options: dict | None = None  # of the compiler

    def mesh_of(self, part: str) -> Mesh | None:
        """The mesh that a part is on: encoders work in every process by themselves."""
        return self.mesh if part == "transformer" else local_part(self.mesh)

    def put(self, shapes: Any, mesh: Mesh | None) -> Any:
        """A tree of shapes that lie whole on every device."""
        if mesh is None and self.device is None:
            return shapes  # it goes where the rest is
        where = NamedSharding(mesh, PartitionSpec()) if mesh else SingleDeviceSharding(self.device)
        return jax.tree.map(lambda leaf: _placed(leaf, where), shapes)


@dataclasses.dataclass(frozen=True)
class Program:
    """A call of a jitted function."""

    name: str
    part: str  # whose parameters it takes
    times: int  # in a video
    function: Any
    arguments: tuple  # shapes in the place of arrays
    mesh: Mesh | None
    flops: float | None = None  # of one device; None: what `program_flops` counts, spread over the devices

    def lower(self) -> tuple[jax.stages.Lowered, float]:
        """The program, not yet compiled, and the FLOPs of one device."""
        with use_mesh(self.mesh):
            traced = self.function.trace(*self.arguments)
            counted = program_flops(traced.jaxpr) / (self.mesh.size if self.mesh else 1)
            return traced.lower(), counted if self.flops is None else self.flops


class VideoPrograms:
    """The programs of a video at a place; `makers` has what lowers them, in their order."""

    makers: dict[str, Callable[[], list[Program]]]

    def __init__(self, work: Any, place: Place):
        self.work, self.place = work, place
        self.networks = {part: work.network(part) for part in work.parts}
        self.params = {part: self._params(part) for part in work.parts}

    def share(self, rows: int) -> float:
        """Of the work on so many branches, what one device does."""
        mesh = self.place.mesh
        if mesh is None:
            return float(rows)
        with use_mesh(mesh):
            (own,) = NamedSharding(mesh, fitting((rows,), (BATCH,))).shard_shape((rows,))
        return own / mesh.shape[SEQ]

    def encoder(self, name: str, times: int, function: Callable, part: str, *inputs: Any) -> list[Program]:
        """A call of one of the frozen parts."""
        placed = (self.place.put(x, None) if isinstance(x, jax.ShapeDtypeStruct) else x for x in inputs)
        arguments = (self.networks[part], self.params[part], *placed)
        return [Program(name, part, times, function, arguments, self.place.mesh_of(part))]

    def _params(self, part: str) -> functional.Params:
        params, mesh = self.work.params(part), self.place.mesh_of(part)
        if mesh is None:
            return self.place.put(params, None)
        network = self.networks[part]
        cut = param_shardings(functional.abstract(network.module, network.config), mesh, _RULES.get(part, WHOLE))
        whole = NamedSharding(mesh, PartitionSpec())

        def placed(leaf: Any, where: NamedSharding) -> Any:
            if isinstance(leaf, Quantized):
                return Quantized(_placed(leaf.values, where), _placed(leaf.scale, whole))
            return _placed(leaf, where)

        flat, cut = functional.flatten(params), functional.flatten(cut)
        return functional.unflatten({name: placed(leaf, cut[name]) for name, leaf in flat.items()})


class Programs(VideoPrograms):
    """Those of `ActAvatarPipeline`."""

    def __init__(self, work: Workload, place: Place):
        super().__init__(work, place)
        self.makers = {
            "first frame": self.first_frame, "text": self.text, "speech": self.speech,
            "conditions": self.conditions, "sampling": self.sampling, "decoding": self.decoding,
        }  # fmt: skip

    def first_frame(self) -> list[Program]:
        return self.encoder("first frame", 1, encode_video, "vae", shape_of(jnp.uint8, 1, *self.work.size, 3))

    def text(self) -> list[Program]:
        """Of the prompt and of the negative one."""
        length = self.work.system.configs["transformer"].text_len
        tokens = shape_of(jnp.int32, length), shape_of(jnp.bool, length)
        return self.encoder("text", 2, encode_text, "text_encoder", *tokens)

    def speech(self) -> list[Program]:
        frames = self.work.sampling.num_frames
        samples = shape_of(jnp.float32, frames * SAMPLE_RATE // self.networks["transformer"].config.rate)
        return self.encoder("speech", 1, encode_speech, "audio_encoder", samples, frames)

    def conditions(self) -> list[Program]:
        """Of the branches that guided steps evaluate and, where there are others, of the single one of those."""
        return list(self._conditions.values())

    def sampling(self) -> list[Program]:
        network, params = self.networks["transformer"], self.params["transformer"]
        grid, mesh, s = self.work.grid, self.place.mesh, self.work.sampling
        with use_mesh(mesh):
            params = fitting_params(network, params)
            embedded = {
                guided: (params, result_shapes(one.lower()[0], self.place.options))
                for guided, one in self._conditions.items()
            }
            latents = functools.partial(shape_of, jnp.float32, 1)
            calls = sample_calls(
                velocity_function(network),
                embedded[True],
                noise=self.place.put(latents(*grid, network.config.in_channels), mesh),
                clean=self.place.put(latents(1, *grid[1:], network.config.in_channels), mesh),
                solver=s.solver,
                sigmas=self.work.sigmas,
                guidance=self.work.guidance,
                unguided=embedded.get(False),
                watched=self.work.watched,
            )
        evaluation = forward_flops(network.config, grid) - condition_flops(network.config, grid)
        rows = {"step": len(self.work.guidance.branches), "step without guidance": 1}
        flops = {name: evaluation * self.share(count) for name, count in rows.items()}
        return [Program(name, "transformer", *call, mesh, flops.get(name)) for name, call in calls.items()]

    def decoding(self) -> list[Program]:
        vae = self.work.system.configs["vae"]
        pictures = [shape_of(jnp.float32, *self.work.grid, vae.latent_channels)]
        if vae.sees_first_frame:
            pictures.append(shape_of(jnp.uint8, *self.work.size, 3))
        return self.encoder("decoding", 1, decode_video, "vae", *pictures)

    @functools.cached_property
    def _conditions(self) -> dict[bool, Program]:
        """By whether steps are guided."""
        guidance, network = self.work.guidance, self.networks["transformer"]
        branches = {True: len(guidance.branches)}
        if not guidance.guided(self.work.sigmas[:-1]).all():
            branches[False] = 1
        return {
            guided: Program(
                "conditions" if guided else "conditions without guidance",
                "transformer",
                1,
                embed_conditions,
                (network, fitting_params(network, self.params["transformer"]), *self._heard(rows), self.work.grid),
                self.place.mesh,
                self.share(rows) * condition_flops(network.config, self.work.grid),
            )
            for guided, rows in branches.items()
        }

    def _heard(self, rows: int) -> Any:
        """Text, phase ids, windows and speech of so many branches."""
        c, frames = self.networks["transformer"].config, self.work.sampling.num_frames
        inputs = (
            shape_of(jnp.float32, rows, c.text_len, c.text_dim),
            shape_of(jnp.int32, rows, c.text_len),
            shape_of(jnp.float32, rows, c.max_phases, 2),
            shape_of(jnp.float32, rows, frames, c.audio.feature_layers, c.audio.feature_width),
        )
        return self.place.put(inputs, self.place.mesh)


def device_bytes(tree: Any) -> int:
    """Bytes of all shapes in a tree on one device. What is in it several times counts once."""
    return sum(map(_bytes, {id(leaf): leaf for leaf in jax.tree.leaves(tree)}.values()))


def _bytes(leaf: Any) -> int:
    if not hasattr(leaf, "dtype"):
        return 0
    where = getattr(leaf, "sharding", None)
    return math.prod(where.shard_shape(leaf.shape) if where else leaf.shape) * leaf.dtype.itemsize


def _placed(leaf: jax.ShapeDtypeStruct, where: jax.sharding.Sharding) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=where)


def shape_of(dtype: Any, *shape: int) -> jax.ShapeDtypeStruct:
    """What stands for an array."""
    return jax.ShapeDtypeStruct(shape, dtype)
