"""The state of a training on disk, so that one that was killed goes on as if it had not been."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from stages.captioner.checkpoint import save_tensors


def save_state(
    path: Path,
    parameters: Mapping[str, torch.nn.Parameter],
    optimizers: Iterable[torch.optim.Optimizer],
    metadata: dict[str, str],
) -> None:
    """Writes what is trained and what optimizers remember; a process that ends meanwhile leaves the state before.

    Raises OSError with the system's error number if that fails, as where the disk is full.
    """
    states = {parameter: own for optimizer in optimizers for parameter, own in optimizer.state.items()}
    tensors = {name: parameter.detach() for name, parameter in parameters.items()}
    for name, parameter in parameters.items():
        tensors |= {f"{name}/{key}": value for key, value in states[parameter].items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".unfinished")
    save_tensors(tensors, unfinished, metadata)
    with unfinished.open("rb") as stream:
        os.fsync(stream.fileno())
    unfinished.rename(path)


def read_state(path: Path) -> tuple[dict[str, str], dict[str, torch.Tensor]] | None:
    """The metadata and tensors that `save_state` wrote, or nothing if there is no such file."""
    try:
        with safe_open(path, "pt") as file:
            return file.metadata() or {}, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no dict)
    except (FileNotFoundError, SafetensorError):
        return None


@torch.no_grad()
def restore_state(
    tensors: Mapping[str, torch.Tensor],
    parameters: Mapping[str, torch.nn.Parameter],
    optimizers: Iterable[torch.optim.Optimizer],
) -> None:
    """Gives parameters and optimizers what `read_state` read, in place."""
    owners = {own: optimizer for optimizer in optimizers for group in optimizer.param_groups for own in group["params"]}
    for name, parameter in parameters.items():
        parameter.copy_(tensors[name])
        before = f"{name}/"
        owners[parameter].state[parameter] = {
            key.removeprefix(before): value.to(parameter.device if value.dim() else "cpu")
            for key, value in tensors.items()
            if key.startswith(before)
        }
