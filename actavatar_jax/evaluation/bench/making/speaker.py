"""Texts spoken by a program of the user's: `espeak-ng -v {language} -w {out} -- {text}`."""

import re
import shlex
import shutil
import subprocess
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path

from actavatar_jax.errors import InputError, Skip
from actavatar_jax.media import SAMPLE_RATE, load_audio
from actavatar_jax.storage import cut, replaced_file, shown

LONGEST = 600  # seconds that a text may take
ACCEPTED = "accepted is a command with {text} and {out} in it, and {language} where there are several"
_TURN = threading.Lock()  # such programs take all of a machine
_PLACE = re.compile(r"\{(text|language|out)\}")


@dataclass(frozen=True)
class Speaker:
    """A command, split into words as a shell does but run without one, so that texts are never read as commands.

    `{text}`, `{language}` and `{out}`, the wav to write, stand for themselves in it.
    """

    command: str

    def __post_init__(self) -> None:
        words = self._words()
        if not {"text", "out"} <= self.places:
            raise InputError(f"The program that speaks is {shown(self.command)}; {ACCEPTED}.")
        if shutil.which(words[0]) is None:
            raise InputError(f"The program that speaks, {shown(words[0])}, is not there or cannot be run.")

    @property
    def places(self) -> set[str]:
        """What it is told."""
        return set(_PLACE.findall(self.command))

    def speak(self, text: str, language: str, path: Path) -> float:
        """Writes the wav, whole or not at all, and returns how many seconds it lasts. One text is spoken at a time.

        Raises Skip where the program fails or writes nothing that can be read.
        """
        with _TURN, tempfile.TemporaryDirectory() as folder:
            spoken = Path(folder) / "speech.wav"  # programs look at the suffix
            self._run({"text": text, "language": language, "out": str(spoken)})
            if not spoken.is_file():
                raise Skip("no speech", "the program that speaks ended well and wrote no file")
            try:
                seconds = len(load_audio(spoken)) / SAMPLE_RATE
            except InputError as error:
                raise Skip("no speech", str(error)) from error
            with replaced_file(path) as partial:
                shutil.copyfile(spoken, partial)
        return seconds

    def _run(self, values: dict[str, str]) -> None:
        words = [_PLACE.sub(lambda place: values[place[1]], word) for word in self._words()]
        try:
            done = subprocess.run(
                words, stdin=subprocess.DEVNULL, capture_output=True, timeout=LONGEST, check=False, errors="replace"
            )
        except subprocess.TimeoutExpired as error:
            raise Skip("no speech", f"the program that speaks was still at it after {LONGEST} s") from error
        except (OSError, ValueError) as error:  # the latter: a text with a zero in it
            raise Skip("no speech", f"the program that speaks cannot be run: {cut(str(error), 200)}") from error
        if done.returncode:
            said = (done.stderr.strip() or done.stdout.strip() or "nothing").splitlines()[-1]
            raise Skip("no speech", f"the program that speaks ended with code {done.returncode}: {cut(said, 200)}")

    def _words(self) -> list[str]:
        try:
            words = shlex.split(self.command)
        except ValueError as error:
            raise InputError(f"The program that speaks is {shown(self.command)}: {error}; {ACCEPTED}.") from error
        if not words:
            raise InputError(f"The program that speaks is {shown(self.command)}; {ACCEPTED}.")
        return words
