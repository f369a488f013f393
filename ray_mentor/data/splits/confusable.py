"""Which class a class is likely to be mistaken for: the maps that asymmetric noise is defined by."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

CIFAR10_MISTAKES = {
    "truck": "automobile",
    "bird": "airplane",
    "deer": "horse",
    "cat": "dog",
    "dog": "cat",
}
"""Patrini et al. 2017, section 5: the other five CIFAR-10 classes keep their labels."""

_CIFAR10 = {"airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"}

CIFAR100_SUPERCLASSES = {
    "aquatic_mammals": ("beaver", "dolphin", "otter", "seal", "whale"),
    "fish": ("aquarium_fish", "flatfish", "ray", "shark", "trout"),
    "flowers": ("orchid", "poppy", "rose", "sunflower", "tulip"),
    "food_containers": ("bottle", "bowl", "can", "cup", "plate"),
    "fruit_and_vegetables": ("apple", "mushroom", "orange", "pear", "sweet_pepper"),
    "household_electrical_devices": ("clock", "keyboard", "lamp", "telephone", "television"),
    "household_furniture": ("bed", "chair", "couch", "table", "wardrobe"),
    "insects": ("bee", "beetle", "butterfly", "caterpillar", "cockroach"),
    "large_carnivores": ("bear", "leopard", "lion", "tiger", "wolf"),
    "large_man-made_outdoor_things": ("bridge", "castle", "house", "road", "skyscraper"),
    "large_natural_outdoor_scenes": ("cloud", "forest", "mountain", "plain", "sea"),
    "large_omnivores_and_herbivores": ("camel", "cattle", "chimpanzee", "elephant", "kangaroo"),
    "medium_mammals": ("fox", "porcupine", "possum", "raccoon", "skunk"),
    "non-insect_invertebrates": ("crab", "lobster", "snail", "spider", "worm"),
    "people": ("baby", "boy", "girl", "man", "woman"),
    "reptiles": ("crocodile", "dinosaur", "lizard", "snake", "turtle"),
    "small_mammals": ("hamster", "mouse", "rabbit", "shrew", "squirrel"),
    "trees": ("maple_tree", "oak_tree", "palm_tree", "pine_tree", "willow_tree"),
    "vehicles_1": ("bicycle", "bus", "motorcycle", "pickup_truck", "train"),
    "vehicles_2": ("lawn_mower", "rocket", "streetcar", "tank", "tractor"),
}
"""The superclasses of CIFAR-100 (Krizhevsky 2009), members in the order of their labels."""


def mistaken_for(classes: tuple[str, ...]) -> NDArray[np.int64]:
    """The class that each class is mistaken for, itself where it is mistaken for none; int64 (C,).

    CIFAR-10 and CIFAR-100 are known by their class names. Of any others, class c becomes (c + 1) mod C.
    """
    mistakes = _known(classes)
    if mistakes is None:
        return (np.arange(len(classes)) + 1) % len(classes)
    return np.array([classes.index(mistakes.get(name, name)) for name in classes])


def is_known(classes: tuple[str, ...]) -> bool:
    """Whether these are the classes of CIFAR-10 or CIFAR-100, in any order."""
    return _known(classes) is not None


def _known(classes: tuple[str, ...]) -> dict[str, str] | None:
    if len(classes) == len(_CIFAR10) and set(classes) == _CIFAR10:
        return CIFAR10_MISTAKES
    next_of = _next_in_superclass()
    return next_of if len(classes) == len(next_of) and set(classes) == set(next_of) else None


def _next_in_superclass() -> dict[str, str]:
    return {
        name: members[(place + 1) % len(members)]
        for members in CIFAR100_SUPERCLASSES.values()
        for place, name in enumerate(members)
    }
