"""What a run's samples and classes are called, written down as it starts: its ledger holds numbers."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet

from ray_mentor.data.samples.samples import Samples
from ray_mentor.errors import UserError
from ray_mentor.run.directory import RunDirectory

CLASSES = "classes.json"
"""The names of the classes, in order of their numbers."""

SOURCES = "sources.json"
"""The names of the sources, likewise, where there are several."""

IDS = "ids.parquet"
"""Where sample ids are strings: the number that each sample has in the ledger, and its id."""

_NUMBER = "sample_id"


def write_names(directory: RunDirectory, samples: Samples) -> None:
    """Writes both down, of the training split."""
    directory.write(CLASSES, json.dumps(samples.classes).encode())
    if samples.domains is None:
        directory.remove(SOURCES)
    else:
        directory.write(SOURCES, json.dumps(samples.domains.names).encode())
    if samples.names is None:
        directory.remove(IDS)
        return
    table = pa.table({_NUMBER: samples.ids, "name": samples.names})
    directory.fill(IDS, lambda sink: pyarrow.parquet.write_table(table, sink, write_page_checksum=True))


def with_ids(rows: pa.Table, directory: RunDirectory) -> pa.Table:
    """The rows with their ``sample_id`` as the user knows it: strings by dictionary, where ids are strings.

    Raises:
        UserError: the file of them is damaged.
    """
    known = table_in(directory, IDS, {_NUMBER: pa.int64(), "name": pa.large_string()})
    if known is None:
        return rows
    names = known["name"].combine_chunks()
    if len(pc.unique(names)) < len(names):
        raise UserError(f"{directory.path}/{IDS} cannot be read (a name is there twice); put it back")
    places = pc.index_in(rows[_NUMBER], known[_NUMBER])
    chunks = [pa.DictionaryArray.from_arrays(chunk, names) for chunk in places.chunks]
    ids = pa.chunked_array(chunks, pa.dictionary(pa.int32(), names.type))
    return rows.set_column(rows.schema.get_field_index(_NUMBER), _NUMBER, ids)


def with_sources(rows: pa.Table, directory: RunDirectory) -> pa.Table:
    """The rows with their ``domain`` by name, by dictionary, where there are several.

    Raises:
        UserError: the file of names is damaged, or lacks one.
    """
    names = _names(directory, SOURCES)
    if names is None:
        return rows
    place = rows.schema.get_field_index("domain")
    try:
        chunks = [pa.DictionaryArray.from_arrays(chunk, pa.array(names)) for chunk in rows["domain"].chunks]
    except pa.ArrowException as error:
        raise UserError(f"{directory.path}/{SOURCES} lacks a source of the ledger ({error}); put it back") from error
    return rows.set_column(place, "domain", pa.chunked_array(chunks, pa.dictionary(pa.int32(), pa.string())))


def table_in(directory: RunDirectory, name: str, columns: Mapping[str, pa.DataType]) -> pa.Table | None:
    """These columns of a run's Parquet file; None if it is not there.

    Raises:
        UserError: it is damaged, or has others.
    """
    written = directory.read(name)
    if written is None:
        return None
    try:
        with pyarrow.parquet.ParquetFile(io.BytesIO(written), page_checksum_verification=True) as file:
            if any(file.schema_arrow.field(column).type != kind for column, kind in columns.items()):
                raise pa.ArrowInvalid("it has other columns than it should")
            table = file.read(columns=list(columns))
        table.validate(full=True)
    except (OSError, KeyError, pa.ArrowException) as error:
        raise UserError(f"{directory.path}/{name} cannot be read ({error}); put it back") from error
    return table


def told_apart(names: Sequence[str], count: int = 0) -> list[str]:
    """Names of ``count`` classes at least, no two of them the same, and each such as a file can hold.

    A name that was there before, as ImageNet's second crane, has the number of its class behind it; one that nobody
    gave, as that of a student's output beyond the classes, is its number. Halves of surrogate pairs, of which file
    names that are not UTF-8 are full, are written out.
    """
    found: dict[str, None] = {}
    for number in range(max(count, len(names))):
        name = names[number].encode(errors="backslashreplace").decode() if number < len(names) else str(number)
        while name in found:
            name = f"{name} ({number})"
        found[name] = None
    return list(found)


def class_names(directory: RunDirectory) -> list[str] | None:
    """The classes' names, :func:`told_apart`; None of a run of an earlier version.

    Raises:
        UserError: the file is damaged.
    """
    names = _names(directory, CLASSES)
    return None if names is None else told_apart(names)


def _names(directory: RunDirectory, file: str) -> list[str] | None:
    written = directory.read(file)
    if written is None:
        return None
    try:
        names = json.loads(written)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{directory.path}/{file} cannot be read ({error}); put it back") from error
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise UserError(f"{directory.path}/{file} is no list of names; put it back")
    return names
