"""ActAvatarPipeline: portrait + speech + structured prompt -> talking video.

B videos, G guidance branches, T latent frames, H W latent height and width, C latent channels, h w pixel sides, S text
tokens, D and E widths of text and audio encoder, F video frames.
"""

import functools
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, SupportsIndex

import numpy as np
from jax.sharding import Mesh
from jaxtyping import Float32, UInt8

from actavatar_jax.diffusion import BOTH, Sampling, Step, sample, sample_noise
from actavatar_jax.encoders import Encoders
from actavatar_jax.errors import InputError
from actavatar_jax.functional import Network
from actavatar_jax.media import Sound, Video
from actavatar_jax.models import Execution, self_attention_form
from actavatar_jax.parallel import agreed, check_fit, make_mesh, param_shardings, share_values, to_host, use_mesh
from actavatar_jax.pipeline.conditions import check_finite, encode_conditions
from actavatar_jax.pipeline.long import LongVideo, make_long
from actavatar_jax.pipeline.programs import embed_conditions, fitting_params, in_form, velocity_function
from actavatar_jax.pipeline.request import Request, encode_start, fit_request
from actavatar_jax.prompt import StructuredPrompt
from actavatar_jax.weights import Component, Defaults, check_loading, check_parts, choose_residences, part_sizes
from actavatar_jax.weights import folder as folders

log = logging.getLogger(__name__)

Prompt = StructuredPrompt | dict | str


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
        check_loading(dtype, attention, quantize, memory)
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
        prompt: Prompt,
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
          image: PIL image, path or uint8 [h, w, 3]; resized to cover the frame, then cut around its centre. Or the last
            frames of a video that goes on, uint8 [n, h, w, 3] with n = 4k+1: the new one begins with them.
          audio: path, `Sound` or float [samples] at 16 kHz; padded with silence or cut to the video's length. The
            video keeps its rate and channels. Or an `Excerpt` of a longer recording.
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
        return self.make_videos(image, audio, [prompt], None, sampling, **given, **changes)[0]

    def make_videos(
        self,
        image: Any,
        audio: Any,
        prompts: Sequence[Prompt],
        seeds: Sequence[SupportsIndex] | None = None,
        sampling: Sampling | None = None,
        **options: Any,
    ) -> list[Video]:
        """Makes a video for each pair of a prompt and a seed, all at once; a single one of either goes with all others.

        They are the videos of single calls, to rounding. Portrait, recording and each text are encoded once. On a mesh
        the videos, and their guidance branches, are cut over `data` and `fsdp`.

        Args:
          seeds: None is the one of `sampling`.
          **options: as of a call; `initial_noise` has a row for each video, and so have the arrays of `callback`.
        """
        latents, request = self._sample(image, audio, prompts, seeds, sampling, **options)
        with agreed():
            frames = [self.encoders.decode(one, request.picture) for one in latents]
            return [Video(one, request.sound, request.rate) for one in frames]

    def make_long(
        self,
        image: Any,
        audio: Any,
        prompt: Prompt,
        seconds: float | None = None,
        *,
        overlap: int = 1,
        hold_colours: bool = False,
        **options: Any,
    ) -> Iterator[Video]:
        """Makes a video of any length in parts, each of the length that the model makes at once: they are to be shown
        one after the other, and each is made when it is asked for.

        A part goes on from the last frames of the one before. Its windows and its speech are cut out of those of the
        whole; speech is heard with a second of what is before and after it.

        Args:
          seconds: of the whole; None: as long as the recording.
          overlap: latent frames that a part knows of the one before. With 1, its last frame, all models can go on that
            begin with a picture; more, its last 4k - 3 frames, are for models that were trained so (`time_law.clean`).
          hold_colours: gives all parts the mean and deviation of the first one's colours.
          **options: as of a call; `num_frames` is the length of a part.
        """
        yield from make_long(self, image, audio, prompt, LongVideo(seconds, overlap, hold_colours), **options)

    def sample_latents(
        self, image: Any, audio: Any, prompt: Prompt, sampling: Sampling | None = None, **options: Any
    ) -> tuple[Float32[np.ndarray, "T H W C"], UInt8[np.ndarray, "h w 3"], Sound]:
        """All of a call but the decoding: latents, the portrait and the sound as they were fitted. Arguments are those
        of a call."""
        latents, request = self._sample(image, audio, [prompt], None, sampling, **options)
        return latents[0], request.picture, request.sound

    def _sample(
        self,
        image: Any,
        audio: Any,
        prompts: Sequence[Prompt],
        seeds: Sequence[SupportsIndex] | None,
        sampling: Sampling | None,
        *,
        sigmas: Any = None,
        initial_noise: Any = None,
        anyway: bool = False,
        callback: Callable[[Step], None] | None = None,
        **changes: Any,
    ) -> tuple[Float32[np.ndarray, "B T H W C"], Request]:
        with agreed():  # every process reads and encodes by itself
            s = self.choose_sampling(sampling, changes)
            network = in_form(self.transformer.network, s.phase_time, s.rate)
            config = network.config
            if config.rate != (own := self.transformer.config.rate):
                log.warning("%d frames a second asked for; the model was made for %d, by its config.", config.rate, own)
            seconds = (s.num_frames or self.defaults.num_frames) / config.rate
            prompts = [StructuredPrompt.for_clip(prompt, seconds) for prompt in prompts]
            prompts, seeds = _pair(prompts, [s.seed] if seeds is None else seeds)
            stride = self.encoders.vae.config.stride
            made_for = {"defaults": self.defaults, "rate": config.rate, "stride": stride, "patch": config.patch[1]}
            request = fit_request(image, audio, s, sigmas, **made_for)
            noise, videos = self._noise(initial_noise, seeds, (*request.grid, config.in_channels)), len(prompts)
            self._check_mesh(videos, request)
            self._report(network, videos, request)
            clean = encode_start(image, request, self.encoders, self.defaults, anyway)
            branches = (*request.guidance.branches, BOTH)
            conditions = encode_conditions(self.encoders, branches, prompts, request, config)
            guided, unguided = (
                [array[rows] for array in conditions] for rows in (slice(-videos), slice(-videos, None))
            )
            check_finite(clean, "The latents of the portrait", "weights of the VAE")
            clean = np.repeat(clean[None], videos, axis=0)
        clean, noise, guided, unguided = share_values((clean, noise, guided, unguided), self.mesh)
        with use_mesh(self.mesh), self.transformer.on_device() as params:
            params = fitting_params(network, params)

            def embedded(rows):
                return params, embed_conditions(network, params, *rows, request.grid)

            latents = sample(
                velocity_function(network),
                embedded(guided),
                noise=noise,
                clean=clean,
                solver=request.solver,
                sigmas=request.sigmas,
                guidance=request.guidance,
                unguided=None if request.guidance.guided(request.sigmas[:-1]).all() else embedded(unguided),
                callback=callback,
            )
            latents = to_host(latents)
        with agreed():
            check_finite(latents, "The sampled latents", "weights of the transformer")
        return latents, request

    def choose_sampling(self, sampling: Sampling | None, changes: Mapping[str, Any]) -> Sampling:
        """The model's own where none is given, with other values of single options, and the rate of its frames."""
        if sampling is None:
            sampling = self.defaults.sampling
        if not isinstance(sampling, Sampling):
            raise InputError(f"The sampling is {sampling!r}; accepted is a Sampling, or single options by their names.")
        sampling = sampling.changed(**changes)
        return sampling if sampling.rate else sampling.changed(rate=self.transformer.config.rate)

    def _check_mesh(self, videos: int, request: Request) -> None:
        if self.mesh is None:
            return
        check_fit(self.mesh, self.transformer.config.heads, batch=None, grid=request.grid)
        rows, copies = videos * len(request.guidance.branches), self.mesh.shape["data"] * self.mesh.shape["fsdp"]
        if rows % copies:
            log.info("%d guidance branches do not divide by data x fsdp = %d: some work is done twice.", rows, copies)

    def _report(self, network: Network, videos: int, request: Request) -> None:
        c, execution = network.config, network.execution or Execution()
        tokens, mesh = c.tokens(request.grid), None if self.mesh is None else self.mesh.shape
        rows = videos * len(request.guidance.branches)
        form = self_attention_form(execution, c.heads, c.head_dim, samples=rows, tokens=tokens, mesh=mesh)
        log.info("%d tokens in %d branches; attention: %s; time in text: %s", tokens, rows, form, c.phase_time)

    def _noise(
        self, given: Any, seeds: Sequence[int], shape: tuple[int, int, int, int]
    ) -> Float32[np.ndarray, "B T H W C"]:
        """Of a `shape` [T, H, W, C]; that of a seed is the same in every batch."""
        if given is None:
            with use_mesh(self.encoders.mesh):
                drawn = {seed: np.asarray(sample_noise(seed, np.arange(1), shape)) for seed in set(seeds)}
            return np.concatenate([drawn[seed] for seed in seeds])
        noise = np.moveaxis(np.asarray(given, np.float32), 1, -1)
        if noise.shape != (len(seeds), *shape):
            want = (len(seeds), shape[-1], *shape[:-1])
            raise InputError(f"The initial noise has shape {np.shape(given)}; accepted is {want}.")
        return noise


def _pair(
    prompts: Sequence[StructuredPrompt], seeds: Sequence[SupportsIndex]
) -> tuple[list[StructuredPrompt], list[int]]:
    """A single one of either goes with all of the other."""
    count = max(len(prompts), len(seeds))
    if {len(prompts), len(seeds)} - {1, count} or not prompts:
        raise InputError(
            f"{len(prompts)} prompts do not go with {len(seeds)} seeds; give as many of both, or one of either."
        )
    seeds = [Sampling(seed=seed).seed for seed in seeds]  # which says what is accepted
    return [*prompts] * (count // len(prompts)), seeds * (count // len(seeds))
