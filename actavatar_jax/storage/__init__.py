"""Files on disks and object stores: read with limits and checked, written whole or not at all, in folders that one
command changes at a time."""

from actavatar_jax.storage.csv_documents import read_csv
from actavatar_jax.storage.documents import (
    find_json_objects,
    parse_json,
    parse_yaml,
    plain,
    read_json,
    read_json_lines,
    read_yaml,
)
from actavatar_jax.storage.fetching import fetched
from actavatar_jax.storage.locks import locked_folder, locked_list, locked_target
from actavatar_jax.storage.output import write_json, write_text
from actavatar_jax.storage.places import (
    Place,
    StorePath,
    absolute,
    check_on_disk,
    join,
    open_place,
    scratch_of,
    scratch_root,
)
from actavatar_jax.storage.sentences import cut, first_of, named, refusal, shown
from actavatar_jax.storage.texts import read_bytes, read_text, split_lines
from actavatar_jax.storage.writing import check_output, mend_folder, remove_folder, replaced_file, replaced_folder

__all__ = [
    "Place",
    "StorePath",
    "absolute",
    "check_on_disk",
    "check_output",
    "cut",
    "fetched",
    "find_json_objects",
    "first_of",
    "join",
    "locked_folder",
    "locked_list",
    "locked_target",
    "mend_folder",
    "named",
    "open_place",
    "parse_json",
    "parse_yaml",
    "plain",
    "read_bytes",
    "read_csv",
    "read_json",
    "read_json_lines",
    "read_text",
    "read_yaml",
    "refusal",
    "remove_folder",
    "replaced_file",
    "replaced_folder",
    "scratch_of",
    "scratch_root",
    "shown",
    "split_lines",
    "write_json",
    "write_text",
]
