"""Dynamic int8 quantization by PyTorch: int8 weights, and activations quantized on the fly at every matrix product.

`torch.ao.quantization` is deprecated without a successor that is as fast on a CPU, so nothing outside this module
knows of it. Two verbs: `apply` makes a model int8, `restore` makes it so again from the
tensors of a checkpoint, bit for bit.
"""

from collections.abc import Collection

import torch
from torch.ao.nn.quantized.dynamic import Linear as Int8Linear
from torch.ao.quantization import per_channel_dynamic_qconfig, quantize_dynamic

WEIGHT, SCALE, ZERO_POINT = "weight_int8", "weight_scale", "weight_zero_point"


def apply(model: torch.nn.Module, in_float: Collection[str] = ()) -> int:
    """Replaces every `nn.Linear` by its int8 twin, in place, but those that are named to stay in float.

    Weights get one scale per output channel.

    Returns the number of layers replaced.
    """
    linear = [name for name, layer in model.named_modules() if isinstance(layer, torch.nn.Linear)]
    layers = [name for name in linear if name not in in_float]
    quantize_dynamic(model, dict.fromkeys(layers, per_channel_dynamic_qconfig), inplace=True)
    restore(model, tensors(model))  # packs every layer for its own kernel, as opening a checkpoint does
    return len(layers)


def tensors(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Everything that `restore` needs of the int8 layers: int8 weights, scales, zero points and float biases."""
    state: dict[str, torch.Tensor] = {}
    for name, layer in model.named_modules():
        if isinstance(layer, Int8Linear):
            weight = layer.weight()
            state[f"{name}.{WEIGHT}"] = weight.int_repr()
            state[f"{name}.{SCALE}"] = weight.q_per_channel_scales()
            state[f"{name}.{ZERO_POINT}"] = weight.q_per_channel_zero_points()
            if layer.bias() is not None:
                state[f"{name}.bias"] = layer.bias().detach().clone()  # a tied bias would share memory with its twin
    return state


def restore(model: torch.nn.Module, state: dict[str, torch.Tensor]) -> None:
    """Replaces those linear layers of a model, in place, of which `state` holds int8 weights."""
    default = torch.backends.quantized.engine
    try:
        for name in [key.removesuffix(f".{WEIGHT}") for key in state if key.endswith(f".{WEIGHT}")]:
            weight = torch._make_per_channel_quantized_tensor(
                state[f"{name}.{WEIGHT}"], state[f"{name}.{SCALE}"], state[f"{name}.{ZERO_POINT}"], axis=0
            )
            out_features, in_features = weight.shape
            torch.backends.quantized.engine = _fastest_engine(name, default)
            layer = Int8Linear(in_features, out_features)
            layer.set_weight_bias(weight, state.get(f"{name}.bias"))
            model.set_submodule(name, layer)
    finally:
        torch.backends.quantized.engine = default


def runs_once_per_picture(layer: str) -> bool:
    """Whether a linear layer, by its name in the model, runs once for a picture's patches and not for each token."""
    return layer.startswith("vision_model.") or layer.endswith(("crossattention.self.key", "crossattention.self.value"))


def _fastest_engine(layer: str, default: str) -> str:
    """The engine whose kernel a layer is packed for: oneDNN is faster on the hundreds of rows that a picture gives, the
    default (FBGEMM on x86) on the one row of a decoding step.
    """
    available = "onednn" in torch.backends.quantized.supported_engines
    return "onednn" if available and runs_once_per_picture(layer) else default
