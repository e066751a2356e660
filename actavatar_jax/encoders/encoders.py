"""Encoders: the frozen parts of a model folder, compiled: prompts, speech and pixels in, features and latents out.

B prompts, S text tokens, D width of the text encoder, E width of the audio encoder, F video frames, T latent frames,
h w pixel sides, H W latent sides, C latent channels. Results are NumPy arrays on the host.
"""

import copy
import functools
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float, Float32, Int32, UInt8

from actavatar_jax.encoders import fingerprint
from actavatar_jax.encoders.pictures import decode_video, encode_video, measure_strangeness
from actavatar_jax.encoders.speech import check_standardised, encode_speech
from actavatar_jax.encoders.text import encode_text, load_model_tokenizer
from actavatar_jax.errors import InputError
from actavatar_jax.media.clock import FPS, SAMPLE_RATE
from actavatar_jax.parallel import TEXT_ENCODER_RULES, WHOLE, local_part, param_shardings, use_mesh
from actavatar_jax.prompt import MAX_TOKENS, StructuredPrompt
from actavatar_jax.prompt.tokenizer import ModelTokenizer
from actavatar_jax.storage import replaced_folder
from actavatar_jax.weights import DEVICE, Component, find, load, save

# Of products in the VAE and the audio encoder: TF32 on NVIDIA, three passes of bfloat16 on TPUs. With operands rounded
# so, and random weights, a decoded video is off by 8e-4 and 1e-5 of its size, and by 6e-3 in the single pass that is a
# TPU's default; the last speech features by 3e-4, 5e-6 and 2e-3.
PRECISION = "high"
REMEMBERED = 32  # texts, of 8 MB each at full size
_PARTS = ("text_encoder", "audio_encoder", "vae")

log = logging.getLogger(__name__)


class Encoders:
    """Tokenizer, umT5, Wav2Vec2 and the VAE (or PatchCodec) of one model.

    Where parameters wait between uses is told by `weights.residence`.

    Over several processes each has encoders of its own, on its own devices, and uses them without the others.
    """

    system = "actavatar"

    def __init__(
        self,
        tokenizer: ModelTokenizer,
        text_encoder: Component,
        audio_encoder: Component,
        vae: Component,
        text_len: int = MAX_TOKENS,
        mesh: Mesh | None = None,
    ):
        known, taken = len(tokenizer), text_encoder.config.vocab_size
        if known > taken:
            raise InputError(
                f"the tokenizer has {known} tokens, but the text encoder takes only {taken}; "
                "they do not belong together."
            )
        if 4 * known < taken:  # as of T5 and umT5
            log.warning("The tokenizer has %d tokens and the text encoder %d; do they belong together?", known, taken)
        self.tokenizer = tokenizer
        self.text_encoder, self.audio_encoder, self.vae = text_encoder, audio_encoder, vae
        self.text_len, self.mesh = text_len, mesh
        self._texts: dict[bytes, Float32[np.ndarray, "S D"]] = {}  # features by token ids
        # Of recording and portrait: what went in, what came out.
        self._latest: dict[str, tuple[tuple[Any, ...], np.ndarray]] = {}

    @classmethod
    def from_folder(
        cls,
        folder: str | Path,
        dtype: str = "float32",
        audio_encoder: str | Path | None = None,
        mesh: Mesh | None = None,
        quantize: str | None = None,
        residences: Mapping[str, str] | None = None,
    ) -> "Encoders":
        """The parts of a model folder, which also says how many text tokens its transformer takes.

        Args:
          folder: a model folder, in the diffusers layout or an original Wan release with an `audio_encoder` beside it.
          dtype: of the text encoder's weights and compute. Speech and pixels are float32, as in the reference.
          audio_encoder: a Wav2Vec2 folder of transformers, for model folders that have none of their own.
          mesh: of many devices. The text encoder's weights are cut over those of this process, and so are pictures when
            they are decoded.
          quantize: `int8` or `fp8` for the text encoder's large kernels.
          residences: where parameters of each part wait between uses (`weights.residence`); None: on the device.

        Raises:
          InputError: a part is missing or does not fit its configuration.
        """
        folder = Path(folder)
        speech = Path(audio_encoder) if audio_encoder else folder / "audio_encoder"
        if not speech.is_dir():
            raise InputError(
                f"There is no audio encoder {speech}; put a Wav2Vec2 folder there or name one as audio_encoder."
            )
        check_standardised(speech / "preprocessor_config.json")
        text_len = find(folder, "transformer").config.text_len
        residences = residences or dict.fromkeys(_PARTS, DEVICE)
        mesh = local_part(mesh)
        cut, whole = (
            None if mesh is None else functools.partial(param_shardings, mesh=mesh, rules=rules)
            for rules in (TEXT_ENCODER_RULES, WHOLE)
        )
        with use_mesh(mesh):
            return cls(
                load_model_tokenizer(folder),
                load(folder, "text_encoder", dtype, cut, quantize, residence=residences["text_encoder"]),
                load(
                    speech,
                    "audio_encoder",
                    "float32",
                    whole,
                    residence=residences["audio_encoder"],
                    precision=PRECISION,
                ),
                load(folder, "vae", "float32", whole, residence=residences["vae"], precision=PRECISION),
                text_len,
                mesh,
            )

    def with_vae(self, vae: Component) -> "Encoders":
        """The same encoders with another VAE."""
        other = copy.copy(self)
        other.vae, other._latest = vae.moved(DEVICE), {}
        return other

    def save(self, folder: str | Path) -> None:
        """Writes the parts into a model folder in the diffusers layout, weights in the dtype they are held in."""
        with replaced_folder(Path(folder) / "tokenizer") as partial:
            self.tokenizer.save(partial)
        for name in _PARTS:
            part = getattr(self, name)
            with part.on_device() as params:
                save(folder, name, part.config, params)

    def text(
        self, prompts: Sequence[StructuredPrompt], strict: bool = True, anchors: bool = True
    ) -> tuple[Float32[np.ndarray, "B S D"], Int32[np.ndarray, "B S"]]:
        """Text features, exact zeros beyond each prompt's end, and phase ids, -1 there; S is `text_len`.

        Prompts are encoded one by one, so that the features of one do not depend on the others. The latest are
        remembered: a negative prompt is encoded once for many videos. `strict`, of a prompt that is too long, and
        `anchors` are those of `StructuredPrompt.tokenise`.
        """
        how = {"max_length": self.text_len, "strict": strict, "anchors": anchors}
        tokens = [prompt.tokenise(self.tokenizer, **how) for prompt in prompts]
        features = self._features([one.ids for one in tokens])
        padding = [(0, self.text_len - len(one.ids)) for one in tokens]
        phase_ids = [np.pad(t.phase_ids, pad, constant_values=-1) for t, pad in zip(tokens, padding, strict=True)]
        return np.stack(features), np.stack(phase_ids)

    def _features(self, texts: Sequence[Int32[np.ndarray, " _"]]) -> list[Float32[np.ndarray, "S D"]]:
        """Of token ids; the text encoder comes to the device at most once for all of them."""
        known = {ids.tobytes(): self._texts.get(ids.tobytes()) for ids in texts}
        new = {ids.tobytes(): ids for ids in texts if known[ids.tobytes()] is None}
        if new:
            with use_mesh(self.mesh), self.text_encoder.on_device() as params:
                for key, ids in new.items():
                    padded, mask = np.pad(ids, (0, self.text_len - len(ids))), np.arange(self.text_len) < len(ids)
                    known[key] = encode_text(self.text_encoder.network, params, padded, mask)
                known = jax.device_get(known)
        self._texts = dict(list({**self._texts, **known}.items())[-REMEMBERED:])
        return [known[ids.tobytes()] for ids in texts]

    def audio(
        self, samples: Float[np.ndarray, " n"], num_frames: int, fps: int = FPS
    ) -> Float32[np.ndarray, "F layers E"]:
        """Features of every layer of the audio encoder, one per video frame. The latest are remembered.

        Args:
          samples: 16 kHz mono of the whole clip, as long as its frames (at 25 a second 640 each); standardised here.
          num_frames: F.
          fps: how many of them last a second.

        Raises:
          InputError: the two lengths differ.
        """
        wanted = num_frames * SAMPLE_RATE // fps
        if len(samples) != wanted:
            raise InputError(
                f"{num_frames} video frames go with {wanted} samples of speech at 16 kHz, got {len(samples)}."
            )
        return self._once(encode_speech, self.audio_encoder, np.float32(samples), num_frames)

    def video(self, frames: UInt8[np.ndarray, "F h w 3"]) -> Float32[np.ndarray, "T H W C"]:
        """Normalised latents of a clip of 4k+1 frames with sides in multiples of the code's stride; InputError for any
        other. Those of the latest portrait, a clip of one frame, are remembered."""
        if len(frames) == 1:
            return self._once(encode_video, self.vae, frames)
        return np.asarray(self._run(encode_video, self.vae, frames))

    def fields(self, frames: UInt8[np.ndarray, "F h w 3"], seed: int, mouths: Any = None) -> dict[str, np.ndarray]:
        """What a record of training data holds of a clip beside its latents: of this system nothing."""
        return {}

    def decode(
        self,
        latents: Float[np.ndarray, "T H W C"] | Float[Array, "T H W C"],
        first: UInt8[np.ndarray, "h w 3"] | None = None,
    ) -> UInt8[np.ndarray, "F h w 3"]:
        """The frames of normalised latents. `first` is the picture behind latent frame 0, for codecs that draw the
        other frames from it; others do without."""
        if first is None or not self.vae.config.sees_first_frame:
            return np.asarray(self._run(decode_video, self.vae, latents))
        return np.asarray(self._run(decode_video, self.vae, latents, first))

    def strangeness(self, latents: Float[np.ndarray, "T H W C"]) -> float:
        """How far a first frame is from those that the codec was fitted on, about 1 for its like; PatchCodec alone
        knows."""
        return float(self._run(measure_strangeness, self.vae, latents))

    def fingerprint(self) -> dict[str, str]:
        """SHA-256 of each part: equal for the same weights in any process and any compute dtype.

        Shards of encoded clips carry it, and it tells whether they were made by these encoders.
        """
        parts = {name: fingerprint.of(getattr(self, name)) for name in _PARTS}
        return {"tokenizer": fingerprint.of_tokenizer(self.tokenizer), **parts}

    def _once(self, program: Callable[..., jax.Array], part: Component, *inputs: Any) -> np.ndarray:
        """What `_run` gives, or gave the last time, if that was given the same."""
        before, result = self._latest.get(program.__name__, ((), None))
        if not before or not all(map(np.array_equal, before, inputs)):
            result = np.asarray(self._run(program, part, *inputs))
            self._latest[program.__name__] = tuple(map(np.copy, inputs)), result
        return result

    def _run(self, program: Callable[..., jax.Array], part: Component, *inputs: Any) -> jax.Array:
        """One of the compiled functions; the mesh may not be the one that the caller has set."""
        with use_mesh(self.mesh), part.on_device() as params:
            return program(part.network, params, *inputs)


def stored_fingerprint(folder: str | Path) -> dict[str, str]:
    """`Encoders.from_folder(folder).fingerprint()` from the files alone: none of them is loaded.

    What was found is kept in the folder (`fingerprints.json`), where that can be written, and holds as long as the
    files have the sizes and times that they had: at full size reading them all takes minutes.

    Raises InputError as `from_folder` does for parts that are missing or do not fit their configuration.
    """
    folder = Path(folder)
    parts = {name: fingerprint.remembered(folder, name) for name in _PARTS}
    return {"tokenizer": fingerprint.of_tokenizer(load_model_tokenizer(folder)), **parts}
