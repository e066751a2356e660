"""The work folder of a run: who may write to it, what its hosts agree on, and a log file for each of them."""

import contextlib
import fcntl
import json
import logging
import os
import platform
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

import jax

from actavatar_jax.errors import InputError
from actavatar_jax.parallel import agreed, on_each_host
from actavatar_jax.storage import parse_json

log = logging.getLogger(__name__)


@contextlib.contextmanager
def open_workdir(workdir: Path, settings: Mapping[str, Any]) -> Iterator[Path]:
    """The work folder, for one run; gives the log file of this host, `logs/host-<process>.log`.

    Raises InputError in every process when another run uses the folder or when the hosts' settings differ.
    """
    texts = on_each_host(json.dumps(settings, sort_keys=True))
    refuse_differing([parse_json(text, f"the settings of process {process}") for process, text in enumerate(texts)])
    with contextlib.ExitStack() as stack:
        with agreed():
            if jax.process_index() == 0:
                workdir.mkdir(parents=True, exist_ok=True)
                stack.enter_context(_claimed(workdir))
        yield stack.enter_context(_logged(workdir / "logs" / f"host-{jax.process_index()}.log"))


def refuse_differing(settings: list[Mapping[str, Any]]) -> None:
    """InputError naming the first setting in which a process differs from process 0."""
    first, *others = (leaves(one) for one in settings)
    for process, other in enumerate(others, start=1):
        for key in sorted({*first, *other}):
            if first.get(key) != other.get(key):
                raise InputError(
                    f"The hosts disagree: {key} is {first.get(key)} in process 0 and {other.get(key)} in process "
                    f"{process}; start all of them with the same settings."
                )


def leaves(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Nested settings as `{"optim.clip": 1.0}`; lists are leaves."""
    flat = {}
    for key, value in settings.items():
        inner = leaves(value) if isinstance(value, Mapping) else None
        flat.update({f"{key}.{name}": leaf for name, leaf in inner.items()} if inner else {key: value})
    return flat


@contextlib.contextmanager
def _claimed(workdir: Path) -> Iterator[None]:
    """Holds `run.lock`. The system lets go of it when this process ends, in whatever way it does."""
    with (workdir / "run.lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(
                f"The work folder {workdir} is in use by another run ({_owner(file)}); wait for its end, or give "
                "another folder."
            ) from error
        except OSError as error:  # some network file systems know no locks
            log.warning("%s cannot be locked (%s): make sure that no other run uses it.", workdir, error)
        file.truncate(0)
        file.write(f"process {os.getpid()} on {platform.node()}")
        file.flush()
        yield


def _owner(file: TextIO) -> str:
    file.seek(0)
    return file.read() or "which has just started"


@contextlib.contextmanager
def _logged(path: Path) -> Iterator[Path]:
    """Everything that is logged also goes to the file `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(path)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.getLogger().addHandler(handler)
    try:
        yield path
    finally:
        logging.getLogger().removeHandler(handler)
        handler.close()
