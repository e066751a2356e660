"""What is opened at all: regular files of fixed kinds. Anything else is refused before a byte of it is read."""

import os
import stat
from pathlib import Path

from actavatar_jax.errors import InputError

VIDEO_SUFFIXES = (
    ".mp4", ".m4v", ".mov", ".3gp", ".mkv", ".webm", ".avi", ".ts", ".mts", ".m2ts", ".mpg", ".mpeg", ".flv", ".wmv",
    ".ogv",
)  # fmt: skip

# FFmpeg's names. No kind of them reads other files or asks a network, as playlists do (hls, dash, concat, ...).
CONTAINERS = (
    "mov", "matroska", "avi", "mpegts", "mpeg", "flv", "asf", "ogg", "mxf", "dv",
    "wav", "w64", "aiff", "caf", "au", "flac", "wv", "ape", "tta", "mp3", "aac", "ac3", "eac3", "amr",
)  # fmt: skip

# Pillow's names. No kind of them starts a program, as PostScript does.
PICTURES = ("PNG", "JPEG", "WEBP", "AVIF", "TIFF", "BMP", "GIF", "PPM")


def check_file(path: Path, name: str) -> None:
    """InputError, with `name` as its subject, unless `path` is a regular file with something in it that may be read.

    Nothing is opened: a pipe would wait for a writer, and a device may have no end.
    """
    try:
        facts = path.stat()
        if stat.S_ISDIR(facts.st_mode):
            fault = "it is a folder"
        elif not stat.S_ISREG(facts.st_mode):
            fault = "it is a pipe, a socket or a device"
        elif not facts.st_size:
            fault = "it is empty"
        elif not os.access(path, os.R_OK):
            fault = "there is no permission to read it"
        else:
            return
    except FileNotFoundError:
        fault = "it is a link to a file that is gone" if path.is_symlink() else "there is no such file"
    except OSError as error:
        fault = (error.strerror or type(error).__name__).lower()
    except ValueError:
        fault = "a file name has no zero bytes"
    raise InputError(f"{name}: {fault}; accepted is a file that can be read and is not empty.")


def file_url(path: Path) -> str:
    """The path for FFmpeg, which would take `talk12:30.wav` for a protocol `talk12`."""
    return f"file:{path}"
