"""File systems by the URI of what lies there (s3://, gs://, file://), as pyarrow has them."""

from __future__ import annotations

import os
from typing import Any
from urllib.parse import quote, unquote, urlsplit, urlunsplit

import pyarrow as pa
import pyarrow.fs

_OBJECT_STORES = {"s3", "gs", "gcs"}
_GOOGLE = {"gs", "gcs"}
_LIMIT = "retry_limit_seconds"
_FIRST_SECONDS, _LATER_SECONDS = 5, 60  # for which Google's client goes on trying: left to itself 15 minutes
_PLAIN = "/%:@!$&'()*+,;=~"  # what stays as it is in a URI's path, beside letters and digits
_FAILED = ("AWS Error", "google::cloud::Status")


def resolved(uri: str) -> tuple[Any, str]:
    """The file system of a URI, and the path in it.

    What lies in one bucket shares a file system, and so its connections. A space or the like in the path needs no
    ``%20``. Google's client is asked for the path once before, with little patience: a host that isn't there, or has no
    network, is told of within seconds.

    Raises:
        OSError, pyarrow.ArrowException: no such file system, or one that can't be reached.
    """
    try:
        parts = urlsplit(uri.replace("#", "%23"))  # a letter of a name, as no file is of two parts
    except ValueError as error:  # a bracket in what should be a host
        raise pa.ArrowInvalid(f"{uri} is no URI: {error}") from error
    if parts.scheme not in _OBJECT_STORES or not parts.netloc:
        system, path = pyarrow.fs.FileSystem.from_uri(_legal(uri))
        return system, path
    environment = tuple(sorted((name, value) for name, value in os.environ.items() if name.startswith(_ASKED)))
    system, root = _store(parts.scheme, parts.netloc, parts.query, unquote(parts.path), os.getpid(), environment)
    return system, f"{root}{unquote(parts.path)}".rstrip("/")


_ASKED = ("AWS_", "GOOGLE_", "CLOUD_STORAGE_", "STORAGE_EMULATOR")


def is_far(error: Exception) -> bool:
    """Whether an error is an object store's, not of what lies there."""
    return any(text in str(error) for text in _FAILED)


_known: dict[tuple[object, ...], tuple[Any, str]] = {}
"""File systems by where they are, and what comes before the paths in each."""


def _store(scheme: str, netloc: str, query: str, path: str, *seen: object) -> tuple[Any, str]:
    key = (scheme, netloc, query, *seen)
    if key not in _known:
        if scheme in _GOOGLE and _LIMIT not in query:
            first, root = _opened(scheme, netloc, f"{query}&{_LIMIT}={_FIRST_SECONDS}".lstrip("&"))
            first.get_file_info(f"{root}{path}")
            query = f"{query}&{_LIMIT}={_LATER_SECONDS}".lstrip("&")
        _known[key] = _opened(scheme, netloc, query)
    return _known[key]


def _opened(scheme: str, netloc: str, query: str) -> tuple[Any, str]:
    system, bucket = pyarrow.fs.FileSystem.from_uri(urlunsplit((scheme, netloc, "", query, "")))
    return system, str(bucket).rstrip("/")


def _legal(uri: str) -> str:
    start, mark, rest = uri.partition("://")
    path, question, query = rest.partition("?")
    return f"{start}{mark}{quote(path, safe=_PLAIN)}{question}{query}"
