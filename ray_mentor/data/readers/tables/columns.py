"""Which column of a table is what."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pyarrow as pa

from ray_mentor.config import DataConfig
from ray_mentor.data.readers.formats.part import AbstractPart
from ray_mentor.data.readers.tables.guessed import guess_features
from ray_mentor.data.readers.tables.kinds import is_image, is_integer, is_numeric, is_text, says_yes_or_no
from ray_mentor.errors import UserError, listed

_IMAGE_NAMES = ("image", "img")
ID_NAME = "sample_id"
"""Of the column of sample ids, where nobody says another."""


@dataclass(frozen=True)
class Columns:
    """Column names; one of ``image``, ``text`` and ``features`` is what the model is fed. Without labels ``label`` is
    None.
    """

    label: str | None
    true_label: str | None
    id: str | None
    image: str | None
    features: tuple[str, ...]
    checked: str | None = None
    text: str | None = None
    group: str | None = None

    @property
    def about(self) -> list[str]:
        """Everything but the inputs, each once: a column may have two meanings."""
        named = (self.label, self.true_label, self.id, self.checked, self.group)
        return list(dict.fromkeys(name for name in named if name is not None))

    @property
    def labels(self) -> list[str]:
        """The given labels, and the true ones where they are known."""
        return [name for name in (self.label, self.true_label) if name is not None]

    @property
    def inputs(self) -> list[str]:
        """What the model is fed."""
        return [name for name in (self.image, self.text) if name is not None] or list(self.features)


def choose_columns(schema: pa.Schema, config: DataConfig, file: AbstractPart) -> Columns:
    """Resolves the column settings against a part's schema.

    Raises:
        UserError: a missing column, one of the wrong type, or nothing to feed the model.
    """
    named = _named(schema, config.feature_columns)
    ignored, kept = _named(schema, config.ignore_columns), _named(schema, config.keep_columns)
    _check_one_input(config, named)
    identity = config.id_column or (ID_NAME if ID_NAME in schema.names else None)
    columns = Columns(
        config.label_column,
        config.true_label_column,
        identity,
        None,
        named,
        config.meta_column,
        group=config.group_column,
    )
    check_types(schema, columns, file)
    require_columns(schema, (*ignored, *kept), file)
    _check_choice(named, ignored, kept, columns.about)
    image = None if named else config.image_column or guess_image(schema)
    if config.text_column is not None:
        columns = dataclasses.replace(columns, text=config.text_column)
    elif image is not None:
        columns = dataclasses.replace(columns, image=image)
    elif not named:
        require_columns(schema, schema.names, file)
        features = guess_features(file, schema, columns.labels, (*columns.about, *ignored), kept)
        columns = dataclasses.replace(columns, features=features)
    check_types(schema, columns, file)
    return columns


def _check_one_input(config: DataConfig, features: tuple[str, ...]) -> None:
    asked = {"image_column": config.image_column, "text_column": config.text_column}
    given = [f"{name} is {value!r}" for name, value in asked.items() if value is not None]
    given += [f"feature_columns is {listed(features)}"] * bool(features)
    if len(given) > 1:
        raise UserError(f"{' and '.join(given)}, but the model is fed either; give one of them")


def _named(schema: pa.Schema, given: tuple[str, ...]) -> tuple[str, ...]:
    """The columns given by name; ``a,b`` is two, unless a column is called that."""
    parts = (part for name in given for part in ([name] if name in schema.names else name.split(",")))
    return tuple(parts)


def _check_choice(named: Sequence[str], ignored: Sequence[str], kept: Sequence[str], about: Sequence[str]) -> None:
    for setting, names in (("ignore_columns", ignored), ("keep_columns", kept)):
        if named and names:
            raise UserError(
                f"feature_columns names all features there are, so {setting} {listed(names)} means nothing beside it; "
                "give one of them"
            )
        if meant := next((name for name in names if name in about), None):
            raise UserError(
                f"{setting} holds {meant!r}, which is {_MEANINGS}; leave it out, or name another column for that"
            )
    if both := next((name for name in kept if name in ignored), None):
        raise UserError(f"keep_columns holds {both!r}, which ignore_columns holds too; leave it out of one of them")


_MEANINGS = "a label, an id or a group, or says what was checked"


def check_types(schema: pa.Schema, columns: Columns, file: AbstractPart) -> None:
    """Raises a UserError unless every column is there, once, and of a type that can be used."""
    require_columns(schema, [*columns.about, *columns.inputs], file, label=columns.label, text=columns.text)
    for name in columns.labels:
        if not (is_numeric(schema, name) or is_text(schema, name)):
            raise _wrong_type(schema, name, file, "labels must be integers or strings", "cast it")
    if columns.id is not None and not (is_integer(schema, columns.id) or is_text(schema, columns.id)):
        raise _wrong_type(schema, columns.id, file, "sample ids must be integers or strings", "name another id_column")
    if columns.group is not None and not (is_integer(schema, columns.group) or is_text(schema, columns.group)):
        rule = "groups must be integers or strings"
        raise _wrong_type(schema, columns.group, file, rule, "name another group_column")
    if columns.checked is not None and not says_yes_or_no(schema, columns.checked):
        rule = "what was checked is said by true and false, 1 and 0, or yes and no"
        raise _wrong_type(schema, columns.checked, file, rule, "name another meta_column")
    if columns.image is not None and not is_image(schema, columns.image):
        rule = "images must be encoded bytes, or a struct that has them as `bytes`"
        raise _wrong_type(schema, columns.image, file, rule, "name another image_column")
    if columns.text is not None and columns.text in columns.about:
        raise UserError(f"text_column is {columns.text!r}, which is {_MEANINGS}; name the column of texts")
    if columns.text is not None and not is_text(schema, columns.text):
        fix = "name another text_column, or leave it out where the model is fed numbers"
        raise _wrong_type(schema, columns.text, file, "texts must be strings", fix)
    for name in columns.features:
        if name in columns.about or columns.features.count(name) > 1:
            what = _MEANINGS if name in columns.about else "there twice"
            raise UserError(f"feature_columns holds {name!r}, which is {what}; leave it out")
        if not is_numeric(schema, name):
            fix = "name the numeric ones with feature_columns, or an image_column"
            raise _wrong_type(schema, name, file, "features must be numbers", fix)


def require_columns(
    schema: pa.Schema,
    names: Iterable[str],
    file: AbstractPart,
    *,
    label: str | None = None,
    text: str | None = None,
    fix: str = "",
) -> None:
    """Raises a UserError, with the columns there are, unless every name is a column exactly once.

    Args:
        label: the one of given labels, if it is among them.
        text: that of texts, likewise.
        fix: what to do where one is missing.
    """
    for name in names:
        count = schema.names.count(name)
        if count != 1:
            found = "no" if count == 0 else f"{count} times the"
            mend = _which_labels(schema) if name == label else _which_texts(schema) if name == text else fix
            near = difflib.get_close_matches(name, schema.names, n=1) if count == 0 else []
            hint = f" (nearest: {near[0]!r})" if near else ""
            says = [f"its columns are {some_of(schema.names)}", *([mend] if mend and count == 0 else [])]
            says = says if len(schema.names) <= _TOLD else says[::-1]
            raise UserError(f"{file} has {found} column {name!r}{hint}; {'; '.join(says)}")


def some_of(names: Sequence[str]) -> str:
    """The first columns, and how many more there are."""
    more = len(names) - _TOLD
    return listed(names[:_TOLD]) + (f" and {more} more" if more > 0 else "")


_TOLD = 10  # columns that are named


def _which_labels(schema: pa.Schema) -> str:
    texts = [each for each in schema.names if schema.names.count(each) == 1 and is_text(schema, each)]
    found = f" (text is in {some_of(texts)})" if texts and len(schema.names) > _TOLD else ""
    return f"name the one of given labels with --label-column{found}"


def _which_texts(schema: pa.Schema) -> str:
    texts = [each for each in schema.names if schema.names.count(each) == 1 and is_text(schema, each)]
    return f"name the one of texts with --text-column (text is in {some_of(texts)})" if texts else "none holds text"


def guess_image(schema: pa.Schema) -> str | None:
    """The column of images, by its name and type."""
    return next((name for name in _IMAGE_NAMES if schema.names.count(name) == 1 and is_image(schema, name)), None)


def _wrong_type(schema: pa.Schema, name: str, file: AbstractPart, rule: str, fix: str) -> UserError:
    return UserError(f"column {name!r} of {file} is {schema.field(name).type}, but {rule}; {fix}")
