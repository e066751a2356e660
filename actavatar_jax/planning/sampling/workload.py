"""What is planned for: one video of a system, on whatever machine."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from actavatar_jax.diffusion import Guidance, Sampling, keep_levels, sigma_grid
from actavatar_jax.diffusion.guidance import guidance as make_guidance
from actavatar_jax.encoders.encoders import PRECISION
from actavatar_jax.errors import InputError
from actavatar_jax.functional import Network, Params
from actavatar_jax.media.clock import latent_frames
from actavatar_jax.media.image import choose_size
from actavatar_jax.models import PRESETS, Execution
from actavatar_jax.pipeline import in_form
from actavatar_jax.weights import COMPONENTS, Defaults, check_loading, check_parts, kind_of, load_defaults, param_shapes

LANDSCAPE = (704, 1280)  # height and width of a picture whose shape nobody knows
LARGE = ("transformer", "text_encoder")  # parts that are read in the caller's type, and quantized


@dataclasses.dataclass(frozen=True)
class System:
    """The four networks of a model, by their configs, and what it was made for."""

    configs: Mapping[str, Any]  # by component
    defaults: Defaults = dataclasses.field(default_factory=Defaults)

    @classmethod
    def of_folder(cls, folder: str | Path, audio_encoder: str | Path | None = None) -> "System":
        """That of a model folder, of which no weights are read. InputError as `check_parts`."""
        return cls(check_parts(folder, audio_encoder), load_defaults(folder))

    @classmethod
    def of_preset(cls, name: str) -> "System":
        """That of `models.presets`; InputError for a name that is none of them."""
        if name not in PRESETS:
            raise InputError(f'There is no preset "{name}"; there are: {", ".join(PRESETS)}.')
        return cls({part: getattr(PRESETS[name], part) for part in COMPONENTS})

    @property
    def multiple(self) -> int:
        """What the sides of a video are multiples of."""
        return self.configs["vae"].stride * self.configs["transformer"].patch[1]


@dataclasses.dataclass(frozen=True)
class Workload:
    """One video. InputError for one that cannot be made."""

    system: System
    sampling: Sampling  # what it does not say of length and size, `complete` does
    dtype: str = "float32"
    attention: str = "auto"
    quantize: str | None = None
    platform: str | None = None  # as `Execution` has it
    watched: bool = True  # step by step, as `actavatar sample` does for its progress bar

    def __post_init__(self):
        check_loading(self.dtype, self.attention, self.quantize)
        s, d = self.sampling, self.system.defaults
        if s.height is None:
            size = d.sizes[0] if d.sizes else choose_size(*LANDSCAPE, d.area, self.system.multiple)
            s = dataclasses.replace(s, height=size[0], width=size[1])
        object.__setattr__(self, "sampling", dataclasses.replace(s, num_frames=s.num_frames or d.num_frames))
        height, width = self.size
        if height % self.system.multiple or width % self.system.multiple:
            raise InputError(
                f"The size {height}x{width} does not fit; height and width must be multiples of {self.system.multiple}."
            )

    def changed(self, **sampling: Any) -> "Workload":
        """The same with other options of sampling."""
        return dataclasses.replace(self, sampling=self.sampling.changed(**sampling))

    @property
    def parts(self) -> tuple[str, ...]:
        """Names of the networks."""
        return tuple(COMPONENTS)

    @property
    def branches(self) -> int:
        """What a guided step evaluates."""
        return len(self.guidance.branches)

    @property
    def multiple(self) -> int:
        """What the sides of a video are multiples of."""
        return self.system.multiple

    @property
    def sizes(self) -> tuple[tuple[int, int], ...]:
        """Height and width of the videos that the model was trained on; empty: not known."""
        return self.system.defaults.sizes

    @property
    def lengths(self) -> tuple[int, ...]:
        """Their frames, likewise."""
        return self.system.defaults.lengths

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.sampling.height, self.sampling.width

    @property
    def grid(self) -> tuple[int, int, int]:
        """Latent (T, H, W)."""
        stride = self.system.configs["vae"].stride
        return latent_frames(self.sampling.num_frames), self.size[0] // stride, self.size[1] // stride

    @property
    def at_once(self) -> int:
        """Frames that are made together: all."""
        return self.sampling.num_frames

    def shortened(self, frames: int) -> "Workload | None":
        """The same with so many frames; None where that is not fewer."""
        return self.changed(num_frames=frames) if frames < self.at_once else None

    @property
    def guidance(self) -> Guidance:
        s = self.sampling
        return make_guidance(s.guidance, s.text_guidance, s.audio_guidance, s.guidance_interval)

    @property
    def sigmas(self) -> Float[np.ndarray, " n"]:
        """The noise levels of the steps that are made, and 0."""
        s = self.sampling
        every = sigma_grid(s.solver, s.steps, s.shift)
        return keep_levels(every, self.system.defaults.velocity_path, s.skip) if s.skip else every

    def network(self, part: str) -> Network:
        """A part, as `ActAvatarPipeline.from_pretrained` computes it."""
        config = self.system.configs[part]
        kind = kind_of(part, config)
        how = {} if part in LARGE else {"precision": PRECISION}
        if part == "transformer":
            how = {"attention": self.attention}
        execution = Execution(dtype=self._read(part)[0], platform=self.platform, **how) if kind.executes else None
        network = Network(kind.module, config, execution)
        return in_form(network, self.sampling.phase_time, self.sampling.rate) if part == "transformer" else network

    def params(self, part: str) -> Params:
        """The shapes of its parameters."""
        config = self.system.configs[part]
        return param_shapes(kind_of(part, config), config, *self._read(part))

    def stored(self, part: str) -> Params:
        """The same before anything is quantized."""
        config = self.system.configs[part]
        return param_shapes(kind_of(part, config), config, self._read(part)[0])

    def _read(self, part: str) -> tuple[str, str | None]:
        return (np.dtype(self.dtype).name, self.quantize) if part in LARGE else ("float32", None)
