"""Whether the parts of a model folder fit each other: known from configs and headers, before any weights are read."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from actavatar_jax.errors import InputError
from actavatar_jax.models import GROUP
from actavatar_jax.prompt.tokenizer import load_tokenizer
from actavatar_jax.storage import named, read_json, refusal, shown
from actavatar_jax.weights.components import COMPONENTS, Stored, find, find_tokenizer, is_wan_layout
from actavatar_jax.weights.files import is_file
from actavatar_jax.weights.reading import check_tensors

NONE = (None, [None, None])  # how model_index.json says that there is no such part


def check_parts(folder: str | Path, audio_encoder: str | Path | None = None) -> dict[str, Any]:
    """The configs of a model folder's parts, by component.

    Args:
      folder: the model folder.
      audio_encoder: that part's folder where it lies elsewhere.

    Raises:
      InputError: a part is missing or not understood, two of them disagree about a width or a number, the folder's
        index describes other parts, the tensors of one do not fit its config, or the tokenizer is missing or larger
        than the text encoder's vocabulary.
    """
    places = dict.fromkeys(COMPONENTS, Path(folder)) | {"audio_encoder": Path(audio_encoder or folder)}
    stored = {name: find(place, name) for name, place in places.items()}
    configs = {name: part.config for name, part in stored.items()}
    if problems := list(disagreements(configs)):
        elsewhere = f" with {named(audio_encoder)}" if audio_encoder else ""
        raise refusal(f"The parts of {named(folder)}{elsewhere} do not fit each other:", problems)
    _check_index(Path(folder), stored)
    for name, part in stored.items():
        check_tensors(part, f"the {name} of {named(places[name])}")
    place, taken = find_tokenizer(Path(folder)), configs["text_encoder"].vocab_size
    if (count := len(load_tokenizer(place))) > taken:
        raise InputError(f"The tokenizer {named(place)} has {count} tokens and the text_encoder takes {taken}.")
    return configs


def disagreements(configs: Mapping[str, Any]) -> Iterator[str]:
    """What the configs of a system's parts do not agree about, each in a few words."""
    transformer, vae, text, speech = (configs[name] for name in ("transformer", "vae", "text_encoder", "audio_encoder"))
    pairs = (
        ("latent channels", transformer.in_channels, "vae", vae.latent_channels),
        ("latent channels on its way out", transformer.out_channels, "vae", vae.latent_channels),
        ("text features", transformer.text_dim, "text_encoder", text.width),
        ("speech features", transformer.audio.feature_width, "audio_encoder", speech.hidden),
        ("speech layers", transformer.audio.feature_layers, "audio_encoder", speech.layers),
    )
    for what, wanted, name, found in pairs:
        if wanted != found:
            yield f"the transformer takes {wanted} {what} and the {name} has {found}"
    if vae.time_factor != GROUP:
        yield f"a latent frame stands for {GROUP} frames and the vae makes one of {vae.time_factor}"
    places = getattr(vae, "places", (1, 1))
    if places != (1, 1) and (places[0] % transformer.patch[1] or places[1] % transformer.patch[2]):
        yield f"the transformer takes patches of {list(transformer.patch[1:])} and the vae has {list(places)} places"


def _check_index(folder: Path, stored: Mapping[str, Stored]) -> None:
    """InputError where `model_index.json` is missing or names other classes than the parts have."""
    index = folder / "model_index.json"
    if not is_file(index):
        if is_wan_layout(folder):
            return
        raise InputError(f"The file {named(index)} is missing, which says what the model was made for.")
    values = read_json(index)
    if values.get("transformer_2") not in NONE:
        raise InputError(f"{named(index)} has a transformer_2; accepted are models with a single transformer.")
    for name, part in stored.items():
        entry, own = values.get(name), part.kind.class_name
        if entry not in NONE and not (isinstance(entry, list) and len(entry) == 2 and entry[1] == own):
            raise InputError(f"{named(index)} has {shown(entry)} for the {name}; by its config.json it is a {own}.")
