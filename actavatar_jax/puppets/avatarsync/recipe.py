"""AvatarSync on puppets, from nothing to scores: heads, tokenizer, keyframes, interpolator.

The steps of `launch/avatarsync.py`; a config is that of `configs/avatarsync.py`. A part that is
trained lies in `WORKDIR/parts` and is not trained anew; the whole is `WORKDIR/model`.
"""

import dataclasses
import logging
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

import jax
import ml_dtypes
from ml_collections import ConfigDict

from actavatar_jax import functional
from actavatar_jax.avatarsync import AvatarSyncPipeline, Part, Parts, open_part, open_parts, save_part, save_parts
from actavatar_jax.avatarsync.losses import PixelLoss
from actavatar_jax.avatarsync.published import read_faces
from actavatar_jax.errors import InputError
from actavatar_jax.evaluation.published import PUBLISHED, read_published
from actavatar_jax.functional import Params
from actavatar_jax.parallel import AVATARSYNC_RULES
from actavatar_jax.puppets import dataset
from actavatar_jax.puppets.avatarsync import batches
from actavatar_jax.puppets.avatarsync.demo import SHIPPED
from actavatar_jax.puppets.avatarsync.evaluation import Rows, evaluate_heads
from actavatar_jax.puppets.avatarsync.heads import MOUTH_BOX, Head, make_head
from actavatar_jax.puppets.avatarsync.kept import Kept, keep_heads, keep_tokens
from actavatar_jax.puppets.avatarsync.makers import Make, decoded, encoder, filled, held
from actavatar_jax.puppets.avatarsync.scores import score
from actavatar_jax.puppets.avatarsync.settings import (
    MAY_CHANGE,
    PhaseTwo,
    batching_of,
    course_of,
    loss_of,
    network_of,
    phase_two,
    sampling_of,
)
from actavatar_jax.puppets.pictures.sheets import draw_contacts
from actavatar_jax.puppets.progress import Progress, draw_curves, read_rows
from actavatar_jax.puppets.world.clips import World
from actavatar_jax.training.parts import Draw, Loss, train_part

STEPS = ("heads", "tokenizer", "keyframes", "interpolator")
SHOWN = 6  # heads on a sheet
PANELS = {  # of the plot; not PSNR of keyframes, as these are the drawn ones while the interpolator is trained
    "PSNR without the first frame, dB": {
        "psnr_whole": "whole",
        "psnr_mouth": "mouth",
        "psnr_between": "between keyframes",
    },
    "lips, 0 to 1, and still pixels, levels": {"lips": "lip correlation", "flicker": "flicker"},
}

MOST_BYTES = 20_000_000  # of a shipped model

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Run:
    """A config and the folder of its run; every method goes on where it stopped.

    Trainings begin with the parts of the model folder `start`, if there is one; those of `fresh` begin at random. Heads
    and their tokens are kept in the folder `shared`, where several runs find them, else in `workdir`.
    """

    config: ConfigDict
    workdir: Path
    start: Path | None = None
    fresh: Collection[str] = ()
    shared: Path | None = None

    def heads(self) -> list[Kept]:
        """The clips that everything is trained on."""
        seeds = dataset.TRAIN_SEEDS[: self.config.clips]
        folder = (self.shared or self.workdir) / "heads"
        return keep_heads(folder, seeds, World(**self.config.world), self.side, self.level)

    def tokenizer(self) -> None:
        """Pictures -> tokens -> pictures."""
        loss = loss_of(self.config, "tokenizer", box=MOUTH_BOX)
        draw = batches.draw_pictures(self.heads(), batching_of(self.config, "tokenizer").batch)
        self.train("tokenizer", lambda step: loss, draw, {}, decoded)

    def keyframes(self) -> None:
        """Units -> tokens; in phase 2 their pixels as well, where there is a network that looks at them."""
        heads, tokenizer = self.heads(), self.part("tokenizer")
        folder = (self.shared or self.workdir) / "tokens" / f"{self.level}-{functional.digest(tokenizer.params)}"
        tokens = keep_tokens(folder, heads, encoder(tokenizer))
        data, phase = batching_of(self.config, "keyframes"), phase_two(self.config)
        first, frozen = loss_of(self.config, "keyframes"), lookers(phase)
        second, begin = first, course_of(self.config, "keyframes").steps
        if frozen:
            networks = {name: part.network for name, part in frozen.items()}
            pixels = PixelLoss(**networks, perceptual=phase.perceptual, identity=phase.identity)
            second = dataclasses.replace(
                first, pixels=pixels, tokenizer=tokenizer.network, temperature=phase.temperature
            )
            begin -= round(phase.share * begin)
            frozen["tokenizer"] = tokenizer
        else:
            log.info("Keyframes are trained by their tokens alone: phase 2 needs keyframes.phase2.lpips or .faces.")
        draw = batches.draw_windows(heads, tokens, data.batch, data.keyframes, pixels=bool(frozen))

        def maker(part: Part) -> Make:
            return held(tokenizer, part, sampling_of(self.config))

        params = {name: part.params for name, part in frozen.items()}
        self.train("keyframes", lambda step: first if step < begin else second, draw, params, maker)

    def interpolator(self) -> None:
        """Two frames -> those between them."""
        tokenizer, data = self.part("tokenizer"), batching_of(self.config, "interpolator")
        loss = loss_of(self.config, "interpolator", tokenizer=tokenizer.network)
        draw = batches.draw_intervals(self.heads(), data.batch, data.longest)
        self.train("interpolator", lambda step: loss, draw, {"tokenizer": tokenizer.params}, filled)

    def finish(self) -> AvatarSyncPipeline:
        """The whole model, `WORKDIR/model`."""
        parts = {name: self.part(name) for name in STEPS[1:]}
        whole = Parts(**parts, sampling=sampling_of(self.config), world=self.config.world.to_dict())
        save_parts(self.workdir / "model", whole)
        return AvatarSyncPipeline.from_pretrained(self.workdir / "model")

    def scores(self, pipeline: AvatarSyncPipeline) -> Rows:
        """Of unseen heads."""
        seeds = range(dataset.TEST_SEED, dataset.TEST_SEED + self.config.test_clips)
        return evaluate_heads(pipeline, World(**self.config.world), seeds)

    # ---- parts

    @property
    def side(self) -> int:
        """Pixels of a head."""
        tokenizer = network_of(self.config, "tokenizer").config
        return tokenizer.stride * tokenizer.tokens[0]

    @property
    def level(self) -> str:
        """What a keyframe is of."""
        return network_of(self.config, "keyframes").config.level

    def part(self, name: str) -> Part:
        """One that has been trained, or kept."""
        return open_part(self.workdir / "parts", name)

    def keep(self, name: str) -> None:
        """Takes the part of `start` as it is."""
        save_part(self.workdir / "parts", name, self.begun(name))

    def begun(self, name: str) -> Part:
        """That of `start`; InputError where it has other sizes than the config's."""
        part, config = open_part(self.start, name), network_of(self.config, name).config
        if part.config != config:
            raise InputError(f"The {name} of {self.start} is {part.config}; the config has {config}.")
        return part

    def train(
        self, name: str, loss_at: Callable[[int], Loss], draw: Draw, frozen: Params, maker: Callable[[Part], Make]
    ) -> None:
        """Trains a part and keeps it; on the way unseen heads are made with it, measured and put on a sheet."""
        network, section = network_of(self.config, name), self.config[name].to_dict()
        heads = self.unseen(dataset.WATCHED_SEEDS[: self.config.watched_clips])

        def watch(params: Params, step: int) -> None:
            make = maker(Part(network, params))
            sheet = self.workdir / "sheets" / f"{name}-{step:06d}.png"
            sheet.parent.mkdir(parents=True, exist_ok=True)
            draw_contacts(sheet, [(head.frames, make(head)) for head in heads[:SHOWN]])
            figures = {figure: one.value for figure, one in score(make, heads).items()}
            log = self.workdir / "progress.jsonl"
            Progress(log).add(name, step, **figures)
            draw_curves(read_rows(log), self.workdir / "progress.png", PANELS)

        params = train_part(
            course_of(self.config, name),
            network,
            loss_at,
            draw,
            self.workdir / name,
            described={**section, "world": self.config.world.to_dict(), "clips": self.config.clips},
            rules=AVATARSYNC_RULES,
            frozen=frozen,
            start=self.begun(name).params if self.start and name not in self.fresh else None,
            may_change={f"training.{setting}" for setting in MAY_CHANGE},
            sample=watch,
        )
        save_part(self.workdir / "parts", name, Part(network, params))

    def unseen(self, seeds: Sequence[int]) -> list[Head]:
        """Heads that nothing is trained on."""
        return [make_head(seed, World(**self.config.world), self.side, level=self.level) for seed in seeds]


def lookers(phase: PhaseTwo) -> dict[str, Part]:
    """The networks that look at pixels in phase 2, by what `PixelLoss` calls them; those that have files."""
    found = {}
    if phase.lpips:
        found["lpips"] = Part(PUBLISHED["lpips"].network, read_published("lpips", "LPIPS", phase.lpips))
    if phase.faces:
        found["faces"] = read_faces(Path(phase.faces))
    return found


def make_model(run: Run, until: str = "scores", kept: Collection[str] = ()) -> Rows | None:
    """All steps in order, up to and with `until`; the scores, if it comes so far. Parts of `kept` are those of
    `run.start`, untrained."""
    if kept and run.start is None:
        raise InputError(f"What is kept ({', '.join(kept)}) is a part of a model to start from; there is none.")
    for step in STEPS:
        if step == "heads" or not (run.workdir / "parts" / step).exists():
            run.keep(step) if step in kept else getattr(run, step)()
        if step == until:
            return None
    return run.scores(run.finish())


def ship(model: Path) -> None:
    """Puts a model folder where `actavatar demo` and its users find it, `SHIPPED`: in bfloat16."""
    parts = open_parts(model)
    halved = {
        name: dataclasses.replace(part, params=jax.tree.map(lambda x: x.astype(ml_dtypes.bfloat16), part.params))
        for name, part in ((name, getattr(parts, name)) for name in STEPS[1:])
    }
    sizes = sum(x.nbytes for part in halved.values() for x in jax.tree.leaves(part.params))
    if sizes > MOST_BYTES:
        limit = f"a shipped one has at most {MOST_BYTES / 1e6:.0f}"
        raise InputError(f"{model} has {sizes / 1e6:.0f} MB in bfloat16; {limit}.")
    save_parts(SHIPPED, dataclasses.replace(parts, **halved))
