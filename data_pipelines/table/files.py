"""Names for the contents of files."""

import hashlib
from functools import lru_cache
from pathlib import Path

from actavatar_jax.storage import Place, StorePath, fetched


def digest(*parts: Place | str) -> str:
    """16 hexadecimal digits that name the contents of files and strings."""
    total = hashlib.sha256()
    for part in parts:
        if isinstance(part, str):
            total.update(hashlib.sha256(part.encode()).digest())
        else:
            with fetched(part) as path, path.open("rb") as file:
                total.update(hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()[:16]


def digest_once(path: Place) -> str:
    """As `digest` of a file that many clips are cut from: a process reads it once, while it stays as it is.

    What a store says of a file does not tell that, so there it is read each time.
    """
    if isinstance(path, StorePath):
        return digest(path)
    facts = path.stat()
    return _remembered(path, facts.st_size, facts.st_mtime_ns, facts.st_ino)


@lru_cache(maxsize=1024)
def _remembered(path: Path, size: int, time: int, inode: int) -> str:
    return digest(path)
