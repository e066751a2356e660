"""ArrayRecord files of serialized records."""

import contextlib
from collections.abc import Iterable, Iterator

from array_record.python.array_record_data_source import ArrayRecordDataSource
from array_record.python.array_record_module import ArrayRecordWriter

from actavatar_jax.errors import InputError
from actavatar_jax.storage import Place, cut, fetched, named, replaced_file


def write_records(path: Place, records: Iterable[bytes]) -> None:
    """One ArrayRecord file of serialized records, under its name only when it is complete."""
    with replaced_file(path) as partial:
        writer = ArrayRecordWriter(str(partial), "group_size:1,uncompressed")
        try:
            for record in records:
                writer.write(record)
        finally:
            writer.close()


def read_records(path: Place, positions: range | None = None) -> list[bytes]:
    """Serialized records of one ArrayRecord file, all or those at `positions`; InputError where it is damaged."""
    with _opened(path) as source:
        return list(source.__getitems__(range(len(source)) if positions is None else positions))


def count_records(path: Place) -> int:
    """How many records an ArrayRecord file has; InputError where it is damaged."""
    with _opened(path) as source:
        return len(source)


@contextlib.contextmanager
def _opened(path: Place) -> Iterator[ArrayRecordDataSource]:
    try:
        with fetched(path) as local, ArrayRecordDataSource([str(local)]) as source:
            yield source
    except (RuntimeError, ValueError, IndexError) as error:
        raise InputError(f"{named(path)} is damaged ({cut(str(error), 120)}); remove it and encode again.") from error
