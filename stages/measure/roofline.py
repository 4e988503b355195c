"""The shortest time that this machine could take for a caption: its peaks against the arithmetic of BLIP.

Source: S. Williams et al., Roofline: An Insightful Visual Performance Model, Communications of the ACM, 2009.
"""

from typing import Any, Literal, NamedTuple

Precision = Literal["int8", "bfloat16", "float32"]
READ_MB = (4, 64, 256)  # of what a core's own cache holds, of what a shared cache may hold, of what lies in memory
BYTES = {"int8": 1, "bfloat16": 2, "float32": 4}


class Peaks(NamedTuple):
    """Matrix products in 10^9 operations a second by precision, and reading in GB/s by the MB that are read again and
    again."""

    gops: dict[Precision, float]
    read_gb_per_s: dict[str, float]

    def bandwidth(self, size: float) -> float:
        """Bytes per second at which so many bytes are read: at least as fast as they can be, so no time is too long."""
        measured = [megabytes for megabytes in READ_MB if megabytes << 20 <= size] or [READ_MB[0]]
        return self.read_gb_per_s[str(measured[-1])] * 1e9


class Arithmetic(NamedTuple):
    """What captioning one picture takes. A multiplication and an addition are two operations."""

    linear: float  # operations of the layers that run once per picture: the encoder, cross-attention keys and values
    attention: float  # operations of the encoder's attention
    weights_per_token: float  # number of weights that each token reads; keys and values of the picture included


def arithmetic(config: dict[str, Any]) -> Arithmetic:
    """Counts what a model's `config.json` implies, in its unpruned form."""
    vision, text = config["vision_config"], config["text_config"]
    patches = 1 + (vision["image_size"] // vision["patch_size"]) ** 2
    width, layers = vision["hidden_size"], vision["num_hidden_layers"]
    own_width, own_layers = text["hidden_size"], text["num_hidden_layers"]
    encoder = layers * (4 * width**2 + 2 * width * vision["intermediate_size"])
    embedding = 3 * vision["patch_size"] ** 2 * width
    keys_and_values = own_layers * 2 * width * own_width
    decoder_layer = 6 * own_width**2 + 2 * own_width * text["intermediate_size"]
    vocabulary = own_width**2 + own_width * text["vocab_size"]
    return Arithmetic(
        linear=2 * patches * (encoder + embedding + keys_and_values),
        attention=layers * 2 * 2 * patches**2 * width,
        weights_per_token=own_layers * (decoder_layer + 2 * patches * own_width) + vocabulary,
    )


def shortest_seconds(work: Arithmetic, peaks: Peaks, new_tokens: int, linear: Precision, attention: Precision) -> float:
    """The least time for a caption of so many tokens with products in these precisions: tokens wait for memory."""
    per_picture = work.linear / peaks.gops[linear] + work.attention / peaks.gops[attention]
    read = work.weights_per_token * BYTES[linear]
    return per_picture / 1e9 + new_tokens * read / peaks.bandwidth(read)
