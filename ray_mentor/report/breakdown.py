"""What became of each class, group and source, and of text, as rows of a run's closing table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ray_mentor.errors import printable

Rows = list[tuple[str, Any, str]]
"""Name, value or None, and how it is written."""


def class_rows(result: Mapping[str, Any]) -> Rows:
    """Balanced accuracy, and what became of rare classes."""
    what = "agreement on the test split" if result.get("test_accuracy") is None else "test accuracy"
    rows: Rows = [(f"{what}, mean over classes", result["test_balanced_accuracy"], "{:.4f}")]
    if (result.get("class_ratio") or 1.0) >= _UNEVEN:
        rows += [(f"  {says}", result[f"test_{name}_accuracy"], "{:.4f}") for name, says in _OF_SIZES.items()]
        worst = f"  worst class, {printable(str(result['test_worst_class']))}"
        rows.append((worst, result["test_worst_class_accuracy"], "{:.4f}"))
    found = [each for each in result["classes"] if each["is_rare"]]
    for each in found[:_RARE_CLASSES]:
        name, more = ("accuracy", "") if result.get("test_accuracy") is not None else ("agreement", " by given labels")
        figures = [
            (name, each["test_accuracy"]),
            (f"precision{more}", each.get("test_precision")),
            ("weight", each["mean_sample_weight"]),
        ]
        says = ", ".join(f"{name} {value:.2f}" for name, value in figures if value is not None)
        rows.append((f"rare class {printable(each['class'])}, {each['training_share']:.1%} of samples", says, "{}"))
    if found:
        rows.append(("  mean weight of the other classes", result["mean_sample_weight_elsewhere"], "{:.2f}"))
    return rows


def group_rows(result: Mapping[str, Any]) -> Rows:
    """The worst group, and each, the worst first."""
    groups = result.get("groups")
    if groups is None:
        return []
    by_given = result.get("test_accuracy") is None
    test = "accuracy on the test split"
    if by_given:
        test = "agreement with the test split's given labels (lower where a group's are wrong)"
    rows: Rows = []
    for name, says in (("test", test), ("trusted", "accuracy on held-out trusted samples")):
        worst = f"worst group by {says}: {printable(str(result[f'{name}_worst_group']))}"
        rows.append((worst, result[f"{name}_worst_group_accuracy"], "{:.4f}"))
    known = [each for each in groups if each["test_accuracy"] is not None or each["trusted_accuracy"] is not None]
    tested = "test (given labels)" if by_given else "test"
    for each in sorted(known, key=_group_accuracy)[:_GROUPS]:
        parts = ("test_accuracy", "test_samples", tested), ("trusted_accuracy", "trusted_held_out", "held-out trusted")
        says = ", ".join(f"{each[a]:.3f} of {each[n]} {of}" for a, n, of in parts if each[a] is not None)
        rows.append((f"  group {printable(each['group'])}, {each['training_samples']:,} training samples", says, "{}"))
    if len(known) > _GROUPS:
        rows.append((f"  {len(known) - _GROUPS} others", "in result.json", "{}"))
    return rows


def _group_accuracy(group: Mapping[str, Any]) -> float:
    tested = group["test_accuracy"]
    return float(group["trusted_accuracy"] if tested is None else tested)


def mixture_rows(result: Mapping[str, Any]) -> Rows:
    """How much of the training each source was, the largest at the end first."""
    found = result.get("mixture")
    if found is None:
        return []
    unit = "samples" if found.get("tokens") is None else "bytes" if bits_rows(result) else "tokens"
    rows: Rows = [(f"{unit} from each source", _policy_text(found["policy"]), "{}")]
    order = sorted(found["shares"], key=lambda name: -float(found["shares"][name]))
    for name in order[:_SOURCES]:
        values = found["shares"][name], found["shares_of_training"][name], found["epochs"][name]
        says = "{:.1%} at the end, {:.1%} overall, each {:.1f} times".format(*values)
        rows.append((f"  source {printable(name)}", says, "{}"))
    if len(order) > _SOURCES:
        rest = order[_SOURCES:]
        sums = (sum(found[each][name] for name in rest) for each in ("shares", "shares_of_training"))
        rows.append((f"  {len(rest)} other sources", "{:.1%} at the end, {:.1%} overall".format(*sums), "{}"))
    return rows


def _policy_text(policy: str) -> str:
    """How shares came about, in words."""
    return _POLICIES.get(policy, "shares as given" if policy.startswith("fixed:") else f"shares by the rule {policy}")


_POLICIES = {
    "learned": "shares learned for the target",
    "uniform": "the same share each",
    "size": "shares by size",
}


def target_rows(result: Mapping[str, Any]) -> Rows:
    """The same of each of several targets, the first ones."""
    found = list(result.get("targets", {}).items())[:_SOURCES]
    return [
        (
            f"  target {printable(name)} (weight {each['weight']:.2f}), {each['held_out']} held out",
            each.get("accuracy", each.get("bits_per_byte")),
            "{:.4f}",
        )
        for name, each in found
    ]


def bits_rows(result: Mapping[str, Any]) -> Rows:
    """How well the kept student says the next byte of plain text; none of anything else."""
    rows: Rows = []
    trusted, error = result.get("trusted_bits_per_byte"), result.get("trusted_bits_per_byte_error")
    if trusted is not None:
        name = f"bits per byte of {result['trusted_held_out']} held-out windows of trusted text"
        rows.append((name, trusted, "{:.4f}" if error is None else f"{{:.4f}} ± {error:.4f}"))
        rows += target_rows(result)
    for split in ("test", "validation"):
        value = result.get(f"{split}_bits_per_byte")
        rows += [] if value is None else [(f"bits per byte of the {split} split", value, "{:.4f}")]
    return rows


_SOURCES = _GROUPS = 10  # that the table tells of
_UNEVEN = 3.0  # times as large as the smallest class is the largest, where the table tells of sizes
_OF_SIZES = {
    "many": "classes of more than 100 training samples",
    "medium": "classes of 20 to 100",
    "few": "classes of fewer than 20",
}
_RARE_CLASSES = 5  # that the table tells of
