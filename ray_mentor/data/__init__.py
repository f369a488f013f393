"""Data: readers, noise with a known truth, disjoint splits, batches."""

from ray_mentor.data.plan.batches import epoch_batches, meta_batch, rank_sizes, rank_slice
from ray_mentor.data.readers.texts.windows import text_windows
from ray_mentor.data.samples.augment import flip_shift
from ray_mentor.data.samples.dataset_inputs import DatasetInputs
from ray_mentor.data.samples.inputs import AbstractInputs, FeatureInputs, ImageInputs
from ray_mentor.data.samples.samples import Samples, samples_from_dataset
from ray_mentor.data.splits.noise import add_noise
from ray_mentor.data.splits.splits import Splits, prepare

__all__ = [
    "AbstractInputs",
    "DatasetInputs",
    "FeatureInputs",
    "ImageInputs",
    "Samples",
    "Splits",
    "add_noise",
    "epoch_batches",
    "flip_shift",
    "meta_batch",
    "prepare",
    "rank_sizes",
    "rank_slice",
    "samples_from_dataset",
    "text_windows",
]
