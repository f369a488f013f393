"""Every setting of a run: frozen dataclasses, checked when made.

A setting has one name everywhere: ``update_interval`` in Python and in a config file is
``--update-interval`` on the command line. Names are unique across the groups, so a run is also
one flat table (:meth:`TrainConfig.flat`, :meth:`TrainConfig.from_flat`).
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ray_mentor.config.values import check_possible, require, typed
from ray_mentor.errors import UserError, one_of, shown
from ray_mentor.wording import MEANT

FEATURES = ("loss", "loss_difference", "label", "progress", "history")
"""What a mentor may look at, per sample."""

MIXINGS = ("none", "mixup", "mentormix", "mentormix-published")
"""What can be mixed into a batch."""

TRACKERS = ("tensorboard", "mlflow", "wandb")
"""Tools that can be told of a run's epochs."""

BACKENDS = ("memory", "arrow", "ray")
"""Ways to hold the inputs of a run. The samples are the same with each; their order and the result with memory and
arrow: ray shuffles in windows."""


def parse_noise(text: str) -> tuple[str, float]:
    """Reads ``none`` or ``KIND:RATE`` into (kind, noise rate in [0, 1)).

    Raises:
        UserError: unknown kind, missing rate, or a rate outside [0, 1).
    """
    kind, _, rate_text = text.partition(":")
    one_of(kind, ("none", "symmetric", "asymmetric", "instance"), "noise")
    if kind == "none":
        require(not rate_text, "noise", text, "none takes no rate")
        return kind, 0.0
    try:
        rate = float(rate_text)
    except ValueError:
        raise UserError(f"noise is {shown(text)}, but it must be {kind}:RATE, e.g. {kind}:0.4") from None
    require(0.0 <= rate < 1.0, "noise rate", rate, "it must lie in [0, 1)", f"e.g. {kind}:0.4 for 40 %")
    return kind, rate


def parse_schedule(text: str) -> tuple[tuple[float, float], ...]:
    """Reads ``RATE:SHARE,RATE:SHARE,...`` into pairs; the shares of training must add up to 1.

    Raises:
        UserError: a malformed pair, a rate outside [0, 1) or shares that do not add up to 1.
    """
    if not text:
        return ()
    pairs = []
    for part in text.split(","):
        rate_text, _, share_text = part.partition(":")
        try:
            rate, share = float(rate_text), float(share_text)
        except ValueError:
            raise UserError(
                f"example_dropout holds {shown(part)}, but each part must be RATE:SHARE, e.g. 0.5:0.17,0.05:0.83"
            ) from None
        require(0.0 <= rate < 1.0, "example_dropout rate", rate, "it must lie in [0, 1)")
        require(share > 0.0, "example_dropout share", share, "it must be above 0")
        pairs.append((rate, share))
    total = sum(share for _, share in pairs)
    require(abs(total - 1.0) < 1e-6, "example_dropout", text, f"the shares must add up to 1, not {total:g}")
    return tuple(pairs)


@dataclass(frozen=True)
class DataConfig:
    """What is trained on, what is trusted, and what is held out."""

    data: str = "digits"
    """digits (ships with scikit-learn), cifar10, cifar100 (torchvision), or a path to Parquet."""
    data_folder: str = "data"
    """Folder of the torchvision data sets."""
    download: bool = False
    """Let torchvision download a missing data set into data_folder."""
    data_backend: str = "memory"
    """memory: inputs are decoded at every start; the better choice up to some 50,000 images of 32x32 (0.15 GiB of
    pixels). arrow: Parquet is decoded once, into a file that all processes of a node map; also for data larger than
    memory. ray: Parquet stays where it is stored, and is streamed to the workers."""
    shuffle_rows: int = 16_384
    """ray: training samples that an epoch is shuffled in at a time, >= 1 (a row group is never cut); each worker holds
    its share of a few times as many, decoded."""
    data_cache: str = "~/.cache/ray_mentor"
    """arrow: folder of the files that Parquet is decoded into; on a cluster, one that all nodes share. ray: folder of
    what splits and scale need of each sample, found out once."""
    label_column: str = "label"
    """Parquet: the column of given labels (integers, or strings as class names)."""
    image_column: str | None = None
    """Parquet: the column of encoded images (bytes, or a struct with bytes). None: `image` or `img` if there."""
    feature_columns: tuple[str, ...] = ()
    """Parquet without images: the numeric columns to use. Empty: all but label, id and true label; what is plainly no
    feature (an index, an id, another label, text) is refused then."""
    ignore_columns: tuple[str, ...] = ()
    """Parquet without images: columns that are no features."""
    keep_columns: tuple[str, ...] = ()
    """Parquet without images: columns that are features, though they look like an index, an id or a label."""
    id_column: str | None = None
    """Parquet: the column of sample ids, integers or strings. None: `sample_id` if there, else the row number."""
    true_label_column: str | None = None
    """Parquet: true labels where they are known; for reports, `oracle`, a drawn meta set and the test split."""
    noise: str = "auto"
    """Label noise to add: none, symmetric:R, asymmetric:R, instance:R with rate R in [0, 1).
    auto: symmetric:0.4 on digits (the demonstration), none on everything else."""
    meta_size: int = 100
    """Samples taken from the training split, before noise, as the trusted set (class-balanced where possible), >= 0;
    with 0 nothing is known to be right, and a method that learns from it is refused."""
    meta_data: str | None = None
    """Parquet with a trusted meta set of its own; replaces meta_size."""
    test_share: float = 0.2
    """Share of the samples held out as test split where the data has none, in (0, 1)."""
    validation_share: float = 0.1
    """Share of the training split held out, with its noise, to show agreement with given labels, in [0, 1); 0 for none.
    A stored `valid*` split takes its place."""
    train_size: int | None = None
    """Use at most this many training samples (after meta and validation are taken), drawn by seed."""
    clean_test: bool = False
    """The given labels of the stored test split are right (people have re-checked them), so that accuracy on it is
    true. Needed only where that isn't known otherwise: by a true_label_column, or because the noise was added."""
    test_size: int | None = None
    """Use at most this many test samples, drawn by seed."""
    hold_on_device: bool = False
    """Keep the training inputs in the memory of each worker's GPU, as they are stored (a byte a pixel and channel);
    not with data_backend ray."""
    augment: Literal["none", "flip-shift", "randaugment", "trivialaugment"] = "none"
    """Augmentation of training images: none; flip-shift (mirror, and shift by up to 1/8 of the side); randaugment
    (that, then two of torchvision's operations at magnitude 9); trivialaugment (that, then one at any magnitude)."""

    def __post_init__(self) -> None:
        if self.noise != "auto":
            parse_noise(self.noise)
        require(bool(self.data), "data", self.data, "it must name a data set or a path")
        one_of(self.data_backend, BACKENDS, "data_backend")
        is_folder = bool(self.data_cache) and "://" not in self.data_cache
        require(is_folder, "data_cache", self.data_cache, "it must be a folder of a disk", "e.g. /scratch/cache")
        require(self.shuffle_rows >= 1, "shuffle_rows", self.shuffle_rows, "it must be at least 1")
        require(self.meta_size >= 0, "meta_size", self.meta_size, "it must be at least 0")
        require(0.0 < self.test_share < 1.0, "test_share", self.test_share, "it must lie in (0, 1)")
        require(0.0 <= self.validation_share < 1.0, "validation_share", self.validation_share, "it must lie in [0, 1)")
        for name in ("train_size", "test_size"):
            size = getattr(self, name)
            require(size is None or size > 0, name, size, "it must be above 0")
        one_of(self.augment, ("none", "flip-shift", "randaugment", "trivialaugment"), "augment")

    @property
    def resolved_noise(self) -> tuple[str, float]:
        """(kind, rate) with ``auto`` resolved."""
        if self.noise == "auto":
            return ("symmetric", 0.4) if self.data == "digits" else ("none", 0.0)
        return parse_noise(self.noise)


@dataclass(frozen=True)
class StudentConfig:
    """The student and how it is optimised."""

    student: str = "mlp"
    """mlp, cnn, resnet32 or wrn-28-10."""
    sync_batch_norm: bool = False
    """Batch norm over the global batch of all workers instead of each worker's own share."""
    precision: Literal["float32", "bf16"] = "float32"
    """Of the student's passes, meta steps and measurements included: float32, or bf16 by autocast; params, losses and
    the mentor stay float32."""
    channels_last: bool = False
    """Keep a convolutional student's params channels last in memory, as its images are: faster with bf16 on a GPU."""
    optimizer: Literal["sgd", "adam", "adamw"] = "sgd"
    """Optimizer of the student."""
    learning_rate: float = 0.08
    """Peak learning rate of the student, > 0."""
    momentum: float = 0.9
    """Momentum of sgd, in [0, 1)."""
    nesterov: bool = True
    """Nesterov's form of the momentum (sgd)."""
    weight_decay: float = 5e-4
    """Weight decay of the student's params, >= 0."""
    schedule: Literal["cosine", "constant"] = "cosine"
    """Learning rate over training: cosine to 0, or constant."""

    def __post_init__(self) -> None:
        one_of(self.precision, ("float32", "bf16"), "precision")
        one_of(self.optimizer, ("sgd", "adam", "adamw"), "optimizer")
        one_of(self.schedule, ("cosine", "constant"), "schedule")
        require(self.learning_rate > 0, "learning_rate", self.learning_rate, "it must be above 0")
        require(0 <= self.momentum < 1, "momentum", self.momentum, "it must lie in [0, 1)")
        require(self.weight_decay >= 0, "weight_decay", self.weight_decay, "it must be at least 0")
        require(
            not (self.nesterov and self.optimizer == "sgd" and self.momentum == 0),
            "nesterov",
            self.nesterov,
            "it needs a momentum above 0",
            "give --no-nesterov or a momentum",
        )


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
    """Features the mlp sees: loss, loss_difference, label, progress, history."""
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
    or loss, the loss itself, which over-confidence dominates in a cross-entropy: wrong labels lower it. None: error for
    a method's own loss, and loss for one of your own; if that is the negative log-likelihood of one label, give error.
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
    scoring: Literal["actor", "replica"] = "actor"
    """Who scores a batch: the actor, or each worker with its copy of the latest mentor (bit-identical)."""
    mentor_params: str | None = None
    """Published MentorNet params (.npz) for method mentornet-pd. None: those that were fitted here to the published
    formula."""
    mentor_from: str | None = None
    """Folder of a run, or its mentor.npz: the mentor begins as that one ended. Needed by method mentornet-frozen, whose
    mentor stays so."""

    def __post_init__(self) -> None:
        one_of(self.mentor, ("mlp", "mentornet", "lstm", "cmw"), "mentor")
        one_of(self.normalisation, ("sum", "batch"), "normalisation")
        one_of(self.scoring, ("actor", "replica"), "scoring")
        if self.meta_loss is not None:
            one_of(self.meta_loss, ("error", "loss"), "meta_loss")
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
        """Whether the mentor sees a sample's given label."""
        return self.mentor == "cmw" or "label" in self.mentor_features


@dataclass(frozen=True)
class CurriculumConfig:
    """Which method weighs the samples, and the schedule around it."""

    method: str = "mentornet"
    """mentornet (learned), mentornet-pd (fitted to a formula), mentornet-refined (the same, and learning on), uniform,
    oracle, self-paced, l2rw, spcl, predefined, focal, hard-mining, mentornet-frozen (another run's),
    co-teaching, dividemix (two students), mentornet-dd (taught on trusted samples), rule:FILE (a table that ray-mentor
    distill made)."""
    refine: bool = False
    """mentornet-pd: let the mentor learn on from there, by influences; another way to say mentornet-refined."""
    taught_at: tuple[float, ...] = (0.21, 0.75)
    """mentornet-dd: shares of training, each in (0, 1), behind which the mentor is taught, at the end of the epoch:
    which of the losses of trusted samples, with right and with wrong labels, are those of right ones."""
    pace: str = "hard"
    """How a weight of self-paced falls with the loss: hard, linear, logarithmic, mixture."""
    forget_rate: float = 0.3
    """co-teaching: share of a batch's samples that neither student learns from, those of the largest loss under the
    other, in [0, 1). Published: the share of wrong labels; give that if you know it."""
    forget_epochs: float = 10.0
    """co-teaching: epochs in which that share rises from 0, >= 0."""
    unlabelled_weight: float = 25.0
    """dividemix: λ, how much the samples count whose given label is not believed, >= 0. Published: 25, but 0 where a
    fifth or less is wrong and for asymmetric noise, and 150 where most is wrong among many classes."""
    loss: str | None = None
    """Per-sample loss of classes, with its numbers behind colons where they are not the published ones: cross-entropy,
    gce:0.7, gce-truncated:0.7:0.5, sce:0.1:1, mae, bootstrap-soft:0.95, bootstrap-hard:0.8, elr:3:0.7, forward:5 (a
    transition matrix from the trusted samples after so many epochs), focal:2, label-smoothing:0.1. Mentor, percentile
    and ledger see the cross-entropy beside it. None: cross-entropy, or the loss that you give."""
    gradient_rule: str = "none"
    """What happens to the train gradient where it disagrees with that of the meta loss, which is then computed at every
    step: none, pcgrad (what points against it is taken away), gradient-vaccine (turned towards it until they agree as
    they use to)."""
    mixing: str | None = None
    """Mixing of a batch: none, mixup, mentormix: with samples in proportion to their sample weights, in as many steps
    as the student memorises, or mentormix-published: in every step, weighed anew when it is mixed. None: the method's
    own, mentormix for mentornet if some of the meta set is trained on and some held out; none for the others, for
    integer inputs, and for a loss of your own unless meta_loss is error.
    """
    mixup_alpha: float = 1.0
    """α of the mixing's Beta(α, α), > 0."""
    burn_in: float | None = None
    """Share of training, from its start, during which every sample weight is 1 and no mentor learns, in [0, 1).
    None: the method's own, 0 but for mentornet: 0.15, or 5 epochs where that is less, as far as epochs are known; a
    student that sees wrong labels more often knows them by heart. It is dividemix's warm-up, too, of 10 epochs at
    most."""
    meta_from: Literal["trusted", "pseudo-clean"] = "trusted"
    """Where the meta set comes from, that a mentor (or l2rw, or a gradient rule) learns from: trusted, or pseudo-clean:
    samples of the validation split whose given labels look right, chosen anew after each epoch. Then no trusted sample
    is needed; those that there are stay in training and measurements."""
    meta_in_training: float = 1.0
    """Share of the meta set, but for what is held out, that the student is trained on as well, each sample with weight
    1, in [0, 1]; 0 for none."""
    example_dropout: str = ""
    """Share of each batch whose sample weights are set to 0, over training: RATE:SHARE,RATE:SHARE,...
    (published: 0.5:0.17,0.05:0.83). Empty for none."""

    def __post_init__(self) -> None:
        in_training = all(0 < point < 1 for point in self.taught_at)
        require(in_training, "taught_at", self.taught_at, "each must lie in (0, 1)", "e.g. 0.21 0.75")
        if self.refine:
            refined = "mentornet-refined"
            rule, fix = f"method {shown(self.method)} has no params to go on from", "give --method mentornet-pd, too"
            require(self.method in ("mentornet-pd", refined), "refine", True, rule, fix)
            object.__setattr__(self, "method", refined)
            object.__setattr__(self, "refine", False)
        if self.mixing is not None:
            one_of(self.mixing, MIXINGS, "mixing")
        one_of(self.meta_from, ("trusted", "pseudo-clean"), "meta_from")
        require(self.mixup_alpha > 0, "mixup_alpha", self.mixup_alpha, "it must be above 0")
        require(0 <= self.forget_rate < 1, "forget_rate", self.forget_rate, "it must lie in [0, 1)")
        for name in ("forget_epochs", "unlabelled_weight"):
            require(getattr(self, name) >= 0, name, getattr(self, name), "it must be at least 0")
        require(self.burn_in is None or 0 <= self.burn_in < 1, "burn_in", self.burn_in, "it must lie in [0, 1)")
        require(0 <= self.meta_in_training <= 1, "meta_in_training", self.meta_in_training, "it must lie in [0, 1]")
        parse_schedule(self.example_dropout)


@dataclass(frozen=True)
class RunSettings:
    """How long, how wide, and where to."""

    epochs: int = 60
    """Passes over the training samples, >= 1."""
    batch_size: int = 128
    """Samples of the training split per student step over all workers, >= 1; trusted ones come beside them."""
    seed: int = 0
    """Seed of everything drawn at random, >= 0."""
    workers: int | Literal["auto"] = "auto"
    """Student workers; 0 trains in this process, without starting Ray. auto: 0 for a small student or a run of a minute
    or two, else two, or one for each of several GPUs. The run says what was chosen and why, and keeps it when it is
    resumed. Each trial of a sweep then is one process."""
    gpu: bool = False
    """Give each worker a GPU."""
    gpus_per_worker: float = 1.0
    """GPUs of each worker with gpu, > 0: a share below 1 lets several workers, or trials of a sweep, use one card."""
    storage_path: str = "runs"
    """Folder that holds the run directories."""
    run_name: str | None = None
    """Name of the run directory. None: made of method, data, date and time."""
    log_to: tuple[str, ...] = ()
    """Tools that are told of each epoch, too: tensorboard (event files in the run's folder), mlflow, wandb (offline
    unless WANDB_MODE says otherwise)."""
    resume: bool = False
    """Go on with the run of this name from its newest checkpoint."""
    resume_or_start: bool = False
    """The same if the run is there, and start it if not: one command for a job that may be started again."""
    checkpoint_seconds: float = 60.0
    """Seconds between checkpoints, >= 0; one is always written at the end. 0: after every step."""
    checkpoint_steps: int = 0
    """Student steps between checkpoints, >= 0, besides those that the seconds ask for; 0 for none."""
    keep_checkpoints: int = 2
    """How many checkpoints are kept, >= 1: an older one is what is left if the newest turns out to be damaged."""
    min_workers: int | None = None
    """Go on with as few workers as this when nodes are lost, and with `workers` again when there is room. None: never
    with fewer."""
    max_failures: int = 3
    """How often in a row the workers are started again after one of them died, >= 0: the count begins anew with every
    newer checkpoint, and a machine that is taken away is not counted. -1: however often."""
    hang_seconds: float = 120.0
    """A worker or mentor that gives no sign of life for so long counts as dead, as does a worker's step, > 0. A step
    may take ten times as long as the longest so far; the first one and a checkpoint ten times hang_seconds."""
    node_seconds: float = 900.0
    """How long to wait, before the start, for machines that a cluster's autoscaler has yet to bring, >= 0. A cluster
    without an autoscaler refuses at once."""

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "keep_checkpoints"):
            require(getattr(self, name) >= 1, name, getattr(self, name), "it must be at least 1")
        for name in ("seed", "checkpoint_seconds", "checkpoint_steps", "node_seconds"):
            require(getattr(self, name) >= 0, name, getattr(self, name), "it must be at least 0")
        number = 0 if self.workers == "auto" else self.workers
        require(isinstance(number, int) and number >= 0, "workers", self.workers, "it must be at least 0, or auto")
        require(self.max_failures >= -1, "max_failures", self.max_failures, "it must be at least 0, or -1: no limit")
        require(self.gpus_per_worker > 0, "gpus_per_worker", self.gpus_per_worker, "it must be above 0", "e.g. 0.5")
        require(
            self.gpus_per_worker <= 1 or self.gpus_per_worker.is_integer(),
            "gpus_per_worker",
            self.gpus_per_worker,
            "above 1 it must be whole",
        )
        require(self.hang_seconds > 0, "hang_seconds", self.hang_seconds, "it must be above 0")
        if self.min_workers is not None:
            require(self.workers != "auto", "min_workers", self.min_workers, "workers is auto", "give --workers, too")
            require(
                1 <= self.min_workers <= self.n_workers,
                "min_workers",
                self.min_workers,
                f"it must lie between 1 and workers, {self.workers}",
            )
        require(self.seed < 2**63, "seed", self.seed, "it must be below 2**63")
        for tool in self.log_to:
            one_of(tool, TRACKERS, "log_to")
        require(self.run_name is None or "/" not in self.run_name, "run_name", self.run_name, "it must hold no /")
        require(self.run_name not in ("", ".", ".."), "run_name", self.run_name, "it must name a folder of its own")
        require(bool(self.storage_path), "storage_path", self.storage_path, "it must name a folder", "e.g. runs")
        for name in ("resume", "resume_or_start"):
            require(not getattr(self, name) or self.run_name is not None, name, True, "it needs --run-name")

    @property
    def n_workers(self) -> int:
        """The number of workers, where it is one by now."""
        assert isinstance(self.workers, int), "whoever asks has chosen"
        return self.workers


@dataclass(frozen=True)
class TrainConfig:
    """A whole run."""

    data: DataConfig = field(default_factory=DataConfig)
    student: StudentConfig = field(default_factory=StudentConfig)
    mentor: MentorConfig = field(default_factory=MentorConfig)
    curriculum: CurriculumConfig = field(default_factory=CurriculumConfig)
    run: RunSettings = field(default_factory=RunSettings)

    def __post_init__(self) -> None:
        for name, value in self.flat().items():
            for each in value if isinstance(value, tuple) else (value,):
                check_possible(name, each)

    def flat(self) -> dict[str, Any]:
        """Every setting under its one name; the inverse of :meth:`from_flat`."""
        return {
            inner.name: getattr(getattr(self, outer.name), inner.name)
            for outer in dataclasses.fields(self)
            for inner in dataclasses.fields(getattr(self, outer.name))
        }

    def changed(self, **changes: Any) -> TrainConfig:
        """The same run with other settings: ``config.changed(epochs=10, mentor=MentorConfig(update_interval=5))``.

        Args:
            changes: a whole group under its name (``mentor=MentorConfig(...)``), or a setting under its one name; a
                setting counts beside a group that holds it.

        Raises:
            UserError: an unknown name (with the nearest valid ones), or a value of the wrong type.
        """
        groups = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        whole = {
            name: value for name, value in changes.items() if name in groups and isinstance(value, type(groups[name]))
        }
        groups.update(whole)
        settings = {name: value for name, value in changes.items() if name not in whole}
        check_names(settings, names_of(*GROUPS))
        return TrainConfig(
            **{name: dataclasses.replace(group, **values_of(type(group), settings)) for name, group in groups.items()}
        )

    @classmethod
    def from_flat(cls, table: Mapping[str, Any]) -> TrainConfig:
        """Builds a run from one flat table; what it lacks keeps its default.

        Raises:
            UserError: an unknown name (with the nearest valid ones), or a value of the wrong type.
        """
        check_names(table, names_of(*GROUPS))
        return cls(*(group(**values_of(group, table)) for group in GROUPS))


GROUPS: tuple[type, ...] = (DataConfig, StudentConfig, MentorConfig, CurriculumConfig, RunSettings)
"""Of settings, in the order of :class:`TrainConfig`."""


def names_of(*groups: type) -> list[str]:
    """The settings in these groups."""
    return [setting.name for group in groups for setting in dataclasses.fields(group)]


def check_names(table: Iterable[str], known: Iterable[str]) -> None:
    """Raises a UserError that lists the nearest valid names if one of the table's is not known."""
    names = list(known)
    for name in table:
        if name not in names:
            meant = [MEANT[name]] if name in MEANT else []
            near = meant or difflib.get_close_matches(name, names, n=3) or sorted(names)
            raise UserError(f"unknown setting {shown(name)}; nearest valid: {', '.join(near)}")


def values_of(group: type, table: Mapping[str, Any]) -> dict[str, Any]:
    """What the table says of a group's settings, each of its type."""
    names = [f for f in dataclasses.fields(group) if f.name in table]
    return {f.name: typed(f.name, str(f.type), table[f.name]) for f in names}
