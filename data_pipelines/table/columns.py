"""Columns that a step adds: one parquet file for each step, `<clip_dir>/columns/<step>.parquet`, joined when read.

Steps that run at the same time never write the same file, so none of them can lose what another one found.
"""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from actavatar_jax.errors import InputError, StoreError, first_line
from actavatar_jax.storage import Place, cut, fetched, named, replaced_file
from data_pipelines.table.journals import Entry, read_rows
from data_pipelines.table.table import Table

FOLDER = "columns"
_PIECE = 1000  # rows that are held as Python objects at a time


def columns_path(clip_dir: Place, step: str) -> Place:
    return clip_dir / FOLDER / f"{step}.parquet"


def join_columns(table: Table, clip_dir: Place) -> Table:
    """The table with the columns of all steps in the place of those of the same step that it has itself."""
    for path in sorted((clip_dir / FOLDER).glob("[!.]*.parquet")):
        table = join_step(table, path.stem, read_columns(clip_dir, path.stem))
    return table


def join_step(table: Table, step: str, columns: pa.Table) -> Table:
    """The table with the columns of one step, by id; ids that the step has no row of get nulls."""
    places = pc.index_in(table.data["id"], columns["id"].combine_chunks()).combine_chunks()
    rows = columns.drop_columns("id").take(places)
    return table.without_step(step).with_columns({name: rows[name] for name in rows.column_names})


def read_columns(clip_dir: Place, step: str) -> pa.Table:
    """A step's file; without one, no rows. Raises InputError where it is broken or no such file."""
    path = columns_path(clip_dir, step)
    if not path.is_file():
        return pa.table({"id": pa.array([], pa.string()), f"{step}.version": pa.array([], pa.string())})
    try:
        with fetched(path) as local:
            found = pq.read_table(local)
        ids = found["id"].cast(pa.string())
    except StoreError:
        raise
    except (pa.ArrowException, OSError, KeyError) as error:
        why = cut(first_line(error), 100)
        raise InputError(
            f"{named(path)}: not the columns of a step, or a broken file ({why}); remove it and run the step again."
        ) from error
    return found.set_column(found.column_names.index("id"), "id", ids)


def write_columns(clip_dir: Place, step: str, columns: pa.Table) -> None:
    """Written whole, or not at all; the same rows are the same bytes, in whatever order they came."""
    data = columns.select(["id", *sorted(set(columns.column_names) - {"id"})]).sort_by("id").combine_chunks()
    with replaced_file(columns_path(clip_dir, step)) as partial:
        pq.write_table(data, partial, compression="zstd")


def write_step_columns(clip_dir: Place, step: str, ids: Sequence[str], columns: Mapping[str, Sequence]) -> None:
    """Writes what a step found out about all clips at once; the names of the columns are `step` and `<step>.*`."""
    write_columns(clip_dir, step, pa.table({"id": pa.array(ids, pa.string()), **columns}))


def known_columns(step: str, table: Table, clip_dir: Place, journals: Iterable[Place]) -> pa.Table:
    """All that is known of the table's clips: the columns of the step, and what is in the folders of journals."""
    stored = read_columns(clip_dir, step)
    if not len(stored) and f"{step}.version" in table.names:  # a folder from before steps had files of their own
        stored = table.data.select(["id", *(name for name in table.names if name.startswith(f"{step}."))])
    ids = table.data["id"].combine_chunks()
    here = set(ids.to_pylist())
    entries = (entry for entry in read_rows(journals) if entry.id in here)
    return replace_rows(stored.filter(pc.is_in(stored["id"], ids)), step, entries)


def replace_rows(columns: pa.Table, step: str, entries: Iterable[Entry]) -> pa.Table:
    """A step's columns with the rows of the entries, of equal ids the last, in the place of earlier ones."""
    pieces, entries = [], iter(entries)
    while piece := list(itertools.islice(entries, _PIECE)):
        pieces.append(_as_columns(step, piece))
    if not pieces:
        return columns
    found = pa.concat_tables(pieces, promote_options="permissive")
    last = {clip_id: place for place, clip_id in enumerate(found["id"].to_pylist())}
    found = found.take(pa.array(last.values(), pa.int64()))
    kept = columns.filter(pc.invert(pc.is_in(columns["id"], found["id"].combine_chunks())))
    return pa.concat_tables([kept, found], promote_options="permissive") if len(kept) else found


def _as_columns(step: str, entries: Sequence[Entry]) -> pa.Table:
    names = sorted({name for entry in entries for name in entry.row})
    values = {f"{step}.{name}": _array(step, name, (entry.row.get(name) for entry in entries)) for name in names}
    return pa.table({"id": pa.array([entry.id for entry in entries], pa.string()), **values})


def _array(step: str, name: str, values: Iterator[Any]) -> pa.Array:
    try:
        return pa.array(list(values))
    except pa.ArrowException as error:
        raise TypeError(f"the values of column {step}.{name} are not all of one type: {error}") from error
