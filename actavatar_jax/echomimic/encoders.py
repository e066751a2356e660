"""EchoMimicEncoders: the frozen parts around EchoMimicV3's transformer, and what training data hold of each clip.

F video frames, T latent frames, h w pixel sides, H W latent sides, I picture tokens, E widths of encoders, K tasks, n
features of speech.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jax.sharding import Mesh
from jaxtyping import Float, Float32, UInt8

from actavatar_jax import functional
from actavatar_jax.echomimic import inputs, tasks
from actavatar_jax.echomimic.files import FILES, open_file, revision
from actavatar_jax.encoders import Encoders, fingerprint
from actavatar_jax.encoders.encoders import PRECISION
from actavatar_jax.encoders.speech import check_standardised
from actavatar_jax.encoders.text import load_model_tokenizer
from actavatar_jax.functional import Network, Params
from actavatar_jax.media.clock import FPS
from actavatar_jax.models import Execution, UMT5Config
from actavatar_jax.models.clip import CLIPVisionConfig
from actavatar_jax.models.wan_vae import Wan21VAEConfig
from actavatar_jax.parallel import (
    TEXT_ENCODER_RULES,
    WHOLE,
    ParameterGroups,
    local_part,
    param_shardings,
    use_mesh,
)
from actavatar_jax.prompt import MAX_TOKENS
from actavatar_jax.prompt.tokenizer import ModelTokenizer
from actavatar_jax.weights import DEVICE, HOST, Component, load

# Tasks of training data; of `text_and_audio` nothing is known, which needs no data.
TRAINED = ("first_frame", "first_and_last", "continuation", "mouth")
CONTINUED = (1, 5, 9, 13)  # frames with which a continuation may begin in training
PARTS = ("text_encoder", "image_encoder", "audio_encoder", "vae")
Frames = UInt8[np.ndarray, "F h w 3"]
MouthFinder = Callable[[Frames], Sequence[tasks.Box] | None]


def part_configs(changed: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Sizes of the parts that are read from files of Wan2.1-Fun; those of the published ones where nothing is said."""
    sizes = {"text_encoder": UMT5Config(), "image_encoder": CLIPVisionConfig(), "vae": Wan21VAEConfig()}
    return sizes | {name: config for name, config in (changed or {}).items() if name in sizes}


class EchoMimicEncoders(Encoders):
    """Tokenizer, umT5, CLIP, Wav2Vec2 and the VAE of EchoMimicV3."""

    system = "echomimic"

    def __init__(
        self,
        tokenizer: ModelTokenizer,
        text_encoder: Component,
        image_encoder: Component,
        audio_encoder: Component,
        vae: Component,
        variant: str = "preview",
        text_len: int = MAX_TOKENS,
        find_mouths: MouthFinder | None = None,
        mesh: Mesh | None = None,
    ):
        """`find_mouths`: the mouth's box in every frame of a clip, None where there is none; without it, no training
        data of that task are made."""
        super().__init__(tokenizer, text_encoder, audio_encoder, vae, text_len, mesh)
        self.image_encoder, self.variant, self.find_mouths = image_encoder, variant, find_mouths

    @classmethod
    def from_files(
        cls,
        base: str | Path,
        audio_encoder: str | Path,
        variant: str = "preview",
        dtype: str = "float32",
        attention: str = "auto",
        configs: Mapping[str, Any] | None = None,
        find_mouths: MouthFinder | None = None,
        mesh: Mesh | None = None,
        quantize: str | None = None,
        residences: Mapping[str, str] | None = None,
    ) -> "EchoMimicEncoders":
        """From the public files, as of `EchoMimicPipeline.from_pretrained`; raises as it does.

        `residences`: where parameters of each part wait between uses; None: the text encoder's, which are the largest
        and used once for a video, on the host, the others on the device.
        """
        place, speech, own = Path(base), Path(audio_encoder), local_part(mesh)
        check_standardised(speech / "preprocessor_config.json")
        sizes = part_configs(configs)
        waiting = residences or {**dict.fromkeys(PARTS, DEVICE), "text_encoder": HOST}
        waiting = waiting if mesh is None else dict.fromkeys(PARTS)

        def cut(rules: ParameterGroups) -> Callable[[Params], Params] | None:
            return None if own is None else functools.partial(param_shardings, mesh=own, rules=rules)

        def part(name: str, execution: Execution, kind: str, rules: ParameterGroups, **revised: Any) -> Component:
            network, shardings = Network(FILES[name].module, sizes[name], execution), cut(rules)
            ways = {"dtype": np.dtype(kind), "revise": revision(name, sizes[name], **revised)}
            if shardings is not None:
                ways["shardings"] = shardings(functional.abstract(network.module, network.config))
            return Component.waiting(network, open_file(name, place, sizes[name], **ways).read, waiting[name])

        fast, exact = Execution(dtype=dtype, attention=attention), Execution(precision=PRECISION)
        with use_mesh(own):
            return cls(
                load_model_tokenizer(place),
                part("text_encoder", fast, dtype, TEXT_ENCODER_RULES, quantize=quantize),
                part("image_encoder", exact, "float32", WHOLE),
                load(
                    speech,
                    "audio_encoder",
                    "float32",
                    cut(WHOLE),
                    residence=waiting["audio_encoder"],
                    precision=PRECISION,
                ),
                part("vae", exact, "float32", WHOLE),
                variant,
                find_mouths=find_mouths,
                mesh=own,
            )

    def audio(
        self, samples: Float[np.ndarray, " samples"], num_frames: int, fps: int = FPS
    ) -> Float32[np.ndarray, "n layers E"]:
        """Features of speech as the variant hears them: two a frame of the last layer, or one a frame of every layer.

        Args:
          samples: 16 kHz mono of the whole clip.
        """
        features = inputs.encode_audio(samples, num_frames, self.audio_encoder, self.variant)
        exact = inputs.features_of(features, 0, num_frames, self.variant)
        return exact if self.variant == "flash" else exact[:, None]

    def picture(self, image: UInt8[np.ndarray, "a b 3"] | None) -> Float32[np.ndarray, "I E"]:
        """CLIP's hidden state of a picture, zeros where there is none."""
        return inputs.encode_picture(image, self.image_encoder)

    def fields(self, frames: Frames, seed: int, mouths: Sequence[tasks.Box] | None = None) -> dict[str, np.ndarray]:
        """What a record of training data holds of a clip beside its latents: `picture` [I, E] of the first frame, and
        for each of K tasks its place in `TRAINED` and what is known, `tasks` [K] and `known` [K, T, H, W, C + 4].

        `seed` decides how many frames a continuation begins with. `mouths`: the box of every frame, where it is known;
        else `find_mouths` looks.
        """
        made = self._tasks(frames, seed, mouths)
        known = [(TRAINED.index(name), tasks.known_channels(one, self.vae)) for name, one in made]
        numbers, channels = zip(*known, strict=True)
        return {
            "picture": self.picture(frames[0]),
            "tasks": np.asarray(numbers, np.int8),
            "known": np.stack(channels),
        }

    def _tasks(self, frames: Frames, seed: int, mouths: Sequence[tasks.Box] | None) -> list[tuple[str, tasks.Task]]:
        length, size = len(frames), frames.shape[1:3]
        begin = int(np.random.default_rng(seed).choice([count for count in CONTINUED if count < length]))
        ends = {0: frames[0], length - 1: frames[-1]}
        made = [
            ("first_frame", tasks.known_frames(length, *size, {0: frames[0]})),
            ("first_and_last", tasks.known_frames(length, *size, ends)),
            ("continuation", tasks.known_frames(length, *size, dict(enumerate(frames[:begin])))),
        ]
        boxes = self.find_mouths(frames) if mouths is None and self.find_mouths else mouths
        if boxes is not None:
            made.append(("mouth", tasks.replacement(frames, tasks.region_of_boxes(boxes, size, size))))
        return made

    def fingerprint(self) -> dict[str, str]:
        return super().fingerprint() | {"image_encoder": fingerprint.of(self.image_encoder), "variant": self.variant}
