"""`actavatar ...` that gets Ctrl-C once: `python -m tests.cli.interrupted PHASE ARGUMENTS`, phases as below."""

import os
import signal
import sys
from importlib import import_module

PHASES = {  # where, and in which call of it
    "loading": ("actavatar_jax.weights.reader.Safetensors", "__init__", 2),
    "encoding": ("actavatar_jax.encoders.encoders.Encoders", "audio", 1),
    "sampling": ("actavatar_jax.cli.progress.StepBar", "__call__", 2),
    "decoding": ("actavatar_jax.encoders.encoders.Encoders", "decode", 1),
    "writing": ("actavatar_jax.media.encoding", "_picture", 4),
}


def main(phase: str, *arguments: str) -> None:
    place, name, call = PHASES[phase]
    owner, left = _find(place), [call]
    function = getattr(owner, name)

    def interrupted(*args, **options):
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGINT)
        return function(*args, **options)

    setattr(owner, name, interrupted)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have switched it off
    from actavatar_jax.cli import main

    sys.argv = ["actavatar", *arguments]
    main()


def _find(place: str):
    module, _, last = place.rpartition(".")
    return getattr(import_module(module), last) if last[0].isupper() else import_module(place)


if __name__ == "__main__":
    main(*sys.argv[1:])
