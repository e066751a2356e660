"""CSV files with a header, row by row."""

import csv
import io
import itertools
from collections.abc import Iterator, Sequence

from actavatar_jax.errors import InputError
from actavatar_jax.storage.places import Place
from actavatar_jax.storage.sentences import cut, named
from actavatar_jax.storage.texts import opened

LARGEST_CSV = 2**36  # bytes, of which one row is held at a time


def read_csv(path: str | Place, columns: Sequence[str]) -> Iterator[tuple[int, dict[str, str] | InputError]]:
    """(number of the row, its values by the header's names, or what is wrong with it), counted as a spreadsheet does.

    One bad row is one value. What is not UTF-8 is U+FFFD in the values. InputError is raised where the file cannot be
    read or its header, row 1, lacks one of the `columns`.
    """
    with opened(path, LARGEST_CSV) as file:
        rows = csv.reader(io.TextIOWrapper(file, encoding="utf-8-sig", errors="replace", newline=""))
        header = next(rows, [])
        if missing := [name for name in columns if name not in header]:
            there = cut(", ".join(header), 200) or "none"
            raise InputError(f"{named(path)}: row 1 has no column {', '.join(missing)}; it has {there}")
        names, lost = [name for name in header if name], None
        for number in itertools.count(2):
            line = rows.line_num + 1
            try:
                values = next(rows, None)
            except csv.Error as error:
                lost = lost or (number, line, str(error))
                continue
            short = values and len(values) < len(names)
            if lost and short:  # what else such a row has swallowed
                continue
            if lost:
                first, begin, reason = lost
                fault = f"not CSV ({reason}); lines {begin} to {line - 1} are lost"
                yield first, InputError(f"{named(path)} row {first}: {fault}")
                lost = None
            if values is None:
                return
            if short:
                fault = f"{len(values)} values, the header has {len(header)} columns"
                fault += f"; lines {line} to {rows.line_num} are lost" * (rows.line_num > line)
                yield number, InputError(f"{named(path)} row {number}: {fault}")
            elif values:
                yield number, {n: v for n, v in zip(header, values, strict=False) if n}
