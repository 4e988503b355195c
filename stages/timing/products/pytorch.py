"""The products that PyTorch computes."""

from math import prod
from pathlib import Path
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from stages.captioner.runtimes.pytorch import load_model
from stages.timing.roofline import Part, Product


class _Recorder(TorchDispatchMode):
    """Records the products of all that PyTorch computes in its `with` block."""

    def __init__(self, *, states_are_read: bool) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.states_are_read = states_are_read
        self.products: list[Product] = []

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        match function.overloadpacket.__name__:
            case "linear_dynamic":  # of quantized, whose weights are packed
                inputs, outputs = args[0].shape[-1], result.shape[-1]
                self.products.append(Product(result.numel() * inputs, "int8", inputs * outputs))
            case "convolution":
                self._add(result.numel() * prod(args[1].shape[1:]), args[1])
            case "addmm" | "mm" | "bmm" as name:
                left, right = args[-2:]
                self._add(result.numel() * left.shape[-1], right, state=name == "bmm")
        return result

    def _add(self, macs: int, right: torch.Tensor, *, state: bool = False) -> None:
        read = right.numel() * right.element_size() if self.states_are_read or not state else 0
        self.products.append(Product(macs, "float32", read))


@torch.no_grad()
def count(checkpoint: Path, length: int) -> dict[Part, list[Product]]:
    """By running the model as `generate` does, on a black picture: a quick look, as nothing is timed."""
    model = load_model(checkpoint)
    side, word = model.config.vision_config.image_size, torch.tensor([[model.config.text_config.bos_token_id]])
    with _Recorder(states_are_read=False) as encode:
        states = model.vision_model(pixel_values=torch.zeros(1, 3, side, side)).last_hidden_state
    past = None
    for step in range(1, length + 1):
        with _Recorder(states_are_read=True) as recorder:
            past = model.text_decoder(
                input_ids=word, encoder_hidden_states=states, past_key_values=past, use_cache=True
            ).past_key_values
        if step == 1:
            prefill = recorder
    return {"encode": encode.products, "prefill": prefill.products, "token": recorder.products}
