"""What a training starts from: the transformer that its config names, and those of its parameters that are asked for.

At full size the parameters are 23 GB in float32: each process reads what its own devices hold and nothing else, and a
run that goes on reads only what its checkpoint does not hold.
"""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

from actavatar_jax import functional
from actavatar_jax.errors import InputError
from actavatar_jax.functional import Network
from actavatar_jax.models import ADAPTER, PRESETS
from actavatar_jax.models.avatar import FLOAT32
from actavatar_jax.runs.exporting import check_base
from actavatar_jax.runs.settings import transformer_network
from actavatar_jax.weights import draw_leaves, find, is_wan_layout, never_trained, read_adapter, remark_on_backbone
from actavatar_jax.weights import folder as model_folder

Places = Mapping[str, jax.sharding.Sharding]  # where each leaf goes, by name


def open_network(config: ConfigDict) -> Network:
    """The transformer without its parameters, which are not read."""
    m = config.model
    if bool(m.folder) == bool(m.preset):
        raise InputError("A run starts from model.folder or from model.preset: set one of the two.")
    if m.folder and is_wan_layout(Path(m.folder)):
        raise InputError(
            f"{m.folder} is in the original Wan layout; make a model folder: actavatar convert from-torch."
        )
    if m.preset and m.preset not in PRESETS:
        raise InputError(f'There is no preset "{m.preset}"; there are: {", ".join(PRESETS)}.')
    if m.folder and not config.lora.rank:
        check_base(Path(m.folder))  # from which the model folder will be made
    base = find(Path(m.folder), "transformer").config if m.folder else PRESETS[m.preset].transformer
    return transformer_network(config, base)


def open_params(
    config: ConfigDict, network: Network, wanted: Collection[str], places: Places | None = None
) -> dict[str, Any]:
    """The parameters `wanted` by name, in float32: from the adapter's source, the model folder, or drawn by the seed.

    Each is made where `places` puts it; without, folders give host arrays.
    """
    folder, adapter = config.model.folder, Path(config.adapter) if config.adapter else None

    def cut(names: Collection[str]) -> functional.Params | None:
        return places and functional.unflatten({name: places[name] for name in names})

    brought = set(functional.split(dict.fromkeys(wanted), ADAPTER)[0]) if adapter else set()
    own = set(wanted) - brought
    stored = own & _stored_names(folder, network) if folder else set()
    # Beside LoRA they are frozen, and computed in this dtype as they are.
    dtype = network.execution.dtype if config.lora.rank else "float32"
    leaves: dict[str, Any] = draw_leaves(network, own - stored, config.seed, places=places)
    if stored:
        read = model_folder.load(folder, "transformer", dtype, cut(stored), only=stored, seed=config.seed)
        leaves |= functional.flatten(read.params)
    if adapter:
        shardings = cut(brought)
        ways = {"dtype": dtype, "float32": FLOAT32, "shardings": shardings, "only": brought}
        theirs = read_adapter(adapter, network.config, **ways)
        if folder:
            remark_on_backbone(adapter, find(Path(folder), "transformer"), folder)
        if never_trained(theirs):
            raise InputError(f"The adapter {adapter} has never been trained; give the file that stage 1 wrote.")
        leaves |= theirs
    return leaves


def _stored_names(folder: str, network: Network) -> set[str]:
    """The leaves that the folder's own config has; InputError for those that the run's config switches off."""
    stored = functional.flatten(functional.abstract(network.module, find(Path(folder), "transformer").config))
    wanted = functional.flatten(functional.abstract(network.module, network.config))
    if surplus := sorted(stored.keys() - wanted.keys()):
        raise InputError(f"The model folder has {', '.join(surplus)}, which config.model switches off.")
    return set(stored)
