"""Every file of cluster/ names the values to fill in, and all files that are named are there."""

from __future__ import annotations

import re

from cluster_files import FOLDER, KUBERAY, MARK, ROOT, WITH_HEADER, below_header, header_of, read

README = read("README.md")


def test_no_file_is_without_a_test() -> None:
    there = {str(path.relative_to(FOLDER)) for path in FOLDER.rglob("*") if path.is_file()}
    assert there == {*WITH_HEADER, "kuberay/train/kustomization.yaml", "README.md", "Dockerfile.dockerignore"}


def test_the_header_names_every_value_to_fill_in_and_how_to_stop_it() -> None:
    for name in WITH_HEADER:
        header, below = header_of(read(name)), below_header(read(name))
        assert set(MARK.findall(header["Fill in"])) == set(MARK.findall(below)), name
        assert header["Stop"], name
        rest = MARK.sub("", below)
        assert not re.search(r"<[A-Za-z]|\bYOUR|CHANGEME|TODO|FIXME", rest), f"{name} marks a value in another way"


def test_a_value_that_the_header_does_not_name_is_found() -> None:
    text = "# Starts: a\n# Fill in: <YOUR-A>, which\n#   is long, <YOUR-B>.\nkey: <YOUR-C>\n"
    assert MARK.findall(header_of(text)["Fill in"]) == ["<YOUR-A>", "<YOUR-B>"]
    assert MARK.findall(below_header(text)) == ["<YOUR-C>"]


def test_the_readme_names_every_file() -> None:
    named = [*(name for name in WITH_HEADER if not name.startswith("kuberay/")), "kuberay/storage.yaml"]
    for name in (*named, *(f"kuberay/{folder}" for folder in KUBERAY)):
        assert f"`{name}`" in README, name


def test_every_file_that_is_named_is_there() -> None:
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    texts = [README, *(page.read_text() for page in pages), *map(read, WITH_HEADER)]
    named = {name for text in texts for name in re.findall(r"(?<!ray)(?<!-)cluster/([\w./-]+\w)", text)}
    assert named
    assert not {name for name in named if not (FOLDER / name).exists()}
