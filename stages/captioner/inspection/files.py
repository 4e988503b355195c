"""Looks into a checkpoint's files before a library reads them: hashes tell nothing of whoever wrote them.

In bounded memory and time, and without the weights. What is looked for: sizes that would exhaust memory, places outside
of a file, names of other files, and what the libraries would run or look up for a checkpoint's sake. What a graph takes
when a runtime compiles and runs it is not known before.
"""

from pathlib import Path

from ..checkpoint import WEIGHTS, Manifest
from ..command_line import InputError, brief
from .configuration import inspect_for_transformers, read_configuration
from .safetensors_header import inspect_safetensors
from .tokenizer import inspect_tokenizer

GRAPHS = ("encoder", "decoder")


def inspect_files(directory: Path, manifest: Manifest) -> None:
    """Looks into those files of a checkpoint that its runtime reads. Raises InputError if one may not be opened."""
    read_configuration(directory)
    inspect_tokenizer(directory)
    if manifest.runtime == "pytorch":
        inspect_for_transformers(directory)
        inspect_safetensors(directory / WEIGHTS)
    elif manifest.runtime == "onnxruntime":
        try:
            from .onnx_graph import inspect_onnx_graph  # here, as protobuf comes with ONNX Runtime alone
        except ImportError as error:
            raise InputError(
                f"{directory} can't be looked into here ({brief(error)}): install blip-on-cpu with its extra "
                "[onnxruntime]"
            ) from None
        for graph in GRAPHS:
            inspect_onnx_graph(directory / f"{graph}.onnx")
    else:
        from .openvino_graph import inspect_openvino_graph

        for graph in GRAPHS:
            inspect_openvino_graph(directory / f"{graph}.xml")
