"""What a run's samples and classes are called, written down as it starts: its ledger holds numbers."""

from __future__ import annotations

import io
import json

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet

from ray_mentor.data.samples.samples import Samples
from ray_mentor.errors import UserError
from ray_mentor.run.directory import RunDirectory

CLASSES = "classes.json"
"""The names of the classes, in order of their numbers."""

IDS = "ids.parquet"
"""Where sample ids are strings: the number that each sample has in the ledger, and its id."""

_NUMBER = "sample_id"


def write_names(directory: RunDirectory, samples: Samples) -> None:
    """Writes both down, of the training split."""
    directory.write(CLASSES, json.dumps(samples.classes).encode())
    if samples.names is None:
        directory.remove(IDS)
        return
    table = pa.table({_NUMBER: samples.ids, "name": samples.names})
    directory.fill(IDS, lambda sink: pyarrow.parquet.write_table(table, sink))


def with_ids(rows: pa.Table, directory: RunDirectory) -> pa.Table:
    """The rows with their ``sample_id`` as the user knows it: strings by dictionary, where ids are strings.

    Raises:
        UserError: the file of them is damaged.
    """
    written = directory.read(IDS)
    if written is None:
        return rows
    try:
        known = pyarrow.parquet.read_table(io.BytesIO(written))
        places = pc.index_in(rows[_NUMBER], known[_NUMBER])
        names = known["name"].combine_chunks()
    except (pa.ArrowException, KeyError) as error:
        raise UserError(f"{directory.path}/{IDS} cannot be read ({error}); put it back") from error
    chunks = [pa.DictionaryArray.from_arrays(chunk, names) for chunk in places.chunks]
    ids = pa.chunked_array(chunks, pa.dictionary(pa.int32(), names.type))
    return rows.set_column(rows.schema.get_field_index(_NUMBER), _NUMBER, ids)


def class_names(directory: RunDirectory) -> list[str] | None:
    """The classes' names; None of a run of an earlier version.

    Raises:
        UserError: the file is damaged.
    """
    written = directory.read(CLASSES)
    if written is None:
        return None
    try:
        names = json.loads(written)
    except ValueError as error:
        raise UserError(f"{directory.path}/{CLASSES} cannot be read ({error}); put it back") from error
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise UserError(f"{directory.path}/{CLASSES} is no list of names; put it back")
    return names
