"""What making a bench needs, small: portraits, a program that speaks, and a server that writes what is asked for."""

import json
import re
import shlex
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from tests.data.chat_server import Reply, says

SPEAKS = """
import sys, wave
text, language, out = sys.argv[1:]
if "unspeakable" in text:
    sys.exit("no voice for this text")
with wave.open(out, "wb") as sound:
    sound.setnchannels(1), sound.setsampwidth(2), sound.setframerate(8000)
    sound.writeframes(bytes(2 * 8000 * len(text) // 10))  # ten letters a second
"""
TALK = "Good to see you all here today."  # 3.1 s


def make_portraits(folder: Path, names=("anna.png", "bert.jpg", "cleo.png")) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names):
        Image.fromarray(np.full((64, 48, 3), 60 + 40 * number, np.uint8)).save(folder / name)
    return folder


def make_program(folder: Path) -> str:
    """The command of a program that speaks."""
    program = folder / "speak.py"
    program.write_text(SPEAKS)
    return f"{shlex.quote(sys.executable)} -S {shlex.quote(str(program))} {{text}} {{language}} {{out}}"


def task_of(request) -> str:
    return request["messages"][1]["content"][1]["text"]


def windows_of(request):
    return [
        (float(a), float(b))
        for a, b in re.findall(r"^action \d+, from ([\d.]+) to ([\d.]+) s$", task_of(request), re.M)
    ]


def texts_for(request, **changes):
    actions = [
        {"action": f"The person raises the right hand {number} times.", "body_part": "hands"}
        for number, _ in enumerate(windows_of(request), start=1)
    ]
    return {"base": "A person in a grey room talks calmly.", "transcript": TALK, "actions": actions} | changes


def writes(request, number) -> Reply:
    """A script of `ChatServer`."""
    return says(json.dumps(texts_for(request)))
