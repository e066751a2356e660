"""ActAvatarPipeline: portrait + speech + structured prompt -> talking video.

B batch (1 here), G guidance branches, T latent frames, H W latent height and width, C latent channels.
"""

import functools
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Float, Float32, UInt8

from actavatar_jax.diffusion import (
    BOTH,
    Guidance,
    Sampling,
    Step,
    check_sigmas,
    evaluations,
    keep_levels,
    sample,
    sample_noise,
    sigma_grid,
)
from actavatar_jax.diffusion.guidance import guidance as make_guidance
from actavatar_jax.encoders import Encoders
from actavatar_jax.errors import InputError
from actavatar_jax.functional import Network
from actavatar_jax.media import Sound, Video, choose_size, fit_image, load_image, load_sound
from actavatar_jax.media.clock import FPS, SAMPLES_PER_FRAME, latent_frames
from actavatar_jax.models import Execution, self_attention_form
from actavatar_jax.parallel import agreed, check_fit, make_mesh, param_shardings, share_values, to_host, use_mesh
from actavatar_jax.prompt import StructuredPrompt
from actavatar_jax.weights import Component, Defaults, check_parts, choose_residences, part_sizes
from actavatar_jax.weights import folder as folders

log = logging.getLogger(__name__)


class ActAvatarPipeline:
    """A model folder in memory. Calling it makes one video; `from_pretrained` reads it, `save_pretrained` writes it."""

    def __init__(
        self,
        transformer: Component,
        encoders: Encoders,
        defaults: Defaults = Defaults(),  # noqa: B008
        mesh: Mesh | None = None,
    ):
        self.transformer = transformer
        self.encoders = encoders
        self.defaults = defaults
        self.mesh = mesh

    @classmethod
    def from_pretrained(
        cls,
        folder: str | Path,
        dtype: str = "float32",
        attention: str = "auto",
        audio_encoder: str | Path | None = None,
        mesh: Mesh | str | None = None,
        quantize: str | None = None,
        loras: Sequence[str | Path] = (),
        adapter: str | Path | None = None,
        memory: str = "auto",
        working: Mapping[str, int] | None = None,
    ) -> "ActAvatarPipeline":
        """Loads a model folder (diffusers layout, ours or a plain Wan2.2-TI2V-5B one) or an original Wan folder.

        Args:
          folder: path on disk; nothing is downloaded.
          dtype: of the transformer's and text encoder's weights and matrix products; `bfloat16` on accelerators.
          attention: its form, see `models.attention`.
          audio_encoder: a Wav2Vec2 folder of transformers, for a plain folder that has none.
          mesh: many devices, as a mesh or as "2,1,4": guidance branches are cut over the first two numbers, weights
            over the last two, latent frames over the last (`parallel.mesh`). None is one device.
          quantize: `int8` or `fp8`: the transformer's and text encoder's large kernels in a byte per weight.
          loras: files that are added to the transformer's weights, `FILE` or `FILE:strength` each.
          adapter: file of stage 1 whose audio adapter takes the place of the transformer's own.
          memory: of one device, `auto` (what it says itself) or such as `24GB`: where that is too little for all
            weights, some parts wait elsewhere until they are used. On a mesh all of them are on the devices.
          working: bytes that each part's programs take besides weights, of a plan (`planning.sampling`); None: a guess.
        """
        mesh = make_mesh(mesh) if isinstance(mesh, str) else mesh
        shardings = None if mesh is None else functools.partial(param_shardings, mesh=mesh)
        check_parts(folder, audio_encoder)
        sizes = part_sizes(folder, dtype, audio_encoder, quantize)
        places = None if mesh else choose_residences(sizes, memory, working)
        residence = places["transformer"] if places else None
        return cls(
            folders.load(
                folder,
                "transformer",
                dtype,
                shardings,
                quantize,
                loras,
                adapter,
                residence,
                attention=attention,
            ),
            Encoders.from_folder(folder, dtype, audio_encoder, mesh, quantize, places),
            folders.load_defaults(folder),
            mesh,
        )

    def save_pretrained(self, folder: str | Path) -> None:
        """Writes the model folder that `from_pretrained` reads."""
        self.encoders.save(folder)
        with self.transformer.on_device() as params:
            folders.save(folder, "transformer", self.transformer.config, params)
        folders.save_index(folder, self.defaults)

    def __call__(
        self,
        image: Any,
        audio: Any,
        prompt: StructuredPrompt | dict | str,
        sampling: Sampling | None = None,
        *,
        sigmas: Any = None,
        initial_noise: Any = None,
        anyway: bool = False,
        callback: Callable[[Step], None] | None = None,
        **changes: Any,
    ) -> Video:
        """Makes one video. Over several processes each of them calls this alike, and each gets the video.

        Args:
          image: PIL image, path or uint8 [H, W, 3]; resized to cover the frame, then cut around its centre.
          audio: path, `Sound` or float [samples] at 16 kHz; padded with silence or cut to the video's length. The
            video keeps its rate and channels.
          prompt: structured prompt, its dict form, or text with anchors such as `[0-2s]`.
          sampling: steps, solver, guidance, length, size, seed, ...; None is the model's own, `defaults.sampling`.
          sigmas: float [steps + 1] falling to 0 instead of the solver's own grid.
          initial_noise: float [1, C, T, H, W] (the PyTorch layout) instead of noise from the seed.
          anyway: also of a portrait that the model's codec cannot show.
          callback: called after every solver step, in all processes alike; what it raises ends the call. Without one
            all steps are a single program.
          **changes: single options of `Sampling`, such as `steps=8`, in the place of those of `sampling`.

        Raises:
          InputError: one sentence on an input that does not fit.
        """
        given = {"sigmas": sigmas, "initial_noise": initial_noise, "anyway": anyway, "callback": callback}
        latents, picture, sound = self.sample_latents(image, audio, prompt, sampling, **given, **changes)
        with agreed():
            return Video(self.encoders.decode(latents, picture), sound)

    def sample_latents(
        self,
        image: Any,
        audio: Any,
        prompt: StructuredPrompt | dict | str,
        sampling: Sampling | None = None,
        *,
        sigmas: Any = None,
        initial_noise: Any = None,
        anyway: bool = False,
        callback: Callable[[Step], None] | None = None,
        **changes: Any,
    ) -> tuple[Float32[np.ndarray, "T H W C"], UInt8[np.ndarray, "h w 3"], Sound]:
        """All of a call but the decoding: latents, the portrait and the sound as they were fitted. Arguments are those
        of a call."""
        with agreed():  # every process reads and encodes by itself
            s = self._sampling(sampling, changes)
            num_frames = s.num_frames or self.defaults.num_frames
            portrait = load_image(image)
            height, width = self._size(portrait, s.height, s.width)
            stride = self.encoders.vae.config.stride
            grid = (latent_frames(num_frames), height // stride, width // stride)
            prompt = StructuredPrompt.coerce(prompt)
            prompt.check(duration=num_frames / FPS)
            negative = self.defaults.negative_prompt if s.negative_prompt is None else s.negative_prompt
            plan = make_guidance(s.guidance, s.text_guidance, s.audio_guidance, s.guidance_interval)
            self._check_mesh(len(plan.branches), grid)
            self._report_attention(len(plan.branches), grid)
            self._compare_with_training((height, width), num_frames)
            sigmas = self._levels(s, plan, sigmas)
            sound = load_sound(audio, num_frames)
            picture = fit_image(portrait, height, width)
            first = self.encoders.video(picture[None])[None]
            if not anyway:
                self._check_portrait(image, first[0])
            noise = self._noise(s.seed, initial_noise, (*grid, first.shape[-1]))
            conditions = self._conditions((*plan.branches, BOTH), prompt, negative, sound.to_audio())
            guided, unguided = ([array[rows] for array in conditions] for rows in (slice(-1), slice(-1, None)))
        first, noise, guided, unguided = share_values((first, noise, guided, unguided), self.mesh)
        network = self.transformer.network
        with use_mesh(self.mesh), self.transformer.on_device() as params:

            def embedded(rows):
                return params, embed_conditions(network, params, *rows, grid)

            latents = sample(
                velocity_function(network),
                embedded(guided),
                noise=noise,
                first_frame=first,
                solver=s.solver,
                sigmas=sigmas,
                guidance=plan,
                unguided=None if plan.guided(sigmas[:-1]).all() else embedded(unguided),
                callback=callback,
            )
            return to_host(latents)[0], picture, sound

    def _sampling(self, sampling: Sampling | None, changes: dict[str, Any]) -> Sampling:
        if sampling is None:
            sampling = self.defaults.sampling
        if not isinstance(sampling, Sampling):
            raise InputError(f"The sampling is {sampling!r}; accepted is a Sampling, or single options by their names.")
        return sampling.changed(**changes)

    def _levels(self, s: Sampling, plan: Guidance, sigmas: Any) -> Float[np.ndarray, " n"]:
        """The solver's own noise levels or those that were given, without those that are skipped."""
        if sigmas is None:
            every = sigma_grid(s.solver, s.steps, s.shift)
        else:
            every = check_sigmas(np.asarray(sigmas, np.float32))
        kept = keep_levels(every, self.defaults.velocity_path, s.skip) if s.skip else every
        count, most = evaluations(plan, kept), len(plan.branches) * (len(every) - 1)
        if count < most:
            log.info("%d evaluations of the transformer instead of %d", count, most)
        return kept

    def _compare_with_training(self, size: tuple[int, int], num_frames: int) -> None:
        """A warning of a size or a length that the model has not been trained on."""
        sizes, lengths, asked, trained = self.defaults.sizes, self.defaults.lengths, [], []
        if sizes and size not in sizes:
            asked.append(_by(size))
            trained.append(" or ".join(map(_by, sizes)))
        if lengths and num_frames not in lengths:
            asked.append(f"{num_frames} frames")
            trained.append(f"{' or '.join(map(str, lengths))} frames")
        if asked:
            log.warning("%s asked for, but the model was trained on %s.", " and ".join(asked), " and ".join(trained))

    def _check_portrait(self, image: Any, first: Float32[np.ndarray, "1 H W C"]) -> None:
        """Refuses a portrait that is not of the world on which a small model's codec was fitted."""
        limit = self.defaults.strangest_portrait
        if limit is not None and (found := self.encoders.strangeness(first)) > limit:
            name = f"Image {image}" if isinstance(image, str | Path) else "The image"
            raise InputError(
                f"{name} is not of the world that this model shows: its strangeness to the codec is {found:.1f}, "
                f"accepted is at most {limit:g}; anyway=True (--anyway) samples it all the same."
            )

    def _check_mesh(self, branches: int, grid: tuple[int, int, int]) -> None:
        if self.mesh is None:
            return
        check_fit(self.mesh, self.transformer.config.heads, batch=None, grid=grid)
        copies = self.mesh.shape["data"] * self.mesh.shape["fsdp"]
        if branches % copies:
            log.info(
                "%d guidance branches do not divide by data x fsdp = %d: some work is done twice.", branches, copies
            )

    def _report_attention(self, branches: int, grid: tuple[int, int, int]) -> None:
        c, execution = self.transformer.config, self.transformer.execution or Execution()
        tokens, mesh = c.tokens(grid), None if self.mesh is None else self.mesh.shape
        form = self_attention_form(execution, c.heads, c.head_dim, samples=branches, tokens=tokens, mesh=mesh)
        log.info("%d tokens in %d branches; attention: %s", tokens, branches, form)

    def _size(self, picture: np.ndarray, height: int | None, width: int | None) -> tuple[int, int]:
        multiple = self.encoders.vae.config.stride * self.transformer.config.patch[1]
        if height is None:
            return choose_size(*picture.shape[:2], self.defaults.area, multiple)
        if height % multiple or width % multiple:
            raise InputError(
                f"The size {height}x{width} does not fit; height and width must be multiples of {multiple}."
            )
        return height, width

    def _conditions(self, branches, prompt, negative: str, speech: np.ndarray) -> tuple[np.ndarray, ...]:
        """Text, phase ids, windows and speech of all guidance branches, branch-major."""
        text, phase_ids = self.encoders.text([prompt, StructuredPrompt(base=negative)], strict=False)
        audio = self.encoders.audio(speech, len(speech) // SAMPLES_PER_FRAME)
        rows = np.asarray([0 if use_text else 1 for use_text, _ in branches])
        windows = np.stack([prompt.windows(self.transformer.config.max_phases)] * len(branches))
        heard = np.stack([audio if use_audio else np.zeros_like(audio) for _, use_audio in branches])
        return text[rows], phase_ids[rows], windows, heard

    def _noise(self, seed: int, initial_noise: Any, shape: tuple[int, ...]) -> Float32[np.ndarray, "1 T H W C"]:
        if initial_noise is None:
            with use_mesh(self.encoders.mesh):
                return np.asarray(sample_noise(seed, np.arange(1), shape))
        noise = np.moveaxis(np.asarray(initial_noise, np.float32), 1, -1)
        if noise.shape != (1, *shape):
            want = (1, shape[-1], *shape[:-1])
            raise InputError(f"The initial noise has shape {np.shape(initial_noise)}; this video needs {want}.")
        return noise


def _by(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]} pixels"


@functools.partial(jax.jit, static_argnums=(0, 6))
def embed_conditions(network: Network, params, text, phase_ids, windows, audio, grid: tuple[int, int, int]):
    """`ActAvatarDiT.condition` and `.cache` as one program."""
    model = network.bind(params)
    return model.cache(model.condition(text, phase_ids, windows, audio, grid))


@functools.cache
def velocity_function(network: Network):
    """velocity(latents, timesteps, (params, conditions)): one object per network, so that programs are reused."""

    def velocity(latents, timesteps, params_and_conditions):
        params, conditions = params_and_conditions
        return network.bind(params)(latents, timesteps, conditions)

    return velocity
