"""EchoMimicPipeline: picture + speech + prompt -> talking video, by EchoMimicV3 of either variant.

R rows of conditions, S text tokens, E widths of encoders, F video frames, T latent frames, h w pixel sides, H W latent
sides, C latent channels.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float, Float32, Int32, UInt8

from actavatar_jax import functional
from actavatar_jax.diffusion import BOTH, Guidance, Step, sample, sample_noise
from actavatar_jax.diffusion.solvers import model_times
from actavatar_jax.echomimic import inputs
from actavatar_jax.echomimic.chunks import cut_windows, join, window_fades
from actavatar_jax.echomimic.colours import match_colours
from actavatar_jax.echomimic.config import EchoMimicConfig
from actavatar_jax.echomimic.encoders import EchoMimicEncoders, part_configs
from actavatar_jax.echomimic.files import FILES, open_transformer, read_config, revision
from actavatar_jax.echomimic.levels import Plan, multiplied, noise_levels, plan_guidance
from actavatar_jax.echomimic.model import EchoMimicDiT
from actavatar_jax.echomimic.options import DEFAULTS, EchoMimicSampling
from actavatar_jax.echomimic.programs import (
    cached_function,
    embed,
    embed_times,
    embed_windows,
    teacache_memory,
    velocity_function,
    windows_function,
)
from actavatar_jax.echomimic.projections import FOLLOWING
from actavatar_jax.echomimic.request import Request, fit_request
from actavatar_jax.echomimic.tasks import Task, known_channels
from actavatar_jax.echomimic.teacache import plan_calls
from actavatar_jax.encoders.speech import check_standardised
from actavatar_jax.errors import InputError
from actavatar_jax.functional import Network
from actavatar_jax.media import FPS, Video
from actavatar_jax.models import Execution
from actavatar_jax.models.avatar.relay import window_penalty
from actavatar_jax.parallel import check_fit, make_mesh, param_shardings, share_values, to_host, use_mesh
from actavatar_jax.prompt import StructuredPrompt
from actavatar_jax.weights import Component, check_loading, choose_residences, find, size_of
from actavatar_jax.weights.loading import checked_dtype

ALONE = Guidance((BOTH,), (1.0,))  # branches are evaluated and weighed by the velocity function itself


@dataclasses.dataclass(frozen=True, eq=False)
class Told:
    """What all chunks of a video are told."""

    plan: Plan
    text: Float32[np.ndarray, "R S E"]  # of the plan's rows
    phase_ids: Int32[np.ndarray, "R S"]
    windows: Float[np.ndarray, "phases 2"] | None  # of the whole video, seconds; None: there are none to heed
    picture: Float32[np.ndarray, "I e"]
    speech: Float32[np.ndarray, "n *layers a"]  # of the whole video
    face: Float32[np.ndarray, " P"] | None  # where it is heard
    riflex: int | None  # latent frames of the whole video, where a frequency is slowed for them

    def penalty(self, begin: int, latent_frames: int) -> Float[Array, "R T S"] | None:
        """How far the latent frames of a chunk that begins with frame `begin` lie outside each token's window."""
        if self.windows is None:
            return None
        windows = np.stack([self.windows - begin / FPS] * len(self.phase_ids))
        return window_penalty(jnp.asarray(self.phase_ids), jnp.asarray(windows, jnp.float32), latent_frames)


@dataclasses.dataclass(frozen=True, eq=False)
class EchoMimicPipeline:
    """The networks in memory. Calling it makes one video."""

    transformer: Component
    encoders: EchoMimicEncoders
    mesh: Mesh | None = None

    @classmethod
    def from_pretrained(
        cls,
        transformer: str | Path,
        base: str | Path,
        audio_encoder: str | Path,
        variant: str = "preview",
        dtype: str = "float32",
        attention: str = "auto",
        configs: Mapping[str, Any] | None = None,
        mesh: Mesh | str | None = None,
        quantize: str | None = None,
        loras: Sequence[str | Path] = (),
        memory: str = "auto",
    ) -> "EchoMimicPipeline":
        """Reads the public files; nothing is downloaded.

        Args:
          transformer: the folder of EchoMimicV3's own file.
          base: the folder of Wan2.1-Fun-V1.1-1.3B-InP, of which the other networks are, and of which the transformer
            takes what its own file lacks.
          audio_encoder: a folder of wav2vec2-base-960h (preview) or chinese-wav2vec2-base (flash).
          variant: preview | flash.
          dtype: of the transformer's and the text encoder's weights and products; `bfloat16` on accelerators.
          attention: its form, see `models.attention`.
          configs: of the parts that have other sizes than the published ones.
          mesh: many devices, as a mesh or as "1,1,4": guidance branches are cut over the first two numbers, weights
            over the last two, latent frames over the last (`parallel.mesh`). None is one device.
          quantize: `int8` or `fp8`: the transformer's and text encoder's large kernels in a byte per weight.
          loras: files that are added to the transformer's weights, `FILE` or `FILE:strength` each; also those made for
            Wan2.1-Fun-1.3B, which has the same backbone.
          memory: of one device, `auto` (what it says itself) or such as `16GB`: where that is too little for all
            weights, some parts wait elsewhere until they are used. On a mesh all of them are on the devices.

        Raises:
          InputError: a file is missing or damaged, or does not fit.
        """
        check_loading(dtype, attention, quantize, memory)
        check_standardised(Path(audio_encoder) / "preprocessor_config.json")
        mesh = make_mesh(mesh) if isinstance(mesh, str) else mesh
        config = (configs or {}).get("transformer") or read_config(Path(transformer), variant)
        sizes = part_sizes(config, configs, Path(audio_encoder), dtype, quantize)
        places = None if mesh else choose_residences(sizes, memory)
        ways = {"dtype": checked_dtype(dtype), "revise": revision("transformer", config, quantize, loras)}
        if mesh is not None:
            ways["shardings"] = param_shardings(functional.abstract(EchoMimicDiT, config), mesh)
        reader = open_transformer(Path(transformer), Path(base), config, **ways)
        network = Network(EchoMimicDiT, config, Execution(dtype=dtype, attention=attention))
        return cls(
            Component.waiting(network, reader.read, places and places["transformer"]),
            EchoMimicEncoders.from_files(
                base,
                audio_encoder,
                variant,
                dtype,
                attention,
                configs,
                mesh=mesh,
                quantize=quantize,
                residences=places,
            ),
            mesh,
        )

    @property
    def variant(self) -> str:
        return self.transformer.config.variant

    def __call__(
        self,
        image: Any,
        audio: Any,
        prompt: Any,
        *,
        task: str = "first_frame",
        last_image: Any = None,
        video: Any = None,
        mouth: Any = None,
        face: Any = None,
        sampling: EchoMimicSampling | None = None,
        initial_noise: Any = None,
        callback: Callable[[Step], None] | None = None,
        **changes: Any,
    ) -> Video:
        """Makes one video.

        Args:
          image: PIL image, path or uint8 [h, w, 3]: the first frame, and what the video looks like. None where the task
            takes none (`request.TASKS`).
          audio: path, `Sound` or float [samples] at 16 kHz. The video is as long, unless `num_frames` is given.
          prompt: text, taken as it is; or with windows such as `[0-2s]`, in all forms of `StructuredPrompt.coerce`:
            then base and actions are told, and each action acts in its window (`options.phase_time`).
          task: first_frame | first_and_last | continuation | mouth | text_and_audio.
          last_image: the last frame of first_and_last.
          video: path, `Video` or uint8 [n, h, w, 3]: the frames with which continuation begins, or of whose mouth the
            task of that name makes another.
          mouth: (top, bottom, left, right) in pixels of the video, one for all frames or a list of them.
          face: where speech is heard in `preview`: the same of the image (or else the video's first frame), a function
            that finds it in such an array (None: there is none), or "everywhere".
          sampling: None is the variant's own, `options.DEFAULTS`.
          initial_noise: float [1, C, T, H, W] (the PyTorch layout) instead of noise from the seed; a list of them for
            a video in several chunks.
          callback: called after every solver step; what it raises ends the call.
          **changes: single options of `EchoMimicSampling`, in the place of those of `sampling`.

        Raises:
          InputError: one sentence on an input that does not fit.
        """
        s = (DEFAULTS[self.variant] if sampling is None else sampling).changed(**changes)
        given = {"image": image, "last_image": last_image, "video": video, "mouth": mouth, "face": face}
        request = self._fit(audio, s, task, given)
        noises = self._noises(initial_noise, s.seed, request)
        told = self._tell(inputs.read_prompt(prompt, s.phase_time, request.num_frames / FPS), s, request)
        frames = None
        for chunk, noise in zip(request.chunks, noises, strict=True):
            part = request.task.cut(chunk.begin, chunk.frames)
            part = part if frames is None else part.starting_with(frames[-chunk.known :])
            made = self._make(part, chunk.begin, told, s, noise, callback)
            frames = made if frames is None else join(frames, made, chunk.known, s.fade)
        frames = frames[: request.num_frames]
        frames = match_colours(frames) if s.match_colours and task != "mouth" else frames
        return Video(frames, request.recording.fit(len(frames)))

    def sample_latents(
        self, audio: Any, prompt: Any, *, sampling: EchoMimicSampling, task: str = "first_frame", **given: Any
    ) -> Float32[np.ndarray, "T H W C"]:
        """Latents of a video that is made at once; arguments are those of a call.

        Raises:
          InputError: as a call, and for a video in several chunks or in windows.
        """
        known, request = self.find_known(audio, sampling=sampling, task=task, **given)
        told = self._tell(inputs.read_prompt(prompt, sampling.phase_time, request.num_frames / FPS), sampling, request)
        return self._sample(known, 0, told, sampling, self._noises(None, sampling.seed, request)[0], None)

    def decode(self, latents: Float32[np.ndarray, "T H W C"], task: Task) -> UInt8[np.ndarray, "F h w 3"]:
        """The frames of a task's latents; a code that draws them from the first one has of that what is known."""
        frames = self.encoders.decode(latents)
        if not self.encoders.vae.config.sees_first_frame:
            return frames
        return self.encoders.decode(latents, np.where(task.known[0, ..., None], task.frames[0], frames[0]))

    def find_known(
        self, audio: Any, *, sampling: EchoMimicSampling, task: str = "first_frame", **given: Any
    ) -> tuple[Float32[np.ndarray, "T H W knownchannels"], Request]:
        """What of such a video is known, and what else it is made of; arguments and errors as of `sample_latents`."""
        request = self._fit(audio, sampling, task, given)
        if len(request.chunks) > 1 or sampling.windows:
            raise InputError(
                f"The video of {request.num_frames} frames is made in parts; accepted are up to "
                f"{sampling.chunk_frames} without windows."
            )
        return known_channels(request.task.cut(0, request.chunks[0].frames), self.encoders.vae), request

    def _fit(self, audio: Any, s: EchoMimicSampling, task: str, given: Mapping[str, Any]) -> Request:
        token = self.encoders.vae.config.stride * self.transformer.config.patch[1]
        request = fit_request(self.variant, s, task, audio, token, **given)
        for grid in self._grids(request) if self.mesh else ():
            check_fit(self.mesh, self.transformer.config.heads, batch=None, grid=grid)
        return request

    def _tell(self, prompt: str | StructuredPrompt, s: EchoMimicSampling, request: Request) -> Told:
        parts = self.encoders

        plan, dtype = plan_guidance(s, self.variant), (self.transformer.execution or Execution()).dtype
        texts = [prompt] + [s.negative_prompt] * any(row.negative is not None for row in plan.rows)
        with parts.text_encoder.on_device() as params:  # once for both: it may wait in its file
            here = dataclasses.replace(parts.text_encoder, params=params)
            form = (parts.tokenizer, here, self.transformer.config.text_len)
            (positive, phase_ids), *others = [inputs.encode_prompt(text, *form) for text in texts]
        negative = others[0][0] if others else None
        text = [
            positive if row.negative is None else multiplied(negative, s.negative_scale, row.negative, dtype)
            for row in plan.rows
        ]
        samples, frames = request.speech.to_audio(), request.num_frames
        return Told(
            plan,
            np.stack(text),
            np.stack([phase_ids if row.negative is None else np.zeros_like(phase_ids) for row in plan.rows]),
            prompt.windows() if isinstance(prompt, StructuredPrompt) else None,
            parts.picture(request.picture),
            inputs.encode_audio(samples, frames, parts.audio_encoder, self.variant),
            request.face,
            (frames + 2) // 4 + 1 if s.riflex else None,
        )

    def _make(
        self,
        part: Task,
        begin: int,
        told: Told,
        s: EchoMimicSampling,
        noise: Float32[np.ndarray, "1 T H W C"],
        callback: Callable[[Step], None] | None,
    ) -> UInt8[np.ndarray, "F h w 3"]:
        """The frames of a chunk that begins with frame `begin` of the video."""
        latents = self._sample(known_channels(part, self.encoders.vae), begin, told, s, noise, callback)
        return self.decode(latents, part)

    def _sample(
        self,
        known: Float32[np.ndarray, "T H W knownchannels"],
        begin: int,
        told: Told,
        s: EchoMimicSampling,
        noise: Float32[np.ndarray, "1 T H W C"],
        callback: Callable[[Step], None] | None,
    ) -> Float32[np.ndarray, "T H W C"]:
        sigmas = noise_levels(s, self.variant)
        with use_mesh(self.mesh), self.transformer.on_device() as params:
            velocity, conditions, own, memory = self._program(params, known, begin, told, s, sigmas)
            latents = sample(
                velocity,
                (params, conditions),
                noise=share_values(noise, self.mesh),
                clean=None,
                solver=s.solver,
                sigmas=sigmas,
                guidance=ALONE,
                per_step=own,
                memory=memory,
                callback=callback,
            )
            latents = to_host(latents)[0]
        if not np.isfinite(latents).all():
            raise InputError(
                "The sampled latents are not finite numbers; look for damage in the transformer's weights."
            )
        return latents

    def _program(
        self,
        params: Any,
        known: Float32[np.ndarray, "T H W K"],
        begin: int,
        told: Told,
        s: EchoMimicSampling,
        sigmas: Float[np.ndarray, "levels"],
    ) -> tuple[Callable, Any, tuple[Any, ...], Any]:
        """The velocity function of a chunk, its conditions, what it is given of each step, and its memory."""
        network, windows = self.transformer.network, cut_windows(len(known)) if s.windows else [(0, len(known))]
        # All but the last window hear a little of what follows.
        more = [FOLLOWING] * (len(windows) - 1) + [0]
        heard = [
            inputs.features_of(told.speech, begin + 4 * start, 4 * (end - start) - 3, self.variant, extra)
            for (start, end), extra in zip(windows, more, strict=True)
        ]
        audios = [np.stack([one if row.hears else np.zeros_like(one) for row in told.plan.rows]) for one in heard]
        own, seen = (told.plan.taken, told.plan.weights), (known, told.face, told.penalty(begin, len(known)))
        text, picture, audios, *seen = share_values((told.text, told.picture, audios, *seen), self.mesh)
        if s.windows:
            conditions = embed_windows(network, params, text, picture, audios, *seen, told.riflex)
            return windows_function(network), conditions, (*own, window_fades(s.steps)), None
        conditions = embed(network, params, text, picture, audios[0], *seen, told.riflex)
        if s.teacache == "off":
            return velocity_function(network), conditions, own, None
        times, branches, shared = model_times(s.solver, sigmas), told.plan.taken.shape[1], s.teacache == "shared"
        made = plan_calls(np.asarray(embed_times(network, params, times)), branches, s.teacache, s.teacache_threshold)
        memory = teacache_memory(network, 1 if shared else branches, known.shape[:3])
        return cached_function(network, shared), conditions, (*own, made), memory

    def _grids(self, request: Request) -> list[tuple[int, int, int]]:
        """Latent (T, H, W) of each chunk."""
        height, width = (side // self.encoders.vae.config.stride for side in request.task.known.shape[1:])
        return [((chunk.frames + 3) // 4, height, width) for chunk in request.chunks]

    def _noises(self, given: Any, seed: int, request: Request) -> list[Float32[np.ndarray, "1 T H W C"]]:
        """One for each chunk."""
        shapes = [(*grid, self.encoders.vae.config.latent_channels) for grid in self._grids(request)]
        if given is None:
            return [np.asarray(sample_noise(seed, np.asarray([i]), shape)) for i, shape in enumerate(shapes)]
        rows = list(given) if isinstance(given, list | tuple) else [given]
        noises = [np.moveaxis(np.asarray(one, np.float32), 1, -1) for one in rows]
        if [noise.shape for noise in noises] != [(1, *shape) for shape in shapes]:
            accepted = " and ".join(str((1, shape[-1], *shape[:-1])) for shape in shapes)
            raise InputError(f"The initial noise has shape {[np.shape(one) for one in rows]}; accepted is {accepted}.")
        return noises


def part_sizes(
    config: EchoMimicConfig,
    configs: Mapping[str, Any] | None,
    audio_encoder: Path,
    dtype: str = "float32",
    quantize: str | None = None,
) -> dict[str, int]:
    """Bytes that the parameters of each part take as `EchoMimicPipeline.from_pretrained` reads them; none is read."""
    speech, large = find(audio_encoder, "audio_encoder"), (dtype, quantize)
    sizes = {"transformer": config, **part_configs(configs)}
    ways = {name: large if name in ("transformer", "text_encoder") else ("float32", None) for name in sizes}
    found = {name: size_of(FILES[name], sizes[name], *way) for name, way in ways.items()}
    return found | {"audio_encoder": size_of(speech.kind, speech.config, "float32")}
