"""A smaller output layer: only tokens that captions use keep their rows, see `captioner.runtimes.pytorch_vocabulary`.

The tokenizer, the tokens' ids and the input embedding stay, so prompts may have any words.
"""

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from transformers import BlipForConditionalGeneration

from stages.captioner.runtimes.pytorch_vocabulary import OUTPUT, keep
from stages.passes.activations import caption


@torch.no_grad()
def apply(
    model: BlipForConditionalGeneration, needed: Collection[int], calibration: Sequence[np.ndarray]
) -> dict[str, Any]:
    """Drops the rows of a model's output layer, in place, but those of the needed tokens, of those that the model says
    of the calibration pictures, and of those that begin, end and pad captions.

    `calibration` is pixels, float32 (1, 3, side, side) each. Returns how many tokens are kept, and of how many.
    """
    text = model.config.text_config
    said = {token for pixels in calibration for token in caption(model, pixels)[1].tolist()}
    kept = torch.tensor(sorted({*needed, *said, text.bos_token_id, text.sep_token_id, text.pad_token_id}))
    whole = model.get_submodule(OUTPUT)
    assert isinstance(whole, torch.nn.Linear)
    fewer = torch.nn.Linear(whole.in_features, len(kept), device="meta")
    # Copies, as the whole weight may be the embedding's too.
    fewer.weight, fewer.bias = (
        torch.nn.Parameter(parameter[kept], requires_grad=False) for parameter in (whole.weight, whole.bias)
    )
    keep(model, fewer, kept)
    return {"tokens_kept": len(kept), "tokens": text.vocab_size}


def needed_tokens(tokenizer: Path, captions: Iterable[str]) -> set[int]:
    """The tokens of captions, and all of a single character, at a word's beginning or within it: they spell any word.

    `tokenizer` is a tokenizer.json.
    """
    own = Tokenizer.from_file(str(tokenizer))
    prefix = own.model.continuing_subword_prefix
    characters = {token for word, token in own.get_vocab().items() if len(word.removeprefix(prefix)) == 1}
    # Each word once, as a token never spans two, and captions of hundreds of thousands of pictures have few.
    words = {word for caption in captions for word in caption.split()}
    encodings = own.encode_batch(sorted(words), add_special_tokens=False)
    return characters.union(*(encoding.ids for encoding in encodings))
