"""`--system echomimic` of `sample` and `encode`: which options it takes, the one video that it makes, its encoders."""

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from actavatar_jax.cli.progress import StepBar
from actavatar_jax.errors import InputError

SYSTEMS = ("actavatar", "echomimic")
# What the other system has no use for.
OWN = {"variant", "base", "task", "last_image", "video", "mouth", "face", "models", "teacache", "chunk_frames"}
SAMPLING = (
    "num_frames", "chunk_frames", "overlap", "height", "width", "steps", "solver", "shift", "text_guidance",
    "audio_guidance", "negative_prompt", "phase_time", "seed", "teacache",
)  # fmt: skip
# Of at most 768 x 768 pixels, sides in multiples of 32; and of at most 512 x 512.
ECHOMIMIC_SIZES = (
    "768x768,704x832,832x704,640x896,896x640,576x1024,1024x576/512x512,480x544,544x480,416x608,608x416,384x672,672x384"
)
LOADING = ("dtype", "attention", "quantize", "memory", "mesh")
SHARED = {"system", "model", "image", "audio", "prompt", "out", "frames", "audio_encoder", "lora", *LOADING}


def check_system(system: str, command: Callable, options: Mapping[str, Any]) -> None:
    """InputError for a system that there is not, or an option of `sample` that has no meaning for it."""
    names = set(options)
    check_stray(system, command, options, {"actavatar": OWN, "echomimic": names - OWN - SHARED - {*SAMPLING}})


def check_planning(system: str, command: Callable, options: Mapping[str, Any]) -> None:
    """As `check_system`, of `plan sample`: published sizes of echomimic need no files."""
    theirs = {"model", "preset", "rate", "guidance", "guidance_interval", "skip", "audio_encoder"}
    check_stray(system, command, options, {"actavatar": {"variant", "chunk_frames"}, "echomimic": theirs})


def check_encoding(system: str, command: Callable, options: Mapping[str, Any]) -> str:
    """The option of `encode` that names the frozen parts; raises as `check_system`, and where one is not named."""
    check_stray(system, command, options, {"actavatar": {"base", "models", "variant"}, "echomimic": {"model"}})
    if system == "actavatar":
        return "model"
    if options["base"] is not None and options["audio_encoder"] is None:
        raise InputError("Encoding for echomimic needs --audio-encoder, the folder of its speech encoder.")
    return "base"


def check_stray(system: str, command: Callable, options: Mapping[str, Any], of_others: Mapping[str, set]) -> None:
    """InputError for a system that there is not, or an option that differs from its default in `command` and is one of
    those that have no meaning for the system."""
    if system not in SYSTEMS:
        raise InputError(f'There is no system "{system}"; choose one of {", ".join(SYSTEMS)}.')
    defaults = {name: parameter.default for name, parameter in inspect.signature(command).parameters.items()}
    given = {name for name, value in options.items() if value is not None and value != defaults[name]}
    if stray := sorted(given & of_others[system]):
        names = ", ".join(f"--{name.replace('_', '-')}" for name in stray)
        raise InputError(f"The system {system} has no use for {names}; leave it out.")


def open_encoders(base: Path, audio_encoder: Path, variant: str, dtype: str, models: Path | None) -> Any:
    """The frozen parts by which clips for training are encoded."""
    from actavatar_jax.checks import checked, one_of
    from actavatar_jax.echomimic import EchoMimicEncoders
    from actavatar_jax.runs.faces import mouth_finder

    checked("variant", variant, str, one_of("preview", "flash"))
    find = None if models is None else mouth_finder(models)
    return EchoMimicEncoders.from_files(base, audio_encoder, variant, dtype, find_mouths=find)


def sample_echomimic(given: Mapping[str, Any]) -> None:
    """Makes one video of the command's options, by name; those that are None are the variant's own."""
    from actavatar_jax.echomimic import EchoMimicPipeline
    from actavatar_jax.runs.job_lists import check_video_name

    needed = ("model", "base", "audio_encoder", "audio", "prompt", "out")
    if missing := [f"--{name.replace('_', '-')}" for name in needed if given[name] is None]:
        raise InputError(f"A video of echomimic needs {', '.join(missing)}.")
    if len(given["seed"] or [0]) > 1:
        raise InputError("The system echomimic makes one video at a time; give one --seed.")
    check_video_name(given["out"])
    changes = {name: given[name] for name in SAMPLING if given[name] is not None}
    if given["seed"]:
        changes["seed"] = given["seed"][0]
    tasked = {"task": given["task"], **{name: given[name] for name in ("last_image", "video")}}
    tasked |= {"mouth": _mouth(given), "face": _face(given)}
    pipeline = EchoMimicPipeline.from_pretrained(
        given["model"],
        given["base"],
        given["audio_encoder"],
        variant=given["variant"],
        loras=given["lora"] or [],
        **{name: given[name] for name in LOADING},
    )
    video = pipeline(given["image"], given["audio"], given["prompt"], callback=StepBar(), **tasked, **changes)
    video.save(given["out"])


def _face(given: Mapping[str, Any]) -> Any:
    """A box, `everywhere`, or what finds it; speech is never heard everywhere for want of a word."""
    if given["face"] is not None:
        return given["face"] if given["face"] == "everywhere" else _box("--face", given["face"])
    if given["models"] is None or given["variant"] == "flash":
        return None
    from actavatar_jax.runs.faces import face_finder

    return face_finder(given["models"])


def _mouth(given: Mapping[str, Any]) -> Any:
    """A box for all frames, or one for each, found."""
    if given["mouth"] is not None:
        return _box("--mouth", given["mouth"])
    if given["task"] != "mouth" or given["models"] is None or given["video"] is None:
        return None
    from actavatar_jax.runs.faces import find_mouths

    return find_mouths(given["video"], given["models"])


def _box(name: str, text: str) -> tuple[float, ...]:
    parts = text.replace(",", " ").split()
    try:
        box = tuple(map(float, parts))
    except ValueError:
        box = ()
    if len(box) != 4:
        raise InputError(f'{name} is "{text}"; accepted are four numbers in pixels: top, bottom, left, right.')
    return box
