"""Whether the parts of a model folder fit each other: known from their configs, before any weights are read."""

from pathlib import Path

from actavatar_jax.errors import InputError
from actavatar_jax.weights.components import find


def check_parts(folder: str | Path, audio_encoder: str | Path | None = None) -> None:
    """InputError where a part of a model folder is missing, or two of them disagree about a width or a number.

    `audio_encoder` is that part's folder where it lies elsewhere.
    """
    places = dict.fromkeys(("transformer", "text_encoder", "vae"), Path(folder))
    places["audio_encoder"] = Path(audio_encoder or folder)
    parts = {name: find(place, name).config for name, place in places.items()}
    transformer, text, vae, speech = parts.values()
    pairs = (
        ("latent channels", transformer.in_channels, "vae", vae.latent_channels),
        ("latent channels, on its way out,", transformer.out_channels, "vae", vae.latent_channels),
        ("text features", transformer.text_dim, "text_encoder", text.width),
        ("speech features", transformer.audio.feature_width, "audio_encoder", speech.hidden),
        ("speech layers", transformer.audio.feature_layers, "audio_encoder", speech.layers),
    )
    wrong = [
        f"it takes {wanted} {what} and the {name} of {places[name]} has {found}"
        for what, wanted, name, found in pairs
        if wanted != found
    ]
    if wrong:
        raise InputError(f"The transformer of {folder} does not fit its other parts: {'; '.join(wrong)}.")
