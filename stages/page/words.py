"""What the figures in `reports/benchmark/` and `reports/quality/` are called on the page, and their units."""

from typing import Any, NamedTuple


class Words(NamedTuple):
    """A figure in plain words: `unit` is what follows the number, "%" says that the file has a share of 1."""

    label: str
    unit: str = ""
    digits: int | None = None  # after the point; none: as many as its size asks for


PARTS = {
    "preprocess": "Preparing the picture",
    "encode": "Encoding it",
    "prefill": "The first token",
    "token": "Each further token",
}
WORDS = {
    "speedup": Words("speed-up: times as fast as the baseline, timed in turns", "×", 2),
    "speedup_width": Words("speed-up is known to ±", "%"),
    "speedup_between_runs": Words("speed-up: how far whole runs scatter (standard deviation)", "%"),
    "sessions": Words("sessions with fresh processes"),
    "pairs": Words("captions timed in pairs"),
    "ended": Words("why timing ended"),
    "latency_ms": Words("a caption, from the decoded picture", "ms"),
    "latency_p90_ms": Words("nine in ten captions take at most", "ms"),
    "baseline_latency_ms": Words("the baseline's caption meanwhile", "ms"),
    **{
        f"{part}_{figure}": Words(f"{label.lower()}{words}", unit)
        for part, label in PARTS.items()
        for figure, words, unit in (
            ("ms", "", "ms"),
            ("speedup", ": times as fast as the baseline", "×"),
            ("limit_ms", ": the machine's limit", "ms"),
            ("share", ": how much of the limit is reached", "%"),
            ("macs", ": multiply-adds", ""),
            ("mb", ": bytes read", "MB"),
        )
    },
    "throughput_images_per_s": Words("pictures a second, in batches"),
    "throughput_speedup": Words("in batches: times as fast as the baseline", "×"),
    "load_s": Words("from start to the first caption", "s", 2),
    "load_speedup": Words("start: times as quick as the baseline", "×"),
    "peak_memory_mb": Words("memory at its peak", "MB", 0),
    "peak_memory_share": Words("memory: of the baseline's", "%"),
    "checkpoint_mb": Words("on disk", "MB", 1),
    "roofline_ms": Words("a caption: the machine's limit", "ms"),
    "roofline_share": Words("a caption: how much of the limit is reached", "%"),
    "caption_gmacs": Words("multiply-adds of a caption of ten words", "G", 2),
    "parameters_m": Words("numbers in the matrices", "M", 1),
    "images": Words("pictures captioned"),
    "batch_size": Words("pictures in a batch"),
    "cider": Words("CIDEr: likeness to what people wrote", "", 3),
    "cider_change": Words("CIDEr, change from the baseline's by picture", "", 3),
    "cider_change_share": Words("CIDEr, change in % of the baseline's", "%", 1),
    "cider_change_share_deviation": Words("CIDEr, how far that scatters from picture to picture", "%", 1),
    "bleu_4": Words("BLEU-4", "", 3),
    "rouge_l": Words("ROUGE-L", "", 3),
    "exact_match": Words("word for word a reference", "%"),
    "outside_vocabulary": Words("pictures whose references all have a word that the captioner lacks", "%"),
    "right": Words("right: true of the drawn scene, and names its main things", "%"),
    "same_caption": Words("same caption as the baseline", "%"),
    "words_per_step": Words("words in a step of the decoder, if it always checks guesses", "", 2),
    "guesses_right": Words("guesses that were right, of those looked at", "%"),
    "same_caption_in_batch": Words("same caption in a batch as alone", "%"),
    "same_next_token": Words("same next token as the baseline", "%", 2),
    "lead": Words("times as fast as the recipe that leaves nothing out, timed in turns", "×", 2),
    "counted": Words("what a caption takes, of the baseline's, by multiplications", "%"),
    "first_kl": Words("the same before int8, on the first pictures", "nats", 5),
    "kl": Words("KL of the next token from the baseline's", "nats", 5),
    "worst_int8_layer_db": Words("the weakest int8 layer is above its error by", "dB", 1),
}
ENDS = ("_ci_low", "_ci_high")
# As much noise in every linear layer of the demo changes one caption in 200; with 10 dB it is one in 40, with 5 half.
SPOILED_DB = 15.0


def words_of(key: str) -> Words:
    """The words for a figure; for one that has none here, its own name."""
    return WORDS.get(key, Words(key))


def number(value: Any, words: Words) -> str:
    """A figure as the page shows it, without its unit: three digits that count, where nothing else is said."""
    if not isinstance(value, int | float):
        return str(value)
    scaled = value * 100 if words.unit == "%" else value
    if words.digits is None and isinstance(value, int):
        return f"{value:,}"
    digits = words.digits if words.digits is not None else _digits(scaled, words.unit)
    text = f"{scaled:,.{digits}f}"
    return text.lstrip("-") if float(text.replace(",", "")) == 0 else text.replace("-", "−")


def _digits(value: float, unit: str) -> int:
    if unit == "%":
        return 1
    return next((digits for limit, digits in ((100, 0), (10, 1), (1, 2)) if abs(value) >= limit), 3)


def interval(figures: dict[str, Any], key: str) -> str:
    """A figure's 95 % interval as the page shows it; nothing if it has none."""
    if not all(f"{key}{end}" in figures for end in ENDS):
        return ""
    return " to ".join(number(figures[f"{key}{end}"], words_of(key)) for end in ENDS)
