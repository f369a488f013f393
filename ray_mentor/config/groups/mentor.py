"""The mentor, what it sees, how it learns and what that may cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ray_mentor.config.values import require
from ray_mentor.errors import one_of

FEATURES = ("loss", "loss_difference", "label", "progress", "history", "class_share")
"""What a mentor may look at, per sample."""

META_LOSSES = ("error", "loss", "balanced", "worst-class")
"""What a mentor may make small; all but ``loss`` are of the expected error."""


@dataclass(frozen=True)
class MentorConfig:
    """The mentor, what it sees, how it learns and what that may cost."""

    mentor: Literal["mlp", "mentornet", "lstm", "cmw"] = "mlp"
    """Architecture: mlp, mentornet (the published network, of one loss), lstm (a sample's last history_length losses
    and the current one), or cmw (CMW-Net's: the loss, and how large the sample's class is)."""
    mentor_hidden: tuple[int, ...] = (100,)
    """Widths of the mlp's hidden layers."""
    mentor_embedding: tuple[int, int] = (2, 5)
    """Widths of the two embeddings of mentornet and lstm, of the label and of the percent of training, each from 1 to
    100."""
    mentor_features: tuple[str, ...] = ("loss", "loss_difference")
    """Features the mlp sees: loss, loss_difference, label, progress, history, class_share (how large the sample's class
    is, log(N_c·C/N) by given labels)."""
    history_length: int = 0
    """Past losses per sample that the feature `history` holds and an lstm sees, in epochs, >= 0. Each takes 4 bytes a
    sample of memory, which the workers share out among themselves."""
    mentor_learning_rate: float | None = None
    """Learning rate of the mentor's Adam per student step, > 0: an update counts for the steps since the last one, and
    its rate is this times update_interval. None: 0.3 over the steps for which the mentor has learned, from 0.01
    (and 0.03 an update) down to 0.0006: much while the student does not know wrong labels by heart, then little."""
    mentor_weight_decay: float = 0.0
    """Weight decay (decoupled) of the mentor's params, >= 0."""
    initial_sample_weight: float = 0.9
    """The sample weight that a fresh mentor gives to every sample, in (0, 1)."""
    update_interval: int | None = None
    """Student steps between two meta updates, >= 1. None: 20; fewer in a run that is short, so that there are some 50
    updates: a 50th of the steps in which the mentor learns."""
    meta_batch_size: int = 100
    """Meta samples per meta update over all workers, >= 1."""
    influence_samples: int = 0
    """Samples of a batch whose influence is computed at a meta update; 0 for all. Fewer than all is exact
    only for students whose samples do not meet: no batch norm, no dropout."""
    estimator: Literal["jvp", "finite_difference", "last_layer", "unrolled"] = "jvp"
    """How influences are computed: jvp (exact, one forward-mode pass), finite_difference (two plain forward passes,
    for students without forward mode; wrong where gradients are stopped or have a backward of their own), last_layer
    (nearly free; of the last layer alone), unrolled (double backward; slow; one process only)."""
    unroll_steps: int = 1
    """Student steps between a batch's weights and the meta loss, >= 1. More than 1 needs estimator unrolled, and
    then the ledger holds no influences, and an update that a checkpoint or the end cuts in two does not happen."""
    normalisation: Literal["sum", "batch"] = "sum"
    """Sample weights are divided by their sum over the global batch (sum), or by its size (batch)."""
    meta_loss: str | None = None
    """What the mentor makes small on the meta set: error, the expected error 1 − exp(−loss) (1 − p_y of cross-entropy),
    or loss, the loss itself, which over-confidence dominates in a cross-entropy: wrong labels lower it; balanced, the
    mean error over the classes of the meta set, and worst-class, that of the worst above all. None: error for a
    method's own loss, and loss for one of your own; if that is the negative log-likelihood of one label, give error.
    """
    entropy: float = 0.35
    """Pull λ towards equal sample weights, >= 0: p ∝ exp(−mean influence/λ), influences in units of their mean size."""
    class_evidence: float | None = None
    """Weight κ, >= 0, in the mentor's logit, of how far the influences of samples with the same given and predicted
    class lie below the mean; 0: by features alone. Nothing is known where a student's outputs are no class logits.
    None: 1; 0 where meta samples are drawn from the noisy ones, and may be wrong by pairs of classes, too."""
    anchor: float = 0.9
    """Sample weight that the upper quartile of a batch is held at under `sum`, in [0, 1); 0 leaves the scale free."""
    min_effective_share: float = 0.05
    """Floor of the share of a global batch that its sample weights let count, (Σw)²/(B·Σw²), in [0, 1); under `batch`
    of the mean weight, too. A step below it is taken with equal weights. One sample alone is 1/B; 0: no floor."""
    min_class_share: float = 0.05
    """Floor of a given class's running mean of its mean sample weight over that of its batch, in [0, 1). A step on a
    batch with a class below it is taken with equal weights; 0: no floor."""
    meta_holdout: float = 0.3
    """Share of the meta set that neither mentor nor student learns from, in [0, 1): accuracy on it is the true one, and
    says which epoch's student is kept, and what a sweep finds; its meta loss shows what is known by heart of the rest.
    The last sample of a class is not held out; 0 for none."""
    mentor_patience: int = 0
    """Epochs without a new minimum of the held-out meta loss after which the mentor learns no more, >= 0; 0: never."""
    loss_percentile: float = 0.6
    """Percentile p of the batch losses that loss_difference is measured from, in (0, 1)."""
    percentile_decay: float = 0.9
    """Decay of the running percentile per step, in [0, 1)."""
    scoring: Literal["auto", "actor", "replica"] = "auto"
    """Who scores a batch: the actor, or each worker (replica) with its copy of the latest mentor (bit-identical
    on a CPU, within rounding on a GPU, which it then need not wait for). auto: each worker where the student is on
    a GPU, else the actor."""
    mentor_params: str | None = None
    """Published MentorNet params (.npz) for method mentornet-pd. None: those that were fitted here to the published
    formula."""
    mentor_from: str | None = None
    """Folder of a run, or its mentor.npz: the mentor begins as that one ended. Needed by method mentornet-frozen, whose
    mentor stays so."""

    def __post_init__(self) -> None:
        one_of(self.mentor, ("mlp", "mentornet", "lstm", "cmw"), "mentor")
        one_of(self.normalisation, ("sum", "batch"), "normalisation")
        one_of(self.scoring, ("auto", "actor", "replica"), "scoring")
        if self.meta_loss is not None:
            one_of(self.meta_loss, META_LOSSES, "meta_loss")
        one_of(self.estimator, ("jvp", "finite_difference", "last_layer", "unrolled"), "estimator")
        for name in self.mentor_features:
            one_of(name, FEATURES, "mentor feature")
        require(bool(self.mentor_features), "mentor_features", self.mentor_features, "at least one is needed")
        require(all(w > 0 for w in self.mentor_hidden), "mentor_hidden", self.mentor_hidden, "widths are above 0")
        require(
            len(self.mentor_embedding) == 2 and all(1 <= w <= 100 for w in self.mentor_embedding),
            "mentor_embedding",
            self.mentor_embedding,
            "it must be two widths from 1 to 100, of label and percent",
            "e.g. 2 5",
        )
        rate = self.mentor_learning_rate
        require(rate is None or rate > 0, "mentor_learning_rate", rate, "it must be above 0")
        require(
            0 < self.initial_sample_weight < 1,
            "initial_sample_weight",
            self.initial_sample_weight,
            "it must lie in (0, 1)",
        )
        interval = self.update_interval
        require(interval is None or interval >= 1, "update_interval", interval, "it must be at least 1")
        for name in ("meta_batch_size", "unroll_steps"):
            require(getattr(self, name) >= 1, name, getattr(self, name), "it must be at least 1")
        require(
            self.unroll_steps == 1 or self.estimator == "unrolled",
            "unroll_steps",
            self.unroll_steps,
            f"estimator {self.estimator} looks one step ahead",
            "give --estimator unrolled",
        )
        require(
            interval is None or self.unroll_steps <= interval,
            "unroll_steps",
            self.unroll_steps,
            f"it must be at most update_interval, {interval}",
            "raise --update-interval",
        )
        for name in ("influence_samples", "history_length", "mentor_weight_decay", "entropy", "mentor_patience"):
            require(getattr(self, name) >= 0, name, getattr(self, name), "it must be at least 0")
        evidence = self.class_evidence
        require(evidence is None or evidence >= 0, "class_evidence", evidence, "it must be at least 0")
        require(self.history_length <= 10_000, "history_length", self.history_length, "it must be at most 10000")
        for name in ("anchor", "min_effective_share", "min_class_share", "meta_holdout"):
            require(0 <= getattr(self, name) < 1, name, getattr(self, name), "it must lie in [0, 1)")
        require(0 < self.loss_percentile < 1, "loss_percentile", self.loss_percentile, "it must lie in (0, 1)")
        require(0 <= self.percentile_decay < 1, "percentile_decay", self.percentile_decay, "it must lie in [0, 1)")
        require(
            self.mentor_patience == 0 or self.meta_holdout > 0,
            "mentor_patience",
            self.mentor_patience,
            "it needs held-out meta samples",
            "give --meta-holdout",
        )
        require(
            "history" not in self.mentor_features or self.history_length > 0,
            "history_length",
            self.history_length,
            "the feature `history` needs at least 1",
        )
        require(
            self.mentor != "lstm" or self.history_length > 0,
            "history_length",
            self.history_length,
            "mentor lstm looks at a sample's past losses",
            "e.g. --history-length 4",
        )

    @property
    def sees_label(self) -> bool:
        """Whether the mentor sees a sample's given label, or how large its class is."""
        return self.mentor == "cmw" or "label" in self.mentor_features or "class_share" in self.mentor_features
