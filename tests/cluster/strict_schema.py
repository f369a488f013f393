"""The KubeRay operator's schemas, taken strictly: the API server drops a misspelt field, here it is an error."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema
import yaml

ROOT = Path(__file__).parents[2]
CRDS = ROOT.parent / "shared" / "data" / "kuberay"
FILES = {"RayCluster": "ray.io_rayclusters.yaml", "RayJob": "ray.io_rayjobs.yaml"}
METADATA = {
    "type": "object",
    "required": ["name"],
    "properties": {
        "name": {"type": "string", "pattern": "^[a-z]([a-z0-9-]*[a-z0-9])?$", "maxLength": 47},
        "namespace": {"type": "string"},
        "labels": {"type": "object"},
        "annotations": {"type": "object"},
    },
    "additionalProperties": False,
}


def schema_of(kind: str) -> dict[str, Any]:
    """Version v1 of a kind's schema, strict."""
    crd = yaml.load((CRDS / FILES[kind]).read_text(), yaml.CSafeLoader)
    version = next(v for v in crd["spec"]["versions"] if v["name"] == "v1")
    schema = strict(version["schema"]["openAPIV3Schema"])
    schema["properties"]["metadata"] = METADATA
    schema["required"] = ["apiVersion", "kind", "metadata", "spec"]
    return schema


def strict(schema: dict[str, Any]) -> dict[str, Any]:
    """A copy in which an object that lists its properties has no others."""
    copy = {key: value for key, value in schema.items() if key not in ("properties", "items", "additionalProperties")}
    if "properties" in schema:
        copy["properties"] = {name: strict(inner) for name, inner in schema["properties"].items()}
        copy["additionalProperties"] = schema.get("x-kubernetes-preserve-unknown-fields", False)
    for key in ("items", "additionalProperties"):
        if key in schema:
            copy[key] = strict(schema[key]) if isinstance(schema[key], dict) else schema[key]
    return copy


def complaints(document: Any, schema: dict[str, Any]) -> list[str]:
    """What is wrong with it, a line each."""
    return [
        f"{'.'.join(map(str, error.absolute_path))}: {error.message}"
        for error in jsonschema.Draft7Validator(schema).iter_errors(document)
    ]
