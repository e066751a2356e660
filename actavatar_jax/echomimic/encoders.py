"""EchoMimicEncoders: the frozen parts around EchoMimicV3's transformer, and what training data hold of each clip.

F video frames, T latent frames, h w pixel sides, H W latent sides, I picture tokens, E widths of encoders, K tasks, n
features of speech.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, UInt8

from actavatar_jax.echomimic import inputs, tasks
from actavatar_jax.echomimic.files import FILES, read_file
from actavatar_jax.encoders import Encoders, fingerprint
from actavatar_jax.encoders.encoders import PRECISION
from actavatar_jax.encoders.speech import check_standardised
from actavatar_jax.encoders.text import load_model_tokenizer
from actavatar_jax.functional import Network
from actavatar_jax.media.clock import FPS
from actavatar_jax.models import Execution, UMT5Config
from actavatar_jax.models.clip import CLIPVisionConfig
from actavatar_jax.models.wan_vae import Wan21VAEConfig
from actavatar_jax.prompt import MAX_TOKENS
from actavatar_jax.prompt.tokenizer import ModelTokenizer
from actavatar_jax.weights import DEVICE, Component, load

# Tasks of training data; of `text_and_audio` nothing is known, which needs no data.
TRAINED = ("first_frame", "first_and_last", "continuation", "mouth")
CONTINUED = (1, 5, 9, 13)  # frames with which a continuation may begin in training
Frames = UInt8[np.ndarray, "F h w 3"]
MouthFinder = Callable[[Frames], Sequence[tasks.Box] | None]


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
    ):
        """`find_mouths`: the mouth's box in every frame of a clip, None where there is none; without it, no training
        data of that task are made."""
        super().__init__(tokenizer, text_encoder, audio_encoder, vae, text_len)
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
    ) -> "EchoMimicEncoders":
        """From the public files, as of `EchoMimicPipeline.from_pretrained`; raises as it does."""
        place, speech = Path(base), Path(audio_encoder)
        check_standardised(speech / "preprocessor_config.json")
        sizes = {"text_encoder": UMT5Config(), "image_encoder": CLIPVisionConfig(), "vae": Wan21VAEConfig()}
        sizes |= {name: config for name, config in (configs or {}).items() if name in sizes}
        fast, exact = Execution(dtype=dtype, attention=attention), Execution(precision=PRECISION)

        def part(name: str, execution: Execution, kind: str) -> Component:
            network = Network(FILES[name].module, sizes[name], execution)
            return Component.of(network, read_file(name, place, sizes[name], np.dtype(kind)))

        return cls(
            load_model_tokenizer(place),
            part("text_encoder", fast, dtype),  # the largest, used once for a video: it waits on the host
            part("image_encoder", exact, "float32").moved(DEVICE),
            load(speech, "audio_encoder", "float32", precision=PRECISION).moved(DEVICE),
            part("vae", exact, "float32").moved(DEVICE),
            variant,
            find_mouths=find_mouths,
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

    def fields(self, frames: Frames, seed: int) -> dict[str, np.ndarray]:
        """What a record of training data holds of a clip beside its latents: `picture` [I, E] of the first frame, and
        for each of K tasks its place in `TRAINED` and what is known, `tasks` [K] and `known` [K, T, H, W, C + 4].

        `seed` decides how many frames a continuation begins with.
        """
        known = [(TRAINED.index(name), tasks.known_channels(one, self.vae)) for name, one in self._tasks(frames, seed)]
        numbers, channels = zip(*known, strict=True)
        return {
            "picture": self.picture(frames[0]),
            "tasks": np.asarray(numbers, np.int8),
            "known": np.stack(channels),
        }

    def _tasks(self, frames: Frames, seed: int) -> list[tuple[str, tasks.Task]]:
        length, size = len(frames), frames.shape[1:3]
        begin = int(np.random.default_rng(seed).choice([count for count in CONTINUED if count < length]))
        ends = {0: frames[0], length - 1: frames[-1]}
        made = [
            ("first_frame", tasks.known_frames(length, *size, {0: frames[0]})),
            ("first_and_last", tasks.known_frames(length, *size, ends)),
            ("continuation", tasks.known_frames(length, *size, dict(enumerate(frames[:begin])))),
        ]
        boxes = self.find_mouths(frames) if self.find_mouths else None
        if boxes is not None:
            made.append(("mouth", tasks.replacement(frames, tasks.region_of_boxes(boxes, size, size))))
        return made

    def fingerprint(self) -> dict[str, str]:
        return super().fingerprint() | {"image_encoder": fingerprint.of(self.image_encoder), "variant": self.variant}
