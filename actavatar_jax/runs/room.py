"""Whether videos have room on the device that is here: planned before anything is loaded, from shapes alone."""

import dataclasses
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
from jax.sharding import Mesh

from actavatar_jax.diffusion import Sampling
from actavatar_jax.errors import InputError
from actavatar_jax.media import choose_size, load_image
from actavatar_jax.parallel import make_mesh
from actavatar_jax.planning import sampling

log = logging.getLogger(__name__)


class Room:
    """The memory of the device, and what videos of a model folder take of it.

    A plan compiles the programs that the pipeline will run, which are then there: nothing is compiled twice. On a CPU
    nothing is planned unless the memory is given.

    Args:
      model: the model folder.
      watched: whether the pipeline gets a callback.
      memory, dtype, attention, quantize, audio_encoder, mesh: as `ActAvatarPipeline.from_pretrained` takes them; what
        else it takes does not count.
    """

    def __init__(
        self,
        model: str | Path,
        watched: bool,
        *,
        memory: str = "auto",
        dtype: str = "float32",
        attention: str = "auto",
        quantize: str | None = None,
        audio_encoder: str | Path | None = None,
        mesh: Mesh | str | None = None,
        **_: Any,
    ):
        self.known = memory != "auto" or jax.default_backend() != "cpu"
        self.system = sampling.System.of_folder(model, audio_encoder) if self.known else None
        self.memory, self.mesh = memory, make_mesh(mesh) if isinstance(mesh, str) else mesh
        self.how = {"dtype": dtype, "attention": attention, "quantize": quantize, "watched": watched}
        self.plans: dict[Sampling, sampling.Plan] = {}

    @property
    def working(self) -> dict[str, int] | None:
        """The most that a part's programs take besides weights, of all videos that were checked."""
        plans = [plan.working for plan in self.plans.values() if plan.fits]
        return {part: max(one[part] for one in plans) for part in plans[0]} if plans else None

    def check(self, image: Any, options: Mapping[str, Any]) -> None:
        """InputError, with what would fit, where a video with these options of a job has no room."""
        if not self.known or options.get("anyway"):
            return
        asked = self.system.defaults.sampling.changed(**{n: x for n, x in options.items() if n != "anyway"})
        work = sampling.Workload(self.system, self._sized(image, asked), **self.how)
        alike = dataclasses.replace(work.sampling, seed=0, negative_prompt=None)
        if alike not in self.plans:
            self.plans[alike] = self._plan(work)
        if not (plan := self.plans[alike]).fits:
            raise InputError(self._refusal(work, plan))

    def _plan(self, work: sampling.Workload, first: str | None = None) -> sampling.Plan:
        plan = sampling.plan_here(work, self.mesh, self.memory, first)
        if first is None:
            log.info("%s", sampling.summary(plan))
        return plan

    def _refusal(self, work: sampling.Workload, plan: sampling.Plan) -> str:
        log.info("Looking for what fits: a few programs are compiled")
        tried = sampling.advise(work, plan, lambda other: self._plan(other, first=plan.worst.stage))
        return f"{sampling.summary(plan)}; {sampling.verdict([plan, *tried])}; --anyway samples it all the same."

    def _sized(self, image: Any, asked: Sampling) -> Sampling:
        """With the size that the pipeline will choose."""
        if asked.height is not None:
            return asked
        height, width = choose_size(*load_image(image).shape[:2], self.system.defaults.area, self.system.multiple)
        return asked.changed(height=height, width=width)
