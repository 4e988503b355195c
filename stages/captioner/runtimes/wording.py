"""In which form a captioner can say a text, and whether its vocabulary has all of the words."""

from tokenizers import Tokenizer


def normalize(tokenizer: Tokenizer, text: str) -> str:
    """A text in the letters that the tokenizer leaves of it: BLIP's has neither capitals nor accents."""
    normal: str = tokenizer.normalizer.normalize_str(text) if tokenizer.normalizer else text
    return normal


def can_say(tokenizer: Tokenizer, text: str) -> bool:
    """Whether the vocabulary has all words of a text, if not all of its punctuation."""
    encoding = tokenizer.encode(text, add_special_tokens=False)
    unknown = tokenizer.token_to_id(tokenizer.model.unk_token)
    tokens = zip(encoding.ids, encoding.offsets, strict=True)
    return not any(id == unknown and any(map(str.isalnum, text[start:end])) for id, (start, end) in tokens)
