"""ActAvatarPipeline: portrait + speech + structured prompt -> talking video.

B batch (1 here), G guidance branches, T latent frames, H W latent height and width, C latent channels.
"""

import functools
import logging
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Float32

from actavatar_jax.diffusion.guidance import guidance as make_guidance
from actavatar_jax.diffusion.sampler import sample, sample_noise
from actavatar_jax.diffusion.solvers import sigma_grid
from actavatar_jax.encoders import Encoders
from actavatar_jax.errors import InputError
from actavatar_jax.media import Video, choose_size, fit_audio, fit_image, load_audio, load_image
from actavatar_jax.media.clock import FPS, latent_frames
from actavatar_jax.models import functional
from actavatar_jax.models.dit import ActAvatarDiT, DiTConfig
from actavatar_jax.parallel.batches import share, to_host
from actavatar_jax.parallel.hosts import agreed
from actavatar_jax.parallel.mesh import check_fit, make_mesh, use_mesh
from actavatar_jax.parallel.rules import param_shardings
from actavatar_jax.prompt import StructuredPrompt
from actavatar_jax.weights import folder as folders
from actavatar_jax.weights.folder import Component, Defaults

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
        attention: str = "xla",
        audio_encoder: str | Path | None = None,
        mesh: Mesh | str | None = None,
    ) -> "ActAvatarPipeline":
        """Loads a model folder (diffusers layout, ours or a plain Wan2.2-TI2V-5B one) or an original Wan folder.

        Args:
          folder: path on disk; nothing is downloaded.
          dtype: of the transformer's and text encoder's weights and matrix products; `bfloat16` on accelerators.
          attention: kernel, see `models.attention`.
          audio_encoder: a Wav2Vec2 folder of transformers, for a plain folder that has none.
          mesh: many devices, as a mesh or as "2,1,4": guidance branches are cut over the first two numbers, weights
            over the last two, latent frames over the last (`parallel.mesh`). None is one device.
        """
        mesh = make_mesh(mesh) if isinstance(mesh, str) else mesh
        shardings = None if mesh is None else functools.partial(param_shardings, mesh=mesh)
        return cls(
            folders.load(folder, "transformer", dtype=dtype, shardings=shardings, attention=attention),
            Encoders.from_folder(folder, dtype=dtype, audio_encoder=audio_encoder, mesh=mesh),
            folders.load_defaults(folder),
            mesh,
        )

    def save_pretrained(self, folder: str | Path) -> None:
        """Writes the model folder that `from_pretrained` reads."""
        self.encoders.save(folder)
        folders.save(folder, "transformer", self.transformer.config, self.transformer.params)
        folders.save_index(folder, self.defaults)

    def __call__(
        self,
        image: Any,
        audio: Any,
        prompt: StructuredPrompt | dict | str,
        num_frames: int | None = None,
        height: int | None = None,
        width: int | None = None,
        steps: int = 40,
        solver: str = "unipc",
        shift: float = 5.0,
        text_guidance: float = 5.0,
        audio_guidance: float = 5.0,
        guidance: str = "auto",
        negative_prompt: str | None = None,
        seed: int = 0,
        sigmas: Any = None,
        initial_noise: Any = None,
    ) -> Video:
        """Makes one video. Over several processes each of them calls this alike, and each gets the video.

        Args:
          image: PIL image, path or uint8 [H, W, 3]; resized to cover the frame, then cut around its centre.
          audio: path or float [samples] at 16 kHz; padded with silence or cut to the video's length.
          prompt: structured prompt, its dict form, or text with anchors such as `[0-2s]`.
          num_frames: 4k+1 at 25 fps; None is the model's own length (125 for the full-size one).
          height, width: pixels, multiples of 32; None picks the sides from the image at the model's own area.
          steps, solver, shift: integration; solvers are unipc, euler and dpm++.
          text_guidance, audio_guidance, guidance: scales and form, see `diffusion.guidance`.
          negative_prompt: None is the model's own.
          seed: of the initial noise.
          sigmas: float [steps + 1] falling to 0 instead of the solver's own grid.
          initial_noise: float [1, C, T, H, W] (the PyTorch layout) instead of noise from `seed`.

        Raises:
          InputError: one sentence on an input that does not fit.
        """
        with agreed():  # every process reads and encodes by itself
            num_frames = num_frames or self.defaults.num_frames
            picture = load_image(image)
            height, width = self._size(picture, height, width)
            grid = (latent_frames(num_frames), height // 16, width // 16)
            prompt = StructuredPrompt.coerce(prompt)
            prompt.check(duration=num_frames / FPS)
            negative = self.defaults.negative_prompt if negative_prompt is None else negative_prompt
            plan = make_guidance(guidance, text_guidance, audio_guidance)
            self._check_mesh(len(plan.branches), grid)
            sigmas = sigma_grid(solver, steps, shift) if sigmas is None else np.asarray(sigmas, np.float32)
            speech = fit_audio(load_audio(audio), num_frames)
            first = self.encoders.video(fit_image(picture, height, width)[None])[None]
            noise = self._noise(seed, initial_noise, (*grid, first.shape[-1]))
            conditions = self._conditions(plan.branches, prompt, negative, speech)
        first, noise, conditions = share((first, noise, conditions), self.mesh)
        config, params = self.transformer.config, self.transformer.params
        with use_mesh(self.mesh):
            latents = sample(
                velocity_function(config),
                (params, embed_conditions(config, params, *conditions, grid)),
                noise=noise,
                first_frame=first,
                solver=solver,
                sigmas=sigmas,
                guidance=plan,
            )
        return Video(frames=self.encoders.decode(to_host(latents)[0]), audio=speech)

    def _check_mesh(self, branches: int, grid: tuple[int, int, int]) -> None:
        if self.mesh is None:
            return
        check_fit(self.mesh, self.transformer.config, batch=None, grid=grid)
        copies = self.mesh.shape["data"] * self.mesh.shape["fsdp"]
        if branches % copies:
            log.info(
                "%d guidance branches do not divide by data x fsdp = %d: some work is done twice.", branches, copies
            )

    def _size(self, picture: np.ndarray, height: int | None, width: int | None) -> tuple[int, int]:
        if (height is None) != (width is None):
            raise InputError("Height and width go together: give both, or neither to take them from the image.")
        if height is None:
            return choose_size(*picture.shape[:2], self.defaults.area)
        if height <= 0 or width <= 0 or height % 32 or width % 32:
            raise InputError(f"The size {height}x{width} does not fit; height and width must be multiples of 32.")
        return height, width

    def _conditions(self, branches, prompt, negative: str, speech: np.ndarray) -> tuple[np.ndarray, ...]:
        """Text, phase ids, windows and speech of all guidance branches, branch-major."""
        text, phase_ids = self.encoders.text([prompt, StructuredPrompt(base=negative)], strict=False)
        audio = self.encoders.audio(speech, len(speech) * FPS // 16_000)
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


@functools.partial(jax.jit, static_argnums=(0, 6))
def embed_conditions(config: DiTConfig, params, text, phase_ids, windows, audio, grid: tuple[int, int, int]):
    """`ActAvatarDiT.condition` and `.cache` as one program."""
    model = functional.bind(ActAvatarDiT, config, params)
    return model.cache(model.condition(text, phase_ids, windows, audio, grid))


@functools.cache
def velocity_function(config: DiTConfig):
    """velocity(latents, timesteps, (params, conditions)): one object per config, so that programs are reused."""

    def velocity(latents, timesteps, params_and_conditions):
        params, conditions = params_and_conditions
        return functional.bind(ActAvatarDiT, config, params)(latents, timesteps, conditions)

    return velocity
