"""Two processes of one module that find each other on this machine, and how they end."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOON = 90  # seconds; JAX alone takes 300 to end a process that the others wait for


def ends_of_two(module, *arguments, limit=SOON):
    """[(exit code, standard output, standard error)] of `python -m MODULE PORT PROCESS ARGUMENTS`.

    Raises subprocess.TimeoutExpired where they take longer than the limit, in seconds.
    """
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", module, *map(str, (port, process, *arguments))],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for process in range(2)
    ]
    deadline = time.monotonic() + limit
    try:
        said = [process.communicate(timeout=deadline - time.monotonic()) for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [(process.returncode, *texts) for process, texts in zip(processes, said, strict=True)]


def errors(text):
    return [line for line in text.splitlines() if line.startswith("error: ")]
