"""How well sample weights tell wrong labels from right ones."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


def noise_auroc(ledger: pa.Table) -> float | None:
    """AUROC of 1 − scored weight, over each sample's last ledger row, against given label ≠ true label.

    Returns:
        In [0, 1]; 0.5 for weights that say nothing. None where the truth is not known or all labels
        are right (or all wrong).
    """
    if len(ledger) == 0 or ledger["true_label"].null_count:
        return None
    last = ledger.filter(pc.equal(ledger["epoch"], pc.max(ledger["epoch"])))
    wrong = pc.not_equal(last["given_label"], last["true_label"]).to_numpy(zero_copy_only=False)
    if wrong.all() or not wrong.any():
        return None
    from sklearn.metrics import roc_auc_score  # noqa: PLC0415 - takes seconds to import, and only a run's end needs it

    return float(roc_auc_score(wrong, 1 - last["scored_weight"].to_numpy().astype(np.float64)))
