"""Checkpoints: Orbax folders with the training state, the exact place in the data, and the run's settings.

The only file that knows Orbax. Frozen parameters are not stored: they come from the model folder (or the seed) that
the settings name, so a checkpoint of stage 1 is the size of the adapter.
"""

import dataclasses
import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import grain
import jax
import orbax.checkpoint as ocp

from actavatar_jax.errors import InputError
from actavatar_jax.training.state import TrainState

KEEP = 2  # the newest, and one before it in case the newest proves bad


class Checkpoints:
    """Checkpoints of one run, in a folder of their own; used in `with`, because writing goes on in the background."""

    def __init__(self, folder: Path, settings: Mapping[str, Any], may_change: Collection[str] = ()):
        """`settings`: the run's config as a plain dict; `may_change`: its top keys that a resumed run may alter."""
        self.settings = json.loads(json.dumps(settings))
        self.may_change = may_change
        self.folder = folder
        options = ocp.CheckpointManagerOptions(max_to_keep=KEEP)
        self.manager = ocp.CheckpointManager(folder.absolute(), options=options)

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *_: Any) -> None:
        self.manager.close()

    def save(self, state: TrainState, batches: grain.DatasetIterator) -> None:
        """Starts writing; returns when device memory has been copied and may change. An existing step is left alone."""
        step = int(state.step)
        if step in self.manager.all_steps():
            return
        self.manager.save(
            step,
            args=ocp.args.Composite(
                state=ocp.args.StandardSave(_stored(state)),
                data=grain.checkpoint.CheckpointSave(batches),
                config=ocp.args.JsonSave(self.settings),
            ),
        )

    def restore(self, state: TrainState, batches: grain.DatasetIterator) -> TrainState:
        """The newest checkpoint in place of the fresh `state`, and `batches` moved to its place; else `state` itself.

        Raises InputError when the checkpoint was written under other settings.
        """
        step = self.manager.latest_step()
        if step is None:
            return state
        written = self.manager.restore(step, args=ocp.args.Composite(config=ocp.args.JsonRestore())).config
        self._check(written)
        abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, _stored(state))
        restored = self.manager.restore(
            step,
            args=ocp.args.Composite(
                state=ocp.args.StandardRestore(abstract), data=grain.checkpoint.CheckpointRestore(batches)
            ),
        )
        return dataclasses.replace(state, **restored.state)

    def _check(self, written: Mapping[str, Any]) -> None:
        ours, theirs = (_leaves(s, self.may_change) for s in (self.settings, written))
        differing = [key for key in sorted({*ours, *theirs}) if ours.get(key) != theirs.get(key)]
        if differing:
            listed = ", ".join(f"{key} ({theirs.get(key)} then, {ours.get(key)} now)" for key in differing[:3])
            more = f" and {len(differing) - 3} more" if len(differing) > 3 else ""
            raise InputError(
                f"The checkpoints in {self.folder} are of a run with other settings: {listed}{more}; "
                "give the same settings or another workdir."
            )


def _stored(state: TrainState) -> dict[str, Any]:
    stored = {"step": state.step, "params": state.params, "opt_state": state.opt_state}
    return stored if state.ema is None else {**stored, "ema": state.ema}


def _leaves(settings: Mapping[str, Any], without: Collection[str]) -> dict[str, Any]:
    """`{"optim.clip": 1.0}`; lists are leaves."""
    flat = {}
    for key, value in settings.items():
        if key in without:
            continue
        inner = _leaves(value, ()) if isinstance(value, Mapping) else None
        flat.update({f"{key}.{name}": leaf for name, leaf in inner.items()} if inner else {key: value})
    return flat
