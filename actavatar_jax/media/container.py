"""Opening a media file with PyAV, with its errors turned into sentences."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av

from actavatar_jax.errors import InputError


@contextmanager
def open_container(path: Path, kind: str) -> Iterator[av.container.InputContainer]:
    """The opened media file; what cannot be opened or decoded inside the block becomes an InputError.

    kind: "speech" or "video", the word the message starts with. Playlists cannot make it read from a network.
    """
    if not path.is_file():
        raise InputError(f"{kind.capitalize()} {path}: there is no such file.")
    try:
        with av.open(str(path), metadata_errors="replace", options={"protocol_whitelist": "file"}) as container:
            yield container
    except av.FFmpegError as error:
        raise InputError(
            f"{kind.capitalize()} {path} is damaged or not a media file ({error.strerror}); accepted is what FFmpeg "
            f"decodes, such as {'wav, flac, mp3, m4a' if kind == 'speech' else 'mp4, mov, mkv, webm'}."
        ) from error
