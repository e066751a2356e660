"""`actavatar demo --system avatarsync`: the head of someone whom the shipped weights never saw says a sentence."""

import logging
import shlex
from pathlib import Path

from actavatar_jax.avatarsync import AvatarSyncPipeline
from actavatar_jax.errors import InputError
from actavatar_jax.media import FPS, Video
from actavatar_jax.puppets.avatarsync.evaluation import side_of, world_of
from actavatar_jax.puppets.avatarsync.heads import make_head
from actavatar_jax.puppets.avatarsync.scores import score
from actavatar_jax.puppets.demo import OWN_VOICE, UNSEEN, deliver_folder
from actavatar_jax.puppets.judge.network import load_judge
from actavatar_jax.puppets.pictures.enlarge import enlarged
from actavatar_jax.puppets.pictures.film import draw_preview
from actavatar_jax.puppets.pictures.sheets import draw_sheet

SHIPPED = Path(__file__).parents[1] / "assets" / "avatarsync"

log = logging.getLogger(__name__)


def make_demo(
    out: Path, *, say: str | None = None, seed: int = 0, voice: str | None = None, model: Path = SHIPPED
) -> str:
    """Puts demo.mp4 and what shows it without a player into `out`; returns files, score and what else to do.

    demo.webp is the film beside the drawn one, without sound, and demo.png a sheet of both with the keyframes and the
    mouth that a judge saw. The presenter is that of `seed`, and so is the sentence where it is not given.

    Raises InputError, with nothing left behind, for an `out` that cannot be written, a folder that is no model of
    puppets' heads, a seed that trainings draw, and a sentence that the voice cannot speak within the clip.
    """
    if seed not in UNSEEN:
        raise InputError(f"The seed is {seed}; accepted is {UNSEEN.start} to {UNSEEN.stop - 1}, others are trained on.")
    with deliver_folder(out) as folder:
        pipeline = AvatarSyncPipeline.from_pretrained(model)
        voice = OWN_VOICE if voice is None and say is not None else voice
        head = make_head(seed, world_of(pipeline), side_of(pipeline), say, voice, pipeline.level)
        log.info("sampling %d keyframes and the frames between them", len(head.plan.schedule.keyframes))
        take = pipeline(head.frames[0], head.plan, paste=True)
        opening = load_judge()(head.within(take.frames)).opening
        Video(enlarged(take.frames), head.plan.sound).save(folder / "demo.mp4")
        draw_preview(folder / "demo.webp", head.frames, take.frames, head.clip.prompt)
        mouths, sentence = (head.opening, opening), head.clip.sentence
        keyframes = [(keyframe.time / FPS, keyframe.name) for keyframe in head.plan.schedule.keyframes]
        draw_sheet(folder / "demo.png", head.frames, take.frames, head.clip.prompt, sentence, (), mouths, keyframes)
    found = {name: figure.value for name, figure in score(lambda head: take.frames, [head]).items()}
    shown = " ".join(keyframe.name for keyframe in head.plan.schedule.keyframes)
    own = "" if model == SHIPPED else f" --model {shlex.quote(str(model))}"
    return (
        f"says ({head.clip.voice}): {sentence}\n"
        f"keyframes: {shown}\n\n"
        f"{out / 'demo.mp4'}  the film of {len(take.frames) / FPS:g} s, with sound\n"
        f"{out / 'demo.webp'}  the same beside the drawn one, for pages without a player\n"
        f"{out / 'demo.png'}  frames of both over time, and the mouth that a judge saw\n\n"
        f"score: lips {found['lips']:.2f} at lag 0, PSNR {found['psnr_whole']:.1f} dB, "
        f"around the mouth {found['psnr_mouth']:.1f} dB, flicker {found['flicker']:.2f} levels | 1 clip\n\n"
        "next, with words of your own, and for the scores of more heads:\n"
        f'  actavatar demo --system avatarsync{own} --seed 7 --say "Good morning."\n'
        f"  actavatar evaluate heads --model {shlex.quote(str(model))} --items 16"
    )
