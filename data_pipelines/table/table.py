"""The table of clips: one parquet file per corpus; steps add columns in files of their own."""

import itertools
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from actavatar_jax.errors import InputError, Skip, StoreError, first_line
from actavatar_jax.storage import Place, fetched, named, open_place, replaced_file, shown

CORE_SCHEMA = pa.schema(
    {
        "id": pa.string(),
        "corpus": pa.string(),
        "source": pa.string(),
        "start": pa.float64(),
        "end": pa.float64(),
        "crop": pa.list_(pa.float64()),
        "caption": pa.string(),
        "split": pa.string(),
    }
)
ID_PATTERN = "[A-Za-z0-9_-]+"
_PIECE = 10_000  # clips that are held as Python objects at a time


@dataclass(frozen=True)
class Clip:
    """One row: a stretch of a video with one person's caption, as the table has it (`check`)."""

    id: str  # unique in its table, [A-Za-z0-9_-]+, also a file name
    corpus: str
    source: str | None  # of the video: a path, absolute or relative to the table's folder, or an address on a store
    start: float | None = 0.0  # seconds in the source
    end: float | None = None  # None: to its end
    crop: tuple[float | None, ...] | None = None  # x, y, w, h in fractions of the upright picture
    caption: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)  # all other columns by their full names, "probe.height"
    split: str | None = None  # of the corpus's own division, such as "test"; None: it has none

    def check(self) -> None:
        """Skip where the row says nothing that can be: tables may come from elsewhere."""
        crop = self.crop or (0.0, 0.0, 1.0, 1.0)
        numbers = [self.start, *crop, self.start if self.end is None else self.end]
        if not self.source:
            raise Skip("odd row", "the row names no source")
        if not all(isinstance(number, float | int) and math.isfinite(number) for number in numbers):
            raise Skip("odd row", f"start {self.start}, end {self.end}, crop {self.crop}: numbers are expected")
        if self.start < 0 or (self.end is not None and self.end <= self.start):
            raise Skip("odd row", f"the stretch from {self.start:g} to {self.end} s is none")
        if len(crop) != 4 or min(crop) < 0 or max(crop) > 1:
            raise Skip("odd row", f"the crop {self.crop} is not x, y, width, height in fractions of the picture")


class Table:
    """Clips sorted by id, their other columns sorted by name; never changed in place.

    The same clips with the same columns are the same bytes on disk, in whatever order they came.
    Raises InputError where an id is double, missing or no file name.
    """

    def __init__(self, data: pa.Table):
        data = data.select([*CORE_SCHEMA.names, *sorted(set(data.column_names) - set(CORE_SCHEMA.names))])
        self.data = data.sort_by("id").combine_chunks()
        ids = self.data["id"].combine_chunks()
        if len(ids) and not pc.all(pc.fill_null(pc.match_substring_regex(ids, f"^{ID_PATTERN}$"), False)).as_py():
            wrong = next(i for i in ids.to_pylist() if not re.fullmatch(ID_PATTERN, i or ""))
            raise InputError(
                f"the clip id {shown(wrong)} is not a file name; accepted are letters, digits, '_' and '-'"
            )
        double = ids.slice(1).filter(pc.equal(ids.slice(1), ids.slice(0, max(len(ids) - 1, 0))))
        if len(double):
            raise InputError(
                f"the clip id {shown(double[0].as_py())} occurs more than once; ids must be unique in a table"
            )

    @classmethod
    def from_clips(cls, clips: Iterable[Clip]) -> "Table":
        """The table of these clips. Facts that a clip lacks are null."""
        clips, pieces = iter(clips), [CORE_SCHEMA.empty_table()]
        while piece := list(itertools.islice(clips, _PIECE)):
            names = sorted({name for clip in piece for name in clip.facts})
            columns = {
                n: pa.array([getattr(clip, n) for clip in piece], CORE_SCHEMA.field(n).type) for n in CORE_SCHEMA.names
            }
            columns |= {n: _column(n, [clip.facts.get(n) for clip in piece]) for n in names}
            pieces.append(pa.table(columns))
        return cls(pa.concat_tables(pieces, promote_options="permissive"))

    @classmethod
    def read(cls, path: str | Place) -> "Table":
        """The table in a parquet file. Raises InputError where it is missing, broken or no table of clips."""
        path = open_place(path)
        if not path.is_file():
            raise InputError(f"{named(path)}: there is no such table of clips; `actavatar corpus` makes one")
        try:
            with fetched(path) as local:
                data = pq.read_table(local)
        except StoreError:
            raise
        except (pa.ArrowException, OSError) as error:
            raise InputError(f"{named(path)}: not a parquet file, or a broken one ({first_line(error)})") from error
        if "split" not in data.column_names:
            data = data.append_column("split", _older_split(data))
        missing = [name for name in CORE_SCHEMA.names if name not in data.column_names]
        if missing:
            raise InputError(f"{named(path)}: not a table of clips, as it has no column {', '.join(missing)}")
        for name in CORE_SCHEMA.names:
            try:
                column = data[name].cast(CORE_SCHEMA.field(name).type)
            except pa.ArrowException as error:
                raise InputError(
                    f"{named(path)}: column {name} is {data[name].type}, not {CORE_SCHEMA.field(name).type}"
                ) from error
            data = data.set_column(data.column_names.index(name), name, column)
        try:
            return cls(data)
        except InputError as error:
            raise InputError(f"{named(path)}: {error}") from error

    def write(self, path: str | Place) -> None:
        """Written whole, or not at all."""
        with replaced_file(open_place(path)) as partial:
            pq.write_table(self.data, partial, compression="zstd")

    def __len__(self) -> int:
        return self.data.num_rows

    def __iter__(self) -> Iterator[Clip]:
        return clips_of(self.data)

    @property
    def names(self) -> list[str]:
        """Names of all columns, the core ones first."""
        return self.data.column_names

    def column(self, name: str) -> list:
        """The values of a column in the order of the ids, None where there is none."""
        return self.data[name].to_pylist()

    def where(self, wanted: Sequence[bool | None]) -> "Table":
        """The clips that are wanted, given in the order of the ids."""
        return Table(self.data.filter(pa.array(wanted, pa.bool_())))

    def with_columns(self, columns: Mapping[str, Sequence | pa.ChunkedArray]) -> "Table":
        """This table with columns, values in the order of the ids, that replace those of the same names."""
        data = self.data.drop_columns([name for name in columns if name in self.names])
        for name, values in columns.items():
            data = data.append_column(name, values if isinstance(values, pa.ChunkedArray) else _column(name, values))
        return Table(data)

    def without_step(self, step: str) -> "Table":
        """This table without the columns `<step>` and `<step>.*`."""
        named = [name for name in self.names if name == step or name.startswith(f"{step}.")]
        return Table(self.data.drop_columns(named))

    def of_clips(self, ids: Sequence[str]) -> "Table":
        """The rows of these ids only."""
        return Table(self.data.filter(pc.is_in(self.data["id"], pa.array(ids, pa.string()))))

    def with_steps_of(self, other: "Table") -> "Table":
        """This table with the columns that steps, which have a `<step>.version`, added to the same ids in `other`."""
        steps = {name.removesuffix(".version") for name in other.names if name.endswith(".version")}
        names = [name for name in other.names if name.rpartition(".")[0] in steps and name not in CORE_SCHEMA.names]
        rows = other.data.take(pc.index_in(self.data["id"], other.data["id"].combine_chunks()).combine_chunks())
        return self.with_columns({name: rows[name] for name in names})


def clips_of(data: pa.Table) -> Iterator[Clip]:
    """The rows of a table, or of some of its row groups, as clips."""
    for batch in data.to_batches(max_chunksize=_PIECE):
        for row in batch.to_pylist():
            core = {name: row.pop(name) for name in CORE_SCHEMA.names}
            core["crop"] = None if core["crop"] is None else tuple(core["crop"])
            core |= {name: core[name] or "" for name in ("corpus", "caption")}
            yield Clip(**core, facts=row)


def _column(name: str, values: Sequence) -> pa.Array:
    try:
        return pa.array(values)
    except pa.ArrowException as error:
        raise TypeError(f"the values of column {name} are not all of one type: {error}") from error


def _older_split(data: pa.Table) -> pa.Array | pa.ChunkedArray:
    """Of a table from before there was such a column: readers of corpora had one each, `<corpus>.split`."""
    columns = [data[name].cast(pa.string()) for name in data.column_names if name.endswith(".split")]
    return pc.coalesce(*columns) if columns else pa.nulls(len(data), pa.string())
