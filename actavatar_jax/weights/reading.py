"""Reading the parameters of one component leaf by leaf: from its files, an adapter's, or drawn; LoRA, eight bits."""

import dataclasses
import functools
import logging
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import jax

from actavatar_jax import functional
from actavatar_jax.functional import Network, Params
from actavatar_jax.models import ADAPTER
from actavatar_jax.storage import named
from actavatar_jax.weights import lora, names, quantized
from actavatar_jax.weights.adapter import read_adapter, remark_on_backbone
from actavatar_jax.weights.components import Kind, Stored
from actavatar_jax.weights.initial import draw_leaves
from actavatar_jax.weights.residence import Place, as_read

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, eq=False)
class PartReader:
    """Reads a component that was found in a folder, as often as it is asked; fields as `folder.load` has them."""

    folder: str | Path
    component: str
    stored: Stored
    dtype: Any
    places: Mapping[str, jax.sharding.Sharding] | None  # by name
    forms: quantized.Forms
    additions: lora.Additions
    adapter: Path | None
    wanted: Collection[str]  # names
    seed: int

    def check(self) -> None:
        """As `check_tensors`."""
        check_tensors(self.stored, self._model)

    def read(self, place: Place = as_read) -> Params:
        """The parameters, nested; each went through `place` before the next one was read. Raises as `check`."""
        brought = set(functional.split(dict.fromkeys(self.wanted), ADAPTER)[0]) if self.adapter else set()
        flat = functional.flatten(self._read_own(set(self.wanted) - brought, place))
        if brought:
            theirs = read_adapter(self.adapter, self.stored.config, **self._ways(brought))
            remark_on_backbone(self.adapter, self.stored, self.folder)
            flat |= {name: place(self._revise(name, leaf)) for name, leaf in theirs.items()}
        return functional.unflatten(flat)

    def _read_own(self, own: Collection[str], place: Place) -> Params:
        kind = self.stored.kind
        missing = [name for name in own if re.fullmatch(self._may_miss, name)]
        if missing:
            added = {re.sub(r"^(blocks/\w+|\w+).*", r"\1", leaf) for leaf in missing}
            log.info("%s has no %s for its %s: initial values", self.folder, ", ".join(sorted(added)), self.component)
        drawn = draw_leaves(Network(kind.module, self.stored.config), missing, self.seed, self.dtype, self.places)
        return names.import_params(
            self.stored.table,
            self._abstract,
            self.stored.tensors,
            initial=functional.unflatten(drawn),
            may_miss=self._may_miss,
            revise=lambda name, leaf: place(self._revise(name, leaf)),
            model=self._model,
            **self._ways(own),
        )

    def _ways(self, chosen: Collection[str]) -> dict[str, Any]:
        """How these leaves are read, and where they go."""
        places = self.places and functional.unflatten({name: self.places[name] for name in chosen})
        return {"dtype": self.dtype, "float32": self.stored.kind.float32, "shardings": places, "only": chosen}

    def _revise(self, name: str, leaf: Any) -> Any:
        return quantized.quantize_leaf(name, lora.add(leaf, self.additions.get(name, ())), self.forms)

    @property
    def _model(self) -> str:
        """What errors call it."""
        return f"the {self.component} of {named(self.folder)}"

    @functools.cached_property
    def _abstract(self) -> Params:
        return functional.abstract(self.stored.kind.module, self.stored.config)

    @functools.cached_property
    def _may_miss(self) -> str:
        return optional_leaves(self.stored.kind, self.stored.table, self.stored.tensors)


def check_tensors(stored: Stored, model: str) -> None:
    """InputError where tensors of a component's files do not fit its config, all of them in one; nothing is read.

    `model` is what the error calls it.
    """
    may_miss = optional_leaves(stored.kind, stored.table, stored.tensors)
    abstract = functional.abstract(stored.kind.module, stored.config)
    names.check_source(stored.table, abstract, stored.tensors, may_miss=may_miss, model=model)


def optional_leaves(kind: Kind, table: names.Table, tensors: names.TensorSource) -> str:
    """Regex of our leaves that may be absent: those of `kind.may_miss` if all are, none if some are there."""
    present = set(tensors.names())
    optional = [entry for entry in table if re.fullmatch(kind.may_miss, entry.ours)]
    return kind.may_miss if optional and not any(entry.theirs in present for entry in optional) else names.NOTHING
