"""Files in the place of a checkpoint: nothing in them is executed or unpacked, whatever they are."""

from __future__ import annotations

import contextlib
import io
import pickle
import re
import resource
import tarfile
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hostile_data import Creates, answer, nothing_is_created
from hypothesis import given, settings
from hypothesis import strategies as st

from ray_mentor.core import plain_load
from ray_mentor.core.plain_load import load_plain
from ray_mentor.errors import UserError
from ray_mentor.run.checkpoint.state import FORMAT_VERSION, RunState

TABLE = {"step": 3, "history": torch.arange(6.0).reshape(2, 3), "rows": [{"loss": 0.5, "none": None}], "raw": b"abc"}


def saved(value: Any, **options: Any) -> bytes:
    file = io.BytesIO()
    torch.save(value, file, **options)
    return file.getvalue()


def repacked(
    data: bytes, change: Callable[[str, bytes], bytes] = lambda _, content: content, *,
    compression: int = zipfile.ZIP_STORED, more: dict[str, bytes] | None = None,
) -> bytes:  # fmt: skip
    """The same archive with other contents or more files."""
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(file, "w", compression) as new:
        for part in old.infolist():
            new.writestr(part.filename, change(part.filename, old.read(part)))
        for name, content in (more or {}).items():
            new.writestr(name, content)
    return file.getvalue()


def refused(data: bytes) -> str:
    """What is said of such a checkpoint; the loader below may be of another opinion."""
    with contextlib.suppress(Exception):
        load_plain(data)
    said = answer(lambda: RunState.from_bytes(data, "run/state.pt"))
    assert said is not None
    assert said.startswith("checkpoint run/state.pt ")
    return said


# Pickles


def forms(trap: Creates) -> dict[str, bytes]:
    """Everything that some version of torch.load would unpickle."""
    pickled = pickle.dumps(trap)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        old = saved(trap, _use_new_zipfile_serialization=False)
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as archive:
        for name in ("storages", "tensors", "pickle"):
            info = tarfile.TarInfo(name)
            info.size = len(pickled)
            archive.addfile(info, io.BytesIO(pickled))
    return {
        "a pickle": pickled,
        "a text pickle": pickle.dumps(trap, protocol=0),
        "an archive": saved(trap),
        "an archive with a pickle in it": saved({"format_version": FORMAT_VERSION, "curriculum": {"step": trap}}),
        "the format before archives": old,
        "the format before that": tar.getvalue(),
        "a pickle behind an archive": saved(TABLE) + pickled,
        "an archive behind a pickle": pickled + saved(TABLE),
        "a pickle in the place of data.pkl": repacked(
            saved(TABLE), lambda name, content: pickled if name.endswith("data.pkl") else content
        ),
        "TorchScript": repacked(saved(trap), more={"archive/constants.pkl": pickled, "archive/code/x.py": b"1/0"}),
    }


@pytest.mark.parametrize("form", forms(Creates(Path("nowhere"))))
def test_a_pickle_is_not_executed(tmp_path: Path, form: str) -> None:
    with nothing_is_created(tmp_path / "created") as trap:
        refused(forms(trap)[form])


def test_such_a_pickle_is_executed_by_a_loader_that_does_not_care(tmp_path: Path) -> None:
    """So that the test above can fail."""
    data = forms(Creates(tmp_path / "created"))["an archive"]
    torch.load(io.BytesIO(data), weights_only=False).close()
    assert (tmp_path / "created").exists()


# Archives


def test_an_archive_that_is_compressed_is_not_unpacked() -> None:
    """A gigabyte in a megabyte; twenty times that, in files that share their bytes, would be no larger."""
    data = repacked(saved(TABLE), compression=zipfile.ZIP_DEFLATED, more={"archive/data/9": bytes(2**26)})
    assert len(data) < 2**17
    with pytest.raises(ValueError, match="it unpacks to 67,"):
        load_plain(data)


@pytest.mark.parametrize(
    "name", ["archive/../../up", "archive/data/../9", "archive/e/", "../../up", "/tmp/up", "C:\\up"]
)
def test_a_file_beside_those_that_are_expected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """It may be there, if it claims no other folder; it is never written anywhere."""
    (tmp_path / "inner").mkdir()
    monkeypatch.chdir(tmp_path / "inner")
    try:
        assert load_plain(repacked(saved(TABLE), more={name: b"x"}))["step"] == 3
    except RuntimeError as error:
        assert "is not in a subdirectory" in str(error)  # noqa: PT017
    assert [path.name for path in tmp_path.rglob("*")] == ["inner"]


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_file_that_is_there_twice() -> None:
    for more in ({"archive/data.pkl": b"junk"}, {"archive/data/0": b"junk"}):
        answer(lambda more=more: RunState.from_bytes(repacked(saved(TABLE), more=more), "x"))


def test_a_tensor_that_claims_more_than_its_file_holds() -> None:
    def larger(name: str, content: bytes) -> bytes:
        return content.replace(b"K\x06tq", b"J\x00\x00\x00\x10tq") if name.endswith("data.pkl") else content

    data = repacked(saved(TABLE), larger)
    assert data != repacked(saved(TABLE))
    said = refused(data)
    assert "does not match expected size" in said or "cannot be read" in said


def calling(function: str, *arguments: str) -> bytes:
    """An archive with the result of a call; arguments are a pickle's, bytes among them a text of two bytes each."""
    made = "\x85\x86\x87"[len(arguments) - 1]  # a tuple of one, two, three
    pickled = f"\x80\x02c{function}\n{''.join(arguments)}{made}R.".encode("latin1")
    return repacked(saved(TABLE), lambda name, content: pickled if name.endswith("data.pkl") else content)


def text(word: str) -> str:
    return f"X{chr(len(word))}\0\0\0{word}"


RAW = f"c_codecs\nencode\n{text('ab')}{text('latin1')}\x86R"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (calling("builtins\nbytearray", "J\0\0\0\x10"), "it calls builtins.bytearray, which makes as much"),
        (calling("__builtin__\nbytearray", "J\0\0\0\x10"), "it calls __builtin__.bytearray, which makes as much"),
        (calling("torch\nFloatTensor", "J\0\0\0\x10"), "it calls torch.FloatTensor, which makes as much"),
        (calling("_codecs\nencode", RAW, text("hex")), "it encodes bytes as hex"),
        (calling("_codecs\nencode", RAW, text("Hex_Codec"), text("strict")), "it encodes bytes as Hex_Codec"),
        (calling("_codecs\nencode", RAW, text("quopri") + "q\x07"), "it encodes bytes as quopri"),
        (calling("_codecs\nencode", text("quopri") + "q\x07" + RAW + "h\x07\x86", ""), "it encodes bytes as quopri"),
        (calling("_codecs\nencode", "(" + RAW + text("quopri") + "t"), "it may encode bytes as quopri"),
    ],
)  # fmt: skip
def test_a_call_that_makes_as_much_as_it_is_told_to(data: bytes, said: str) -> None:
    assert len(data) < 3000
    with pytest.raises(ValueError, match=re.escape(said)):
        load_plain(data)


def test_bytes_and_names_of_codings_are_read() -> None:
    table = {"raw": b"\xff" * 300, "hex": b"hex", "pair": ("a", "zip", 3), "also": "base64", "four": (1, 2, 3, "x")}
    assert load_plain(saved(table)) == table


def test_a_tensor_that_repeats_what_its_file_holds() -> None:
    data = saved({**TABLE, "history": torch.zeros(1).expand(10**9)})
    assert len(data) < 5000
    with pytest.raises(ValueError, match=r"it declares a tensor of shape \(1000000000,\), but does not hold it"):
        load_plain(data)


@pytest.mark.parametrize(
    "value",
    [
        torch.zeros(2, 2).to_sparse(),
        torch.empty(3, device="meta"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_tensors_of_other_kinds(value: torch.Tensor) -> None:
    answer(lambda: RunState.from_bytes(saved({"format_version": FORMAT_VERSION, "curriculum": value}), "x"))


def wide(depth: int) -> list[Any]:
    """There are 2^depth ways to get to the innermost."""
    found: list[Any] = [0.0]
    for _ in range(depth):
        found = [found, found]
    return found


def endless() -> list[Any]:
    found: list[Any] = []
    found.append(found)
    return found


@pytest.mark.parametrize("value", [wide(21), wide(50), endless()], ids=["wide", "wider", "endless"])
def test_containers_that_are_more_than_they_take(value: list[Any]) -> None:
    """Whoever copies such a list, as an optimizer does, writes out all of it: two gigabytes of 2^21 ways."""
    said = refused(saved({**TABLE, "optimizer": {"state": {0: {"extra": value}}}}))
    assert "its containers hold one another so often that they come to more values than it has bytes" in said


REST = b"\x80\x02]."  # of a pickle that makes an empty list


def in_place_of_the_pickle(made: bytes) -> bytes:
    return repacked(
        saved(TABLE), lambda name, content: REST[:2] + made + REST[2:] if name.endswith("data.pkl") else content
    )


@pytest.mark.parametrize(
    "made",
    [b"\x8f" * 50_000, b"](" + b"}" * 50_000 + b"e0", b"}q\x01" * 50_000, b"(" * 50_000, b")\x85" * 50_000,
     b"ccollections\nOrderedDict\nq\x00" + b"h\x00)R" * 20_000],
    ids=["sets", "in a list", "kept", "marks", "tuples", "made by a call"],
)  # fmt: skip
def test_objects_that_take_more_than_the_file(monkeypatch: pytest.MonkeyPatch, made: bytes) -> None:
    monkeypatch.setattr(plain_load, "_ROOM", 0)
    with pytest.raises(ValueError, match=r"it makes objects of more than [\d,]+ bytes from "):
        load_plain(in_place_of_the_pickle(made))


def test_objects_without_number_are_not_made() -> None:
    """Ten megabytes of } made as many dicts, of 1.7 GB, before they were refused."""
    data = in_place_of_the_pickle(b"}" * 10_000_000)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ValueError, match=r"it makes objects of more than 46\d,\d{3},\d{3} bytes from 10,000,004"):
        load_plain(data)
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 < 10 * len(data)


def test_many_small_tensors_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many params a student has."""
    monkeypatch.setattr(plain_load, "_ROOM", 0)
    params = {f"layers.{number}.bias": torch.full((1,), float(number)) for number in range(1_000)}
    adam = {number: {"step": 1, "exp_avg": each.clone()} for number, each in enumerate(params.values())}
    found = load_plain(saved({"student": params, "optimizer": {"state": adam}}))
    assert torch.equal(torch.cat(list(found["student"].values())), torch.arange(1_000.0))


def test_a_container_that_is_there_twice() -> None:
    """As the betas of two groups of params are."""
    betas, own = (0.9, 0.999), [1.0]
    table = {"groups": [{"betas": betas, "own": own}, {"betas": betas, "own": own}], "none": [], "set": {1, (2, 3)}}
    assert load_plain(saved(table)) == table


def test_what_was_saved_comes_back() -> None:
    table = load_plain(saved(TABLE))
    assert torch.equal(table.pop("history"), TABLE["history"])
    assert table == {name: value for name, value in TABLE.items() if name != "history"}


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    places=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=3),
    end=st.floats(0, 1),
    junk=st.binary(max_size=20),
)
def test_bytes_that_are_wrong(places: list[tuple[float, int]], end: float, junk: bytes) -> None:
    content = bytearray(saved(TABLE))
    for place, byte in places:
        content[int(place * len(content))] = byte
    data = bytes(content[: round(max(end, 0.5) * len(content))]) + junk
    try:
        table = load_plain(data)
    except Exception:
        with pytest.raises(UserError):
            RunState.from_bytes(data, "x")
    else:  # what lies between the files of an archive may be anything
        assert torch.equal(table["history"], TABLE["history"])
