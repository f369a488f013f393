"""An S3 of this machine (moto's), and what it was asked for."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

BUCKET, REGION = "bucket", "eu-west-1"
ENVIRONMENT = {"AWS_ACCESS_KEY_ID": "some", "AWS_SECRET_ACCESS_KEY": "key", "AWS_DEFAULT_REGION": REGION}


@contextmanager
def object_store(patch: pytest.MonkeyPatch) -> Iterator[Store]:
    """With the bucket ``bucket``, found by the environment."""
    log = logging.getLogger("werkzeug")
    store, before = Store(), log.level
    log.addHandler(store)
    log.setLevel(logging.INFO)
    log.propagate = False
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        for name, value in {**ENVIRONMENT, "AWS_ENDPOINT_URL": f"http://{host}:{port}"}.items():
            patch.setenv(name, value)
        store.client = boto3.client("s3")
        store.client.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
        yield store
    finally:
        server.stop()
        log.removeHandler(store)
        log.setLevel(before)
        log.propagate = True


class Store(logging.Handler):
    """Takes files, and the requests that were made."""

    def __init__(self) -> None:
        super().__init__()
        self.requests: list[str] = []
        self.client: Any = None

    def emit(self, record: logging.LogRecord) -> None:
        if found := re.search(r"(GET|HEAD|PUT|POST|DELETE) \S+", record.getMessage()):
            self.requests.append(found[0])

    def put(self, folder: Path) -> str:
        """The URI of a copy."""
        for file in filter(Path.is_file, folder.rglob("*")):
            self.client.put_object(Bucket=BUCKET, Key=str(file.relative_to(folder.parent)), Body=file.read_bytes())
        return f"s3://{BUCKET}/{folder.name}"
