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

GROUPS = "groups.json"
"""The names of the groups, likewise, where a column says of which each sample is."""

IDS = "ids.parquet"
"""Where sample ids are strings: the number that each sample has in the ledger, and its id."""

_NUMBER = "sample_id"


def write_names(directory: RunDirectory, samples: Samples) -> None:
    """Writes them down, of the training split."""
    directory.write(CLASSES, json.dumps(samples.classes).encode())
    for file, found in ((SOURCES, samples.domains), (GROUPS, samples.groups)):
        if found is None:
            directory.remove(file)
        else:
            directory.write(file, json.dumps(found.names).encode())
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
    """The rows with their ``domain`` and ``group`` by name, by dictionary, where there are several.

    Raises:
        UserError: a file of names is damaged, or lacks one.
    """
    for column, file in (("domain", SOURCES), ("group", GROUPS)):
        names = _names(directory, file)
        if names is None:
            continue
        try:
            chunks = [pa.DictionaryArray.from_arrays(_known(chunk), pa.array(names)) for chunk in rows[column].chunks]
        except pa.ArrowException as error:
            raise UserError(f"{directory.path}/{file} lacks a {column} of the ledger ({error}); put it back") from error
        named = pa.chunked_array(chunks, pa.dictionary(pa.int32(), pa.string()))
        rows = rows.set_column(rows.schema.get_field_index(column), column, named)
    return rows


def _known(places: pa.Array) -> pa.Array:
    """Null where a ledger of before this column says that nothing is known."""
    return pc.if_else(pc.equal(places, -1), pa.scalar(None, places.type), places)


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
