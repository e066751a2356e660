"""Writing files: whole, or not at all."""

from actavatar_jax.storage.documents import read_json, write_json, write_text
from actavatar_jax.storage.writing import mend_folder, replaced_file, replaced_folder

__all__ = [
    "mend_folder",
    "read_json",
    "replaced_file",
    "replaced_folder",
    "write_json",
    "write_text",
]
