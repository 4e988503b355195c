"""BLIP taken apart for export: an encoder graph that runs once per picture, a decoder graph that runs once per step.

What transformers computes in one module and caches in Python objects, these two compute from plain tensors to plain
tensors, so that any engine can run them.
"""

import re
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch.export import Dim
from torch.nn.functional import conv1d, linear, scaled_dot_product_attention, softmax
from transformers import BlipForConditionalGeneration

from stages.captioner.runtimes.pytorch_merging import attend as attend_by_size
from stages.captioner.runtimes.pytorch_merging import lengths, merge, merged_patches


def head_width(model: BlipForConditionalGeneration) -> int:
    """How wide the decoder's attention heads are. Layers may have lost some of them."""
    text = model.config.text_config
    return int(text.hidden_size // text.num_attention_heads)


Product = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


def linear_as_convolution(states: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """`torch.nn.functional.linear` of (pictures, length, width), as a convolution that sees one patch at a time."""
    return conv1d(states.transpose(1, 2), weight[:, :, None], bias).transpose(1, 2)


# How the operator of `mm_product` is named in graphs.
MM = r"(node_)?mm(_\d+)?"


def mm_product(states: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """`torch.nn.functional.linear` as the operator `mm`."""
    return states.flatten(0, -2).mm(weight.T).reshape(*states.shape[:-1], -1) + bias


class MarkedLinear(torch.nn.Linear):
    """A linear layer whose weights keep more bits than others': another operator, by which quantizers are told."""

    def __init__(self, layer: torch.nn.Linear, product: Product) -> None:
        super().__init__(layer.in_features, layer.out_features, device="meta")
        self.weight, self.bias, self.product = layer.weight, layer.bias, product

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """States, float32 (..., inputs), to float32 (..., outputs)."""
        return self.product(states, self.weight, self.bias)


def mark(model: torch.nn.Module, layers: Iterable[str], product: Product) -> None:
    """Makes linear layers, by name, such as keep more bits, in place: of those that share a product all or none."""
    for name in layers:
        layer = model.get_submodule(name)
        assert isinstance(layer, torch.nn.Linear)
        model.set_submodule(name, MarkedLinear(layer, product))


def product_of(layer: str) -> str:
    """The name of the product that computes a linear layer: one for a word's query, key and value, see `DecoderGraph`,
    else the layer's own."""
    return re.sub(r"\.attention\.self\.(query|key|value)$", ".attention.self", layer)


class EncoderGraph(torch.nn.Module):
    """Pixels, float32 (pictures, 3, side, side), to each decoder layer's cross-attention keys, (pictures, heads, head
    width, patches), and values, (pictures, heads, patches, head width), in the order key 0, value 0, key 1 and so on.

    Keys lie as products with them read them, which is at every token, and as convolutions give them.

    `product` computes the linear layers: `linear`, or the same as whatever operator an engine is quickest at.
    """

    def __init__(self, model: BlipForConditionalGeneration, product: Product = linear) -> None:
        super().__init__()
        self.product = product
        self.vision = model.vision_model
        self.merged = merged_patches(model.config.vision_config)
        self.head_width = model.config.vision_config.hidden_size // model.config.vision_config.num_attention_heads
        self.decoder_head_width = head_width(model)
        self.decoder_layers: Any = model.text_decoder.bert.encoder.layer

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """See the class."""
        hidden, sizes = self.vision.embeddings(pixels), None
        for layer, merged in zip(self.vision.encoder.layers, self.merged, strict=True):
            attended, key = self._attend(layer.self_attn, layer.layer_norm1(hidden), sizes)
            hidden, sizes = merge(hidden + attended, sizes, key, merged)
            widened = self._project(layer.mlp.fc1, layer.layer_norm2(hidden))
            hidden = hidden + self._project(layer.mlp.fc2, layer.mlp.activation_fn(widened))
        hidden = self.vision.post_layernorm(hidden)
        outputs: list[torch.Tensor] = []
        for layer in self.decoder_layers:
            attention = layer.crossattention.self
            key, value = (self._project(projection, hidden) for projection in (attention.key, attention.value))
            outputs += [
                key.transpose(1, 2).unflatten(1, (-1, self.decoder_head_width)),
                split_heads(value, self.decoder_head_width),
            ]
        return tuple(outputs)

    def _attend(
        self, attention: Any, hidden: torch.Tensor, sizes: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """What attention gives, and the keys of its heads."""
        # Three products instead of one: no engine has to cut the result apart again.
        weights, biases = attention.qkv.weight.chunk(3), attention.qkv.bias.chunk(3)
        product = self._product_of(attention.qkv)
        query, key, value = (
            split_heads(product(hidden, *part), self.head_width) for part in zip(weights, biases, strict=True)
        )
        return self._project(attention.projection, merge_heads(attend_by_size(query, key, value, sizes))), key

    def _project(self, layer: torch.nn.Linear, states: torch.Tensor) -> torch.Tensor:
        return self._product_of(layer)(states, layer.weight, layer.bias)

    def _product_of(self, layer: torch.nn.Linear) -> Product:
        return layer.product if isinstance(layer, MarkedLinear) else self.product


Attention = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


def attend(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """Cross-attention of queries, (pictures, heads, words of all beams, head width), which `scale_queries` has scaled,
    to the encoder graph's keys and values."""
    return scaled_dot_product_attention(query, key.transpose(2, 3), value, scale=1.0)


def attend_by_products(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """The same as two plain products."""
    return softmax(query @ key, dim=-1) @ value


@torch.no_grad()
def scale_queries(model: BlipForConditionalGeneration) -> None:
    """Moves the scale of the cross-attention's scores into the layers that give the queries, in place: else an engine
    scales all keys at every step."""
    width = head_width(model)
    for layer in model.text_decoder.bert.encoder.layer:
        for parameter in layer.crossattention.self.query.parameters():
            parameter.mul_(width**-0.5)


class DecoderGraph(torch.nn.Module):
    """One decoding step: some words for each beam of each picture, as many for all.

    Takes tokens, int64 (pictures, beams, words); their positions, int64 likewise; parents, int64 (pictures, beams), the
    rows of the past that each beam continues; what is added to the scores of each word's attention to the past and to
    the new words, float32 (rows, 1, words, length + words), see `captioner.runtimes.past`; the encoder's keys and
    values; and the past, each layer's own keys and values, (rows, heads, length, head width) with the beams of a
    picture in adjacent rows.
    Returns logits, float32 (pictures, beams * words, vocabulary), and the past with these words appended.

    `attend` computes the cross-attention: `attend`, or the same as whatever operators an engine is quickest at.
    """

    def __init__(self, model: BlipForConditionalGeneration, attend: Attention = attend) -> None:
        super().__init__()
        self.attend = attend
        self.decoder = model.text_decoder
        self.head_width = head_width(model)

    def forward(
        self,
        tokens: torch.Tensor,
        positions: torch.Tensor,
        parents: torch.Tensor,
        mask: torch.Tensor,
        *keys_and_values: torch.Tensor,
    ) -> tuple[torch.Tensor, ...]:
        """See the class."""
        embeddings, layers = self.decoder.bert.embeddings, self.decoder.bert.encoder.layer
        cross, past = keys_and_values[: 2 * len(layers)], keys_and_values[2 * len(layers) :]
        hidden = embeddings.word_embeddings(tokens.flatten(1)) + embeddings.position_embeddings(positions.flatten(1))
        hidden = embeddings.LayerNorm(hidden)
        rows, words = parents.flatten(), tokens.shape[2]
        present: list[torch.Tensor] = []
        for index, layer in enumerate(layers):
            own, pair = layer.attention, slice(2 * index, 2 * index + 2)
            query, *added = (
                self._by_row(part, words) for part in self._query_key_value(own.self, hidden).chunk(3, dim=-1)
            )
            key, value = (
                torch.cat([old.index_select(0, rows), new], dim=2) for old, new in zip(past[pair], added, strict=True)
            )
            present += [key, value]
            context = scaled_dot_product_attention(query, key, value, attn_mask=mask)
            hidden = own.output(context.transpose(1, 2).reshape(*hidden.shape[:2], -1), hidden)
            # All beams of one picture look at it like one text's words, so its keys and values are read only once.
            query = split_heads(layer.crossattention.self.query(hidden), self.head_width)
            context = self.attend(query, *cross[pair])
            hidden = layer.crossattention.output(merge_heads(context), hidden)
            hidden = layer.output(layer.intermediate(hidden), hidden)
        return (self.decoder.cls(hidden), *present)

    def _query_key_value(self, attention: Any, hidden: torch.Tensor) -> torch.Tensor:
        """All three side by side: one long product reads its weights faster than three short ones."""
        parts = (attention.query, attention.key, attention.value)
        weight, bias = (torch.cat([getattr(part, name) for part in parts]) for name in ("weight", "bias"))
        (product,) = {part.product if isinstance(part, MarkedLinear) else linear for part in parts}
        return product(hidden, weight, bias)

    def _by_row(self, states: torch.Tensor, words: int) -> torch.Tensor:
        """(pictures, beams * words, width) to (pictures * beams, heads, words, head width)."""
        heads = states.shape[-1] // self.head_width
        return states.reshape(-1, words, heads, self.head_width).transpose(1, 2)


def split_heads(states: torch.Tensor, width: int) -> torch.Tensor:
    """(pictures, length, heads * width) to (pictures, heads, length, width)."""
    return states.reshape(states.shape[0], states.shape[1], -1, width).transpose(1, 2)


def merge_heads(states: torch.Tensor) -> torch.Tensor:
    """(pictures, heads, length, head width) to (pictures, length, heads * head width)."""
    return states.transpose(1, 2).flatten(2)


def encoder_example(model: BlipForConditionalGeneration) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """Arguments to trace the encoder graph with, and which of their dimensions may vary."""
    side = model.config.vision_config.image_size
    return (torch.zeros(2, 3, side, side),), ({0: Dim("pictures")},)


def decoder_example(model: BlipForConditionalGeneration) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """Arguments to trace the decoder graph with, and which of their dimensions may vary."""
    text, vision = model.config.text_config, model.config.vision_config
    width = head_width(model)
    seen = lengths(vision)[-1]
    pictures, beams, words, length, tensors = 2, 3, 4, 5, 2 * text.num_hidden_layers
    rows = torch.arange(pictures * beams).reshape(pictures, beams)
    cross, past = list[torch.Tensor](), list[torch.Tensor]()
    for layer in model.text_decoder.bert.encoder.layer:
        crossed, own = (
            attention.self.query.out_features // width for attention in (layer.crossattention, layer.attention)
        )
        cross += [torch.zeros(pictures, crossed, width, seen), torch.zeros(pictures, crossed, seen, width)]
        past += [torch.zeros(pictures * beams, own, length, width) for _ in range(2)]
    mask = torch.zeros(pictures * beams, 1, words, length + words)
    # Two tensors, as tracing takes one for one input.
    tokens, positions = (torch.zeros(pictures, beams, words, dtype=torch.int64) for _ in range(2))
    batch = {0: Dim("pictures"), 1: Dim("beams")}
    text_of_each, to_the_past = batch | {2: Dim("words")}, {0: Dim.AUTO, 2: Dim("words"), 3: Dim.AUTO}
    keys_and_values = ({0: batch[0]},) * tensors + ({0: Dim("rows"), 2: Dim("length")},) * tensors
    dimensions = (text_of_each, text_of_each, batch, to_the_past, keys_and_values)
    return (tokens, positions, rows, mask, *cross, *past), dimensions
