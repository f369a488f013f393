"""Small texts with classes, and a tiny BERT for them with its tokenizer."""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

WORDS = ("good", "bad", "film", "play", "the", "a", "was", "not", "very", "<script>alert(1)</script>")
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def reviews(rows: int = 60, seed: int = 0, least: int = 2, most: int = 9) -> pd.DataFrame:
    """Different texts of some words each, of class "yes" where "good" is in them, else "no"."""
    draw = random.Random(seed)
    found: dict[str, str] = {}
    while len(found) < rows:
        wanted = ("yes", "no")[len(found) % 2]
        words = [draw.choice(WORDS[1:]) for _ in range(draw.randint(least, most))]
        if wanted == "yes":
            words[draw.randrange(len(words))] = "good"
        found[" ".join(words)] = wanted
    return pd.DataFrame({"review": list(found), "label": list(found.values())})


def splits(rows: int = 60) -> Mapping[str, pd.DataFrame]:
    """As stored splits, with ids that are no row numbers."""
    table = reviews(rows)
    table["sample_id"] = [f"r{place:03}" for place in range(rows)]
    half = rows // 2
    return {"train": table[:half], "test": table[half:].reset_index(drop=True)}


def tokenizer(**more: Any) -> Any:
    """A word a token, of the words above, between [CLS] and [SEP]."""
    import transformers  # noqa: PLC0415 - seconds, and an extra
    from tokenizers import Tokenizer, models, pre_tokenizers, processors  # noqa: PLC0415

    vocabulary = {word: place for place, word in enumerate((*SPECIAL, *WORDS))}
    made = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    names = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), SPECIAL, strict=True))
    return transformers.PreTrainedTokenizerFast(tokenizer_object=made, **names, **more)


def bert(folder: Path, *, with_params: bool = True, positions: int = 16, **more: Any) -> str:
    """``hf:FOLDER`` of a tiny one with random params."""
    import torch  # noqa: PLC0415
    import transformers  # noqa: PLC0415

    small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24}
    small |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, "initializer_range": 0.3}  # learns soon
    size = {"vocab_size": len(SPECIAL) + len(WORDS), "max_position_embeddings": positions, "pad_token_id": 0}
    config = transformers.BertConfig(**{**small, **size, **more})
    if with_params:
        torch.manual_seed(0)
        transformers.BertForSequenceClassification(config).save_pretrained(folder)
    else:
        config.save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return f"hf:{folder}"
