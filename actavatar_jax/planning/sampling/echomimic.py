"""A video of EchoMimicV3 on whatever machine, and the programs that make it, as those of the other system.

A longer video is made in chunks; there are programs for each length that chunks have.
"""

import collections
import dataclasses
import typing
from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp

from actavatar_jax.diffusion import sample_calls
from actavatar_jax.echomimic.chunks import cut_chunks
from actavatar_jax.echomimic.config import EchoMimicConfig
from actavatar_jax.echomimic.encoders import PARTS, part_configs
from actavatar_jax.echomimic.files import FILES
from actavatar_jax.echomimic.inputs import AREA, MULTIPLE, RATES, encode_whole, see_picture, video_size
from actavatar_jax.echomimic.levels import noise_levels, plan_guidance
from actavatar_jax.echomimic.options import DEFAULTS, EchoMimicSampling
from actavatar_jax.echomimic.pipeline import ALONE
from actavatar_jax.echomimic.programs import embed, velocity_function
from actavatar_jax.echomimic.tasks import encode_known
from actavatar_jax.encoders.encoders import PRECISION
from actavatar_jax.encoders.pictures import decode_video
from actavatar_jax.encoders.speech import encode_speech
from actavatar_jax.encoders.text import encode_text
from actavatar_jax.errors import InputError
from actavatar_jax.functional import Network, Params
from actavatar_jax.media.clock import SAMPLES_PER_FRAME, latent_frames
from actavatar_jax.models import Execution, Wav2Vec2, Wav2Vec2Config, forward_flops
from actavatar_jax.parallel import result_shapes, use_mesh
from actavatar_jax.planning.sampling.program import Place, Program, VideoPrograms, shape_of
from actavatar_jax.planning.sampling.workload import LARGE, Workload
from actavatar_jax.weights import check_loading, param_shapes
from actavatar_jax.weights.components import Loadable


@dataclasses.dataclass(frozen=True)
class EchoMimicWorkload:
    """One video of a portrait. InputError for one that cannot be made.

    `sampling` is completed: a square of the largest area, and one chunk, where it says nothing.
    """

    variant: str = "preview"
    sampling: EchoMimicSampling | None = None  # None: the variant's own
    dtype: str = "float32"
    attention: str = "auto"
    quantize: str | None = None
    platform: str | None = None  # as `Execution` has it
    watched: bool = True  # step by step, as `actavatar sample` does for its progress bar
    configs: Mapping[str, Any] | None = None  # of parts that have other sizes than the published ones

    # Height and width of the videos that the model was trained on, and their frames: not known.
    sizes: typing.ClassVar[tuple] = ()
    lengths: typing.ClassVar[tuple] = ()

    def __post_init__(self):
        check_loading(self.dtype, self.attention, self.quantize)
        if self.variant not in DEFAULTS:
            raise InputError(f"The variant is {self.variant!r}; accepted is {' or '.join(DEFAULTS)}.")
        s = self.sampling or DEFAULTS[self.variant]
        if s.windows or s.teacache != "off":
            raise InputError("Plans are of chunks that are evaluated in full; leave windows and teacache out.")
        side = round(AREA**0.5)
        height, width = (s.height, s.width) if s.height else video_size(side, side)
        s = s.changed(height=height, width=width, num_frames=s.num_frames or s.chunk_frames)
        object.__setattr__(self, "sampling", s)

    def changed(self, **sampling: Any) -> "EchoMimicWorkload":
        """The same with other options of sampling."""
        return dataclasses.replace(self, sampling=self.sampling.changed(**sampling))

    @property
    def parts(self) -> tuple[str, ...]:
        """Names of the networks."""
        return ("transformer", *PARTS)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.sampling.height, self.sampling.width

    @property
    def chunks(self) -> tuple[tuple[int, int], ...]:
        """How many there are of each number of frames, with that number; the longest come first."""
        s = self.sampling
        chunks = cut_chunks(s.num_frames, s.chunk_frames, s.overlap, s.chunk_tail)
        lengths = collections.Counter(chunk.frames for chunk in chunks)
        return tuple((count, frames) for frames, count in sorted(lengths.items(), reverse=True))

    @property
    def at_once(self) -> int:
        """Frames of the longest chunk."""
        return self.chunks[0][1]

    def shortened(self, frames: int) -> "EchoMimicWorkload | None":
        """The same video in chunks of so many frames; None where that is not fewer, or less than chunks have."""
        s = self.sampling
        return self.changed(chunk_frames=frames) if max(8, s.overlap + 4) < frames < self.at_once else None

    @property
    def grid(self) -> tuple[int, int, int]:
        """Latent (T, H, W) of the longest chunk."""
        return self.grid_of(self.at_once)

    def grid_of(self, frames: int) -> tuple[int, int, int]:
        """Latent (T, H, W) of a chunk."""
        stride = self._config("vae").stride
        return latent_frames(frames), self.size[0] // stride, self.size[1] // stride

    @property
    def branches(self) -> int:
        """What a step evaluates."""
        return plan_guidance(self.sampling, self.variant).taken.shape[1]

    @property
    def multiple(self) -> int:
        """What the sides of a video are multiples of."""
        return MULTIPLE

    def network(self, part: str) -> Network:
        """A part, as `EchoMimicPipeline.from_pretrained` computes it."""
        large = Execution(dtype=self.dtype, attention=self.attention, platform=self.platform)
        exact = Execution(precision=PRECISION, platform=self.platform)
        return Network(self._kind(part).module, self._config(part), large if part in LARGE else exact)

    def params(self, part: str) -> Params:
        """The shapes of its parameters."""
        return param_shapes(self._kind(part), self._config(part), *self._read(part))

    def stored(self, part: str) -> Params:
        """The same before anything is quantized."""
        return param_shapes(self._kind(part), self._config(part), self._read(part)[0])

    def _read(self, part: str) -> tuple[str, str | None]:
        return (self.dtype, self.quantize) if part in LARGE else ("float32", None)

    def _kind(self, part: str) -> Loadable:
        return FILES[part] if part in FILES else Loadable(Wav2Vec2)

    def _config(self, part: str) -> Any:
        own = {"transformer": EchoMimicConfig(variant=self.variant), "audio_encoder": Wav2Vec2Config()}
        return (own | part_configs() | dict(self.configs or {}))[part]


AnyWorkload = Workload | EchoMimicWorkload


class EchoMimicPrograms(VideoPrograms):
    """Those of `EchoMimicPipeline`."""

    def __init__(self, work: EchoMimicWorkload, place: Place):
        super().__init__(work, place)
        self.plan = plan_guidance(work.sampling, work.variant)
        self.makers = {
            "known frames": self.known_frames, "picture": self.picture, "text": self.text, "speech": self.speech,
            "conditions": self.conditions, "sampling": self.sampling, "decoding": self.decoding,
        }  # fmt: skip

    def known_frames(self) -> list[Program]:
        def program(count: int, frames: int) -> list[Program]:
            size = frames, *self.work.size
            pictures = shape_of(jnp.uint8, *size, 3), shape_of(jnp.bool, *size)
            return self.encoder("known frames", count, encode_known, "vae", *pictures)

        return self._of_chunks(program)

    def picture(self) -> list[Program]:
        side = self.networks["image_encoder"].config.image_size
        return self.encoder("picture", 1, see_picture, "image_encoder", shape_of(jnp.float32, side, side, 3))

    def text(self) -> list[Program]:
        """Of the prompt and, where steps are guided by it, of the negative one."""
        length, negative = self._config.text_len, any(row.negative is not None for row in self.plan.rows)
        tokens = shape_of(jnp.int32, length), shape_of(jnp.bool, length)
        return self.encoder("text", 1 + negative, encode_text, "text_encoder", *tokens)

    def speech(self) -> list[Program]:
        frames = self.work.sampling.num_frames
        samples = shape_of(jnp.float32, frames * SAMPLES_PER_FRAME)
        if self.work.variant == "flash":
            return self.encoder("speech", 1, encode_speech, "audio_encoder", samples, frames)
        return self.encoder("speech", 1, encode_whole, "audio_encoder", samples)

    def conditions(self) -> list[Program]:
        """Of all rows that branches take from."""
        return self._of_chunks(lambda count, frames: [self._conditions(count, frames)])

    def sampling(self) -> list[Program]:
        return self._of_chunks(self._sampling)

    def decoding(self) -> list[Program]:
        channels = self.networks["vae"].config.latent_channels

        def program(count: int, frames: int) -> list[Program]:
            latents = shape_of(jnp.float32, *self.work.grid_of(frames), channels)
            return self.encoder("decoding", count, decode_video, "vae", latents)

        return self._of_chunks(program)

    def _of_chunks(self, programs: Callable[[int, int], list[Program]]) -> list[Program]:
        """`programs` of so many chunks of so many frames, for each length that chunks have."""
        return [program for chunks in self.work.chunks for program in programs(*chunks)]

    def _conditions(self, count: int, frames: int) -> Program:
        c, rows, grid = self._config, len(self.plan.rows), self.work.grid_of(frames)
        flash = self.work.variant == "flash"
        layers = (c.audio_layers,) if flash else ()
        heard = RATES[self.work.variant] * frames
        inputs = (
            shape_of(jnp.float32, rows, c.text_len, c.text_dim),
            shape_of(jnp.float32, c.image_tokens, c.image_dim),
            shape_of(jnp.float32, rows, heard, *layers, c.audio_dim),
            shape_of(jnp.float32, *grid, c.known_channels),
            None if flash else shape_of(jnp.float32, c.tokens((1, *grid[1:]))),
        )
        network, params = self.networks["transformer"], self.params["transformer"]
        arguments = (network, params, *self.place.put(inputs, self.place.mesh))
        return Program("conditions", "transformer", count, embed, arguments, self.place.mesh)

    def _sampling(self, chunks: int, frames: int) -> list[Program]:
        network, params = self.networks["transformer"], self.params["transformer"]
        grid, mesh, s = self.work.grid_of(frames), self.place.mesh, self.work.sampling
        with use_mesh(mesh):
            lowered, counted = self._conditions(chunks, frames).lower()
            embedded = params, result_shapes(lowered, self.place.options)
            calls = sample_calls(
                velocity_function(network),
                embedded,
                noise=self.place.put(shape_of(jnp.float32, 1, *grid, network.config.out_channels), mesh),
                clean=None,
                solver=s.solver,
                sigmas=noise_levels(s, self.work.variant),
                guidance=ALONE,
                per_step=(self.plan.taken, self.plan.weights),
                watched=self.work.watched,
            )
        of_a_row = counted * (mesh.size if mesh else 1) / len(self.plan.rows)
        evaluation = forward_flops(network.config, grid) - of_a_row
        flops = {"step": evaluation * self.share(self.work.branches)}
        return [
            Program(name, "transformer", chunks * count, function, arguments, mesh, flops.get(name))
            for name, (count, function, arguments) in calls.items()
        ]

    @property
    def _config(self) -> EchoMimicConfig:
        return self.networks["transformer"].config
