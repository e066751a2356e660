"""Image, audio and video in and out, on one clock: 25 frames and 16,000 mono samples a second.

Whatever a file holds, what leaves this package is upright 8-bit RGB pixels and float32 samples in [-1, 1] on that
clock, or an `InputError` of one sentence. Only a `Sound` keeps the rate and the channels of its recording, so that a
video sounds like it. Nothing else of the library is needed here.
"""

from actavatar_jax.media.audio import fit_audio, load_audio, load_sound
from actavatar_jax.media.clock import FPS, SAMPLE_RATE, SAMPLES_PER_FRAME
from actavatar_jax.media.encoding import join_videos
from actavatar_jax.media.image import choose_size, contact_sheet, fit_image, psnr
from actavatar_jax.media.image_file import load_image
from actavatar_jax.media.sound import Sound
from actavatar_jax.media.video import Video, VideoInfo, load_video, probe, read_frames, write_video

__all__ = [
    "FPS",
    "SAMPLES_PER_FRAME",
    "SAMPLE_RATE",
    "Sound",
    "Video",
    "VideoInfo",
    "choose_size",
    "contact_sheet",
    "fit_audio",
    "fit_image",
    "join_videos",
    "load_audio",
    "load_image",
    "load_sound",
    "load_video",
    "probe",
    "psnr",
    "read_frames",
    "write_video",
]
