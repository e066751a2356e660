"""Phonemes from texts and files, the units that they become, and the frames in which units are seen."""

from actavatar_jax.avatarsync.units.alignments import (
    Alignment,
    align_text,
    check_phonemes,
    is_alignment,
    read_alignment,
)
from actavatar_jax.avatarsync.units.listing import list_units
from actavatar_jax.avatarsync.units.spelling import NOTATIONS
from actavatar_jax.avatarsync.units.table import LEVELS, UnitTable, unit_table
from actavatar_jax.avatarsync.units.timing import ALLOCATIONS, Keyframe, Schedule, exchange_unit, schedule
from actavatar_jax.avatarsync.units.units import Unit, to_units

__all__ = [
    "ALLOCATIONS",
    "LEVELS",
    "NOTATIONS",
    "Alignment",
    "Keyframe",
    "Schedule",
    "Unit",
    "UnitTable",
    "align_text",
    "check_phonemes",
    "exchange_unit",
    "is_alignment",
    "list_units",
    "read_alignment",
    "schedule",
    "to_units",
    "unit_table",
]
