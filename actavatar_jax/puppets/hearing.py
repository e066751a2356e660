"""Teaches a small Wav2Vec2 to tell phonemes apart, as the published one was taught letters; then it is frozen.

Random speech features carry loudness but hardly the shape of the lips: a linear reader of them reaches a correlation
of about 0.6 with the mouth opening.

B utterances, F video frames, P phonemes.
"""

from collections.abc import Iterator
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Float32, Int32, Int64
from tqdm import tqdm

from actavatar_jax import functional
from actavatar_jax.media.clock import FPS
from actavatar_jax.models import Wav2Vec2, standardise
from actavatar_jax.puppets.speech import SOUNDS, fit, is_stressed, make_sentence
from actavatar_jax.speech import PAUSE, VOICES, Phoneme, sounds, speak
from actavatar_jax.training.schedules import warmup_stable_decay
from actavatar_jax.weights import folder as folders

SOUND_IDS = {name: number for number, name in enumerate((PAUSE, *SOUNDS))}
STRESSED = len(SOUND_IDS)  # is added to a sound's number in stressed phonemes, on which presenters nod
PER_FRAME = 2  # phonemes asked for in every video frame: a vowel lasts two frames, a stop half of one


def train_hearing(
    folder: Path, *, frames: int, steps: int, utterances: int, batch_size: int = 16, rate: float = 2e-3, seed: int = 0
) -> float:
    """Trains the audio encoder of a model folder in place; the share of phonemes it tells right on unheard utterances.

    A linear reader of the last state, thrown away afterwards, names the phoneme in each half of every frame, and if
    it is stressed.
    """
    part = folders.load(folder, "audio_encoder", dtype="float32")
    samples, labels = spoken(utterances + 64, frames, seed)
    reader = np.zeros((part.config.hidden, PER_FRAME * 2 * len(SOUND_IDS)), np.float32)
    params = {"encoder": part.params, "reader": reader}
    schedule = warmup_stable_decay(rate, steps, decay=steps, shape="cosine")
    tx = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(schedule))

    def logits(params, samples):
        encoder = functional.bind(Wav2Vec2, part.config, params["encoder"])
        states = encoder(jax.vmap(standardise)(samples), frames=frames)[:, :, -1]
        return (states @ params["reader"]).reshape(*states.shape[:2], PER_FRAME, -1)

    def loss(params, samples, labels):
        return optax.softmax_cross_entropy_with_integer_labels(logits(params, samples), labels).mean()

    @jax.jit
    def step(params, opt_state, samples, labels):
        value, gradients = jax.value_and_grad(loss)(params, samples, labels)
        updates, opt_state = tx.update(gradients, opt_state, params)
        return optax.apply_updates(params, updates), opt_state, value

    opt_state = tx.init(params)
    bar = tqdm(_batches(utterances, batch_size, steps, seed), desc="hearing", unit="step", total=steps)
    for rows in bar:
        params, opt_state, value = step(params, opt_state, samples[rows], labels[rows])
        bar.set_postfix(loss=f"{float(value):.3f}", refresh=False)
    right = jnp.argmax(jax.jit(logits)(params, samples[utterances:]), -1) == labels[utterances:]
    folders.save(folder, "audio_encoder", part.config, jax.device_get(params["encoder"]))
    return float(right.mean())


def spoken(
    utterances: int, frames: int, seed: int
) -> tuple[Float32[np.ndarray, "B samples"], Int32[np.ndarray, "B F 2"]]:
    """Sentences in all voices, and the number of the sound in each half of each frame."""
    rng = np.random.default_rng([seed, 17])
    samples, labels = [], []
    for name in tqdm(rng.choice(list(VOICES), utterances), desc="speaking", unit="sentence"):
        sentence = make_sentence(rng, VOICES[name].language)
        said = speak(sentence, name, int(rng.integers(140, 200)), int(rng.integers(20, 80)))
        said = fit(said, frames, rng)
        samples.append(said.samples)
        labels.append(_labels(said.phonemes, frames))
    return np.stack(samples), np.stack(labels)


def _labels(phonemes: tuple[Phoneme, ...], frames: int) -> Int32[np.ndarray, "F 2"]:
    """The sound in the middle of each half frame."""
    labels = np.full(frames * PER_FRAME, SOUND_IDS[PAUSE], np.int32)
    times = (np.arange(len(labels)) + 0.5) / (FPS * PER_FRAME)
    for phoneme in phonemes:
        parts = sounds(phoneme.symbol)
        inside = (times >= phoneme.start) & (times < phoneme.end)
        if parts and inside.any():
            share = (times[inside] - phoneme.start) / (phoneme.end - phoneme.start)
            names = [parts[int(s * len(parts))] for s in share]
            stress = STRESSED * is_stressed(phoneme.symbol)
            labels[inside] = [SOUND_IDS.get(name, SOUND_IDS["ə"]) + stress for name in names]
    return labels.reshape(frames, PER_FRAME)


def _batches(count: int, batch_size: int, steps: int, seed: int) -> Iterator[Int64[np.ndarray, " B"]]:
    rng = np.random.default_rng([seed, 18])
    for _ in range(steps):
        yield rng.choice(count, batch_size, replace=False)
