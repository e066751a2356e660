"""Checkpoints: Orbax folders with the training state, the exact place in the data, and the run's settings.

The only file that knows Orbax. Frozen parameters are not stored: they come from the model folder (or the seed) that
the settings name, so a checkpoint of stage 1 is the size of the adapter.

Orbax writes beside the final name and renames, so a checkpoint that a kill interrupted is never taken for a whole one.
It notices files that are missing or cut off, but not flipped bits in arrays: therefore sums over the bits of every
array are stored as well, taken on the devices, so that they are the same on every mesh and cost no reading of files.
"""

import dataclasses
import functools
import json
import logging
import shutil
import zlib
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import grain
import jax
import jax.numpy as jnp
import orbax.checkpoint as ocp

from actavatar_jax.errors import InputError, first_line
from actavatar_jax.functional import RUN_ONCE
from actavatar_jax.parallel import on_all_hosts
from actavatar_jax.storage import plain
from actavatar_jax.training.runtime.keeping import kept, newest_sound
from actavatar_jax.training.runtime.workdir import leaves
from actavatar_jax.training.settings import CONTENTS
from actavatar_jax.training.state import TrainState

log = logging.getLogger(__name__)


class Checkpoints:
    """Checkpoints of one run, in a folder of their own; used in `with`, because writing goes on in the background."""

    def __init__(self, folder: Path, settings: Mapping[str, Any], may_change: Collection[str] = ()):
        """`settings`: the run's config as a plain dict; `may_change`: names and sections a resumed run may alter."""
        self.settings = plain(settings)
        self.may_change = may_change
        self.folder = folder.absolute()
        self._drop_unfinished()
        options = ocp.CheckpointManagerOptions(preservation_policy=_KeepSound())
        self.manager = ocp.CheckpointManager(self.folder, options=options)
        self.saving: int | None = None  # step of the save that may still be going on

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *_: Any) -> None:
        self.wait()
        self.manager.close()

    def save(self, state: TrainState, batches: grain.DatasetIterator) -> None:
        """Starts writing; returns when device memory has been copied and may change. An existing step is left alone.

        The last step of `state` must have had a usable gradient (`runtime.keeping`). A save that fails, on a full disk
        say, is logged; what was there stays, and the run can go on.
        """
        self.wait()
        step = int(state.step)
        if step in self.manager.all_steps():
            return
        stored, place = _stored(state), plain(batches.get_state())
        sums = {"state": _bit_sums(stored), "data": _text_sum(place), "config": _text_sum(self.settings)}
        items = ocp.args.Composite(
            state=ocp.args.StandardSave(stored),
            data=ocp.args.JsonSave(place),
            config=ocp.args.JsonSave(self.settings),
            sums=ocp.args.JsonSave(sums),
        )
        self.saving = step
        try:
            self.manager.save(step, args=items)
        except (OSError, ValueError) as error:
            self._give_up(error)

    def wait(self) -> bool:
        """Waits for the save that goes on, if any; False where it failed."""
        if self.saving is None:
            return True
        try:
            self.manager.wait_until_finished()
        except Exception as error:  # noqa: BLE001 - Orbax passes on whatever a writer raised, plain Exceptions too
            self._give_up(error)
            return False
        self.saving = None
        return True

    def check_settings(self) -> None:
        """Raises InputError when the newest checkpoint was written under other settings; arrays are not read.

        Of a damaged one nothing is said here: `restore` goes to the one before.
        """
        step = self.manager.latest_step()
        if step is None:
            return
        try:
            self._notes(step)
        except InputError:
            raise
        except Exception as error:  # noqa: BLE001 - as in `restore`
            log.debug("The settings of the checkpoint of step %d cannot be read: %s", step, error)

    def restore(self, state: TrainState, batches: grain.DatasetIterator) -> TrainState | None:
        """`state` with the arrays of the newest sound checkpoint, and `batches` moved to its place; None without one.

        `state` may be abstract (`training.state.abstract_state`); its frozen half stays as it is. Arrays come back in
        the shardings of `state`, whatever mesh wrote them. Damaged checkpoints newer than the one used are renamed
        to `<step>.damaged`.

        Raises InputError when a checkpoint was written under other settings, and when there are some but none is sound.
        """
        damaged: dict[int, Exception] = {}
        for step in sorted(self.manager.all_steps(), reverse=True):
            problem = None
            try:
                restored, notes = self._read(step, state)
            except InputError:
                raise
            except Exception as error:  # noqa: BLE001 - for missing and cut files Orbax raises half a dozen types
                problem = error
            if on_all_hosts(problem is None):
                break
            damaged[step] = problem or OSError("another host cannot read it")
            log.warning("The checkpoint of step %d is damaged: %s", step, first_line(damaged[step]))
        else:
            if damaged:
                raise InputError(
                    f"None of the checkpoints in {self.folder} can be read (steps {', '.join(map(str, damaged))}; the "
                    f"last: {first_line(damaged[min(damaged)])}); move that folder away to start anew."
                )
            return None
        if damaged:
            log.warning("The run goes on from the checkpoint of step %d, the one before.", step)
            self._set_aside(damaged, "damaged")
        self._tell_changes(step, notes.config)
        batches.set_state(notes.data)
        return dataclasses.replace(state, **restored)

    def set_unproven_aside(self, reached: int) -> int | None:
        """After a divergence: renames those that have not proven sound to `<step>.diverged`.

        `reached` is the last step that had a usable gradient. Returns the step that the run goes on from when it is
        started again; None without a checkpoint.
        """
        self.wait()
        steps = sorted(self.manager.all_steps())
        if not steps:
            return None
        sound = newest_sound(steps, reached)
        if unproven := [step for step in steps if step > sound]:
            log.warning("Not known to be sound, and set aside: checkpoints of step %s.", ", ".join(map(str, unproven)))
            self._set_aside(unproven, "diverged")
        return sound

    def _read(self, step: int, state: TrainState) -> tuple[dict[str, Any], Any]:
        """(parts of the state, notes) of a checkpoint; raises where it is damaged or of another run."""
        notes = self._notes(step)
        abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, _stored(state))
        restored = self.manager.restore(step, args=ocp.args.Composite(state=ocp.args.StandardRestore(abstract))).state
        found = _bit_sums(restored)
        if wrong := [name for name in found if found[name] != notes.sums["state"].get(name)]:
            raise ValueError(f"{len(wrong)} arrays are not what was written, {wrong[0]} among them")
        return restored, notes

    def _notes(self, step: int) -> Any:
        """What a checkpoint holds beside arrays: `data`, `config`, `sums`; raises as `_read`."""
        kinds = dict.fromkeys(("data", "config", "sums"), ocp.args.JsonRestore())
        notes = self.manager.restore(step, args=ocp.args.Composite(**kinds))
        for name in ("data", "config"):
            if _text_sum(notes[name]) != notes.sums[name]:
                raise ValueError(f"its {name} is not what was written")
        self._compare(notes.config)
        return notes

    def _compare(self, written: Mapping[str, Any]) -> None:
        # Of a checkpoint from before contents were written down nobody knows them: then paths have to be the same.
        unknown = {name for name in self.settings if name.startswith(CONTENTS) and name not in written}
        fixed = {name.removeprefix(CONTENTS) for name in unknown}
        ours, theirs = (self._fixed(settings, unknown, fixed) for settings in (self.settings, written))
        differing = [key for key in sorted({*ours, *theirs}) if ours.get(key) != theirs.get(key)]
        if differing:
            listed = ", ".join(f"{key} ({theirs.get(key)} then, {ours.get(key)} now)" for key in differing[:3])
            more = f" and {len(differing) - 3} more" if len(differing) > 3 else ""
            raise InputError(
                f"The checkpoints in {self.folder} are of a run with other settings: {listed}{more}; "
                "give the same settings or another workdir."
            )

    def _tell_changes(self, step: int, written: Mapping[str, Any]) -> None:
        ours, theirs = leaves(self.settings), leaves(written)
        for key in sorted(ours.keys() & theirs.keys()):
            if ours[key] != theirs[key]:
                log.info("From step %d on %s is %s; it was %s.", step, key, ours[key], theirs[key])

    def _fixed(self, settings: Mapping[str, Any], unknown: Collection[str], fixed: Collection[str]) -> dict[str, Any]:
        """The settings that a resumed run must share, also the `fixed` of them, but for the `unknown`."""
        free = tuple(f"{name}." for name in {*self.may_change, *unknown} - {*fixed})
        return {key: value for key, value in leaves(settings).items() if not f"{key}.".startswith(free)}

    def _give_up(self, error: Exception) -> None:
        log.error("The checkpoint of step %d could not be written: %s", self.saving, first_line(error))
        log.error("Earlier checkpoints stay as they are, and the run goes on.")
        self.saving = None
        self._drop_unfinished()
        self.manager.reload()  # it has already forgotten what it would have deleted after this save

    def _drop_unfinished(self) -> None:
        if jax.process_index() == 0:
            for unfinished in self.folder.glob(f"*{ocp.utils.TMP_DIR_SUFFIX}*"):
                log.warning("Removing %s: a checkpoint that was not finished.", unfinished)
                shutil.rmtree(unfinished)

    def _set_aside(self, steps: Collection[int], name: str) -> None:
        """Else the next save of such a step would find it there already."""
        if jax.process_index() == 0:
            for step in steps:
                target = self.folder / f"{step}.{name}"
                shutil.rmtree(target, ignore_errors=True)
                (self.folder / str(step)).rename(target)
        on_all_hosts(True)  # nobody looks before it is done
        self.manager.reload()


class _KeepSound:
    """Tells Orbax which ones to keep."""

    def should_preserve(self, checkpoints: Sequence[Any], *, context: Any) -> list[bool]:
        stay = kept([checkpoint.step for checkpoint in checkpoints])
        return [checkpoint.step in stay for checkpoint in checkpoints]


def _stored(state: TrainState) -> dict[str, Any]:
    stored = {"step": state.step, "params": state.params, "opt_state": state.opt_state}
    return stored if state.ema is None else {**stored, "ema": state.ema}


def _bit_sums(tree: Any) -> dict[str, int]:
    """For every leaf, by its path, the sum of its bit patterns modulo 2^32."""
    paths, _ = jax.tree_util.tree_flatten_with_path(tree)
    sums = jax.device_get(_sums([leaf for _, leaf in paths]))
    return {jax.tree_util.keystr(path): int(value) for (path, _), value in zip(paths, sums, strict=True)}


@functools.partial(jax.jit, compiler_options=RUN_ONCE)  # compiling them is most of the first save of a small state
def _sums(arrays: list[jax.Array]) -> list[jax.Array]:
    unsigned = {2: jnp.uint16, 4: jnp.uint32}
    bits = [jax.lax.bitcast_convert_type(array, unsigned[array.dtype.itemsize]) for array in arrays]
    return [array.astype(jnp.uint32).sum(dtype=jnp.uint32) for array in bits]


def _text_sum(value: Any) -> int:
    return zlib.crc32(json.dumps(value, sort_keys=True).encode())
