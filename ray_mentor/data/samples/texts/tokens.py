"""A tokenizer that travels: its files, as Hugging Face's ``save_pretrained`` writes them, and how many ids it may give.

Code of a folder's own is not run.
"""

from __future__ import annotations

import functools
import hashlib
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ray_mentor.errors import UserError, listed, shown
from ray_mentor.extras import needing

STUDENTS = "hf:"
"""What the names of students begin with whose folder has a tokenizer."""

USUAL = 512
"""Tokens of a text where neither the model nor its tokenizer says how many it takes."""

_FILES = ("tokenizer.json", "vocab.txt", "vocab.json", "tokenizer.model", "spiece.model", "sentencepiece.bpe.model")
_ENDLESS = 10**6  # tokens: what tokenizers say that know no limit


@dataclass(frozen=True)
class Tokens:
    """A tokenizer, and what is known of the model that it is for.

    Attributes:
        files: their names and contents; nothing in them is run.
        pad: the id of padding, which the model does not see.
        most: ids of a text, special ones counted in; a longer one is cut.
    """

    files: tuple[tuple[str, bytes], ...]
    pad: int
    most: int

    @staticmethod
    def of(student: str | None, most: int | None) -> Tokens:
        """That in the folder of a student of Hugging Face's, ``hf:FOLDER``, or of its name on the Hub.

        Args:
            most: as the setting ``max_tokens`` has it; None: as many as the model takes.

        Raises:
            UserError: a student of no texts, no tokenizer, one that doesn't belong with the model, or more than it
                takes.
        """
        if student is None or not student.startswith(STUDENTS):
            what = "is built by code of your own" if student is None else f"{shown(student)} takes no texts"
            raise UserError(
                f"text_column is given, but the student {what}; give --student hf:FOLDER, a model of texts of Hugging "
                "Face's with its tokenizer in the folder, e.g. a BERT"
            )
        with needing("hf", "--text-column"):
            import transformers  # noqa: PLC0415 - an extra
        place = student.removeprefix(STUDENTS)
        _require_files(student, place)
        try:
            config = transformers.AutoConfig.from_pretrained(place, trust_remote_code=False)
            tokenizer: Any = transformers.AutoTokenizer.from_pretrained(place, trust_remote_code=False)
        except Exception as error:  # a damaged file, no network, code of its own
            says = next(iter(str(error).splitlines()), type(error).__name__)
            raise UserError(
                f"the tokenizer of student {shown(student)} can't be read ({type(error).__name__}: {says[:200]}); "
                "write it there anew: tokenizer.save_pretrained(FOLDER)"
            ) from error
        _check_draws_nothing(student, tokenizer)
        most = _most(student, config, tokenizer, most)
        tokenizer.model_max_length = most
        tokenizer.padding_side = tokenizer.truncation_side = "right"
        return Tokens(_saved(tokenizer), _padding(student, config, tokenizer), most)

    @property
    def digest(self) -> str:
        """Of all that ids depend on."""
        made = hashlib.blake2b(f"{self.most} {self.pad}".encode(), digest_size=16)
        for name, content in self.files:
            made.update(f"{name} {len(content)} ".encode() + content)
        return made.hexdigest()

    def encode(self, texts: Sequence[str]) -> tuple[list[list[int]], int]:
        """The ids of each text, and how many texts were cut to ``most`` of them."""
        tokenizer = _made(self.files)
        ids: list[list[int]] = tokenizer(list(texts), truncation=False, verbose=False)["input_ids"]
        long = [place for place, each in enumerate(ids) if len(each) > self.most]
        if long:
            cut = tokenizer([texts[place] for place in long], truncation=True, max_length=self.most)["input_ids"]
            for place, each in zip(long, cut, strict=True):
                ids[place] = each
        return ids, len(long)

    def of_cut(self, texts: int, cut: int) -> list[str]:
        """What the user should be told of texts, where some were cut."""
        if not cut:
            return []
        more = f"{cut:,} of {texts:,} texts have more than {self.most} tokens, and are cut there"
        return [f"{more}: the student does not see what follows"]


def _require_files(student: str, place: str) -> None:
    """``transformers`` makes an empty tokenizer where there is none."""
    if os.path.isdir(place) and not any(os.path.exists(os.path.join(place, name)) for name in _FILES):
        raise UserError(
            f"student {shown(student)} has no tokenizer, which texts need: its folder has {listed(_there(place), 10)}, "
            f"but none of {listed(_FILES)}; write it there: tokenizer.save_pretrained({place!r})"
        )


def _there(place: str) -> list[str]:
    return sorted(os.listdir(place)) or ["no file"]


def _most(student: str, config: Any, tokenizer: Any, asked: int | None) -> int:
    limits = [limit for limit in (_positions(config), int(tokenizer.model_max_length)) if limit]
    limit = min([each for each in limits if each < _ENDLESS], default=USUAL)
    least = tokenizer.num_special_tokens_to_add() + 1
    if asked is not None and not least <= asked <= limit:
        raise UserError(
            f"max_tokens is {asked}, but texts for student {shown(student)} may have {least} to {limit} tokens; give "
            "one of these, or leave it out"
        )
    return asked or limit


def _positions(config: Any) -> int | None:
    """How many tokens a model has positions for; None of one that counts none."""
    found = next((getattr(config, name, None) for name in ("max_position_embeddings", "n_positions")), None)
    if not isinstance(found, int) or found <= 0:
        return None
    return found - _before_the_first(config)


def _before_the_first(config: Any) -> int:
    """How many positions lie before a text's first.

    RoBERTa and its kin count from the one after padding's on, and an embedding of positions that has one for padding is
    theirs.
    """
    import transformers  # noqa: PLC0415 - seconds

    auto: Any = transformers.AutoModelForSequenceClassification
    try:
        with torch.device("meta"):  # shapes alone
            model = auto.from_config(config, trust_remote_code=False)
    except Exception:  # no form for classes of texts, or a config that is refused when the student is made
        return 0
    tables = (module for name, module in model.named_modules() if name.endswith(".position_embeddings"))
    padding = (getattr(table, "padding_idx", None) for table in tables)
    return next((place + 1 for place in padding if place is not None), 0)


def _check_draws_nothing(student: str, tokenizer: Any) -> None:
    model = getattr(getattr(tokenizer, "backend_tokenizer", None), "model", None)
    dropout = getattr(model, "dropout", None)
    if dropout:
        raise UserError(
            f"the tokenizer of student {shown(student)} drops merges at random (dropout {dropout:g}), so that a text "
            "is another one each time; save it with tokenizer.backend_tokenizer.model.dropout = None"
        )


def _padding(student: str, config: Any, tokenizer: Any) -> int:
    """What both call padding: the model's mask is made of it."""
    own, told = tokenizer.pad_token_id, getattr(config, "pad_token_id", None)
    if told is None and own is None:
        raise UserError(
            f"student {shown(student)} knows no padding, which shorter texts of a batch need; set tokenizer.pad_token "
            "= tokenizer.eos_token and model.config.pad_token_id = tokenizer.pad_token_id, and save both with "
            "save_pretrained(FOLDER)"
        )
    if own is None and told not in tokenizer.all_special_ids:
        raise UserError(
            f"student {shown(student)}: padding is {told} in its config, which to its tokenizer is the word "
            f"{shown(tokenizer.convert_ids_to_tokens(told))}; set tokenizer.pad_token and model.config.pad_token_id to "
            "a token that no text has, and save both"
        )
    if told is None or own not in (None, told):
        raise UserError(
            f"student {shown(student)}: padding is {told} in its config, and {own} to its tokenizer, but both must "
            "know it by one number; set model.config.pad_token_id = tokenizer.pad_token_id, and save both"
        )
    size = getattr(config, "vocab_size", None)
    if isinstance(size, int) and len(tokenizer) > size:
        raise UserError(
            f"student {shown(student)} knows {size:,} tokens, but its tokenizer has {len(tokenizer):,}; save the one "
            "that the model was made for"
        )
    return int(told)


def _saved(tokenizer: Any) -> tuple[tuple[str, bytes], ...]:
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save_pretrained(folder)
        return tuple((file.name, file.read_bytes()) for file in sorted(Path(folder).iterdir()) if file.is_file())


@functools.lru_cache(maxsize=4)
def _made(files: tuple[tuple[str, bytes], ...]) -> Any:
    """The tokenizer of these files; once in a process.

    Raises:
        UserError: they are those of none.
    """
    with needing("hf", "a student of texts"):
        import transformers  # noqa: PLC0415 - an extra
    with tempfile.TemporaryDirectory() as folder:
        for name, content in files:
            Path(folder, name).write_bytes(content)
        try:
            return transformers.AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
        except Exception as error:  # of whatever class damage calls for
            says = next(iter(str(error).splitlines()), type(error).__name__)
            raise UserError(f"the tokenizer can't be read ({type(error).__name__}: {says[:200]})") from error
