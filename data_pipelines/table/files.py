"""Names for the contents of files."""

import hashlib
from pathlib import Path


def digest(*parts: Path | str) -> str:
    """16 hexadecimal digits that name the contents of files (Path) and strings."""
    total = hashlib.sha256()
    for part in parts:
        if isinstance(part, Path):
            with part.open("rb") as file:
                total.update(hashlib.file_digest(file, "sha256").digest())
        else:
            total.update(hashlib.sha256(part.encode()).digest())
    return total.hexdigest()[:16]
