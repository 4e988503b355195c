"""Checkpoints for ONNX Runtime and OpenVINO, built by `optimize` from tiny models."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import openvino
import pytest
from PIL import Image

from stages.captioner.checkpoint import Manifest, read_manifest, seal
from stages.captioner.runtimes.captioner import open_captioner
from stages.captioner.runtimes.compiled_graphs import compile_graph
from stages.captioner.runtimes.decoding import Decoding
from stages.captioner.runtimes.openvino_core import start_core
from tests.conftest import PROJECT, RECIPES, Build, assert_one_sentence


@pytest.mark.parametrize("name", [name for name, recipe in RECIPES.items() if recipe.runtime != "pytorch"])
def test_every_recipe_runs_in_every_runtime(
    name: str, build: Build, baseline: Path, pictures: list[Image.Image]
) -> None:
    checkpoint = build(name)
    manifest = read_manifest(checkpoint)
    assert manifest.runtime == RECIPES[name].runtime
    assert set(manifest.passes) == {part for part in ("prune", "quantize") if getattr(RECIPES[name], part)}
    captioner = open_captioner(checkpoint, threads=1)
    for decoding in (Decoding(max_new_tokens=20), Decoding(beams=3, prompt="a picture of")):
        assert len(captioner.caption(pictures, decoding)) == len(pictures)


@pytest.mark.parametrize("name", ["onnx", "openvino"])
def test_in_float_logits_are_the_baselines(
    name: str, build: Build, baseline: Path, pictures: list[Image.Image]
) -> None:
    words = [[7, 8, 9], [10], [11, 12], [13, 14, 15, 16]]
    logits, expected = (
        np.concatenate(model.next_token_logits(model.encode(model.preprocess(pictures)), words))
        for model in (open_captioner(build(name), threads=1).parts, open_captioner(baseline).parts)
    )
    assert np.corrcoef(logits.ravel(), expected.ravel())[0, 1] > 0.999999


@pytest.fixture(params=["onnx_int8", "openvino_int8"])
def in_int8(request: pytest.FixtureRequest, build_demo: Build) -> Path:
    """A checkpoint of the demo in int8."""
    return build_demo(request.param)


def test_in_int8_a_trained_model_goes_on_with_the_baselines_tokens(
    in_int8: Path, demo: Path, pictures: list[Image.Image]
) -> None:
    """Only a trained model will do: rounding turns a random one's next token as it likes, on some CPUs more often."""
    baseline, captioner = open_captioner(demo).parts, open_captioner(in_int8).parts
    same = []
    for picture in pictures:
        states, baseline_states = (model.encode(model.preprocess([picture])) for model in (captioner, baseline))
        words = baseline.decode(baseline_states, Decoding())
        logits, expected = (
            model.next_token_logits(own, words)[0] for model, own in ((captioner, states), (baseline, baseline_states))
        )
        same += list(logits.argmax(axis=-1) == expected.argmax(axis=-1))
    # Of the demo's next tokens, int8 changes less than one in a thousand: two of some fifty are a fault.
    assert len(same) - sum(same) < 2


def test_onnx_weights_are_int8_that_can_not_overflow_without_vnni(build: Build) -> None:
    products = {"MatMulInteger": 0, "MatMulNBits": 0}
    for graph in ("encoder.onnx", "decoder.onnx"):
        model = onnx.load(build("onnx_int8") / graph)
        onnx.checker.check_model(model)
        tensors = {tensor.name: tensor for tensor in model.graph.initializer}
        for node in model.graph.node:
            assert not (node.op_type == "MatMul" and node.input[1] in tensors), "a weight stayed in float"
            if node.op_type == "MatMulInteger":
                weights = onnx.numpy_helper.to_array(tensors[node.input[1]])
                assert weights.dtype == np.int8
                # Without VNNI two products of an 8-bit activation and a weight are added up in 16 bits.
                assert 2 * 255 * int(np.abs(weights.astype(int)).max()) <= np.iinfo(np.int16).max
            if node.op_type in products:
                products[node.op_type] += 1
    layers = 2
    assert products == {"MatMulInteger": layers * 6 + layers * 2, "MatMulNBits": layers * 6 + 2}


@pytest.mark.parametrize("name", ["onnx_int8", "openvino_int8", "openvino"])
def test_words_that_are_read_in_one_step_do_not_change_those_before(
    name: str, build: Build, pictures: list[Image.Image]
) -> None:
    captioner = open_captioner(build(name), threads=1).parts
    states = captioner.encode(captioner.preprocess(pictures[:1]))
    words = [7, 8, 9, 10, 11, 12, 13]
    (expected,) = captioner.next_token_logits(states, [words])
    for number in range(len(words)):
        others = words[:number] + [200 - word for word in words[number:]]
        (logits,) = captioner.next_token_logits(states, [others])
        assert np.array_equal(logits[: number + 1], expected[: number + 1])


def test_openvino_products_can_not_overflow_without_vnni(build: Build) -> None:
    model = openvino.Core().read_model(build("openvino_int8") / "encoder.xml")
    weights = [
        node.data
        for node in model.get_ops()
        if node.get_type_name() == "Constant" and node.get_element_type() == openvino.Type.i8
    ]
    assert len(weights) == 1 + 2 * 6 + 2 * 2  # patches; six of each layer, query, key and value apart; keys and values
    for values in weights:
        assert 2 * 255 * int(np.abs(values.astype(int)).max()) <= np.iinfo(np.int16).max


def test_openvino_graphs_load_in_its_own_api_with_int8_weights(build: Build) -> None:
    for graph in ("encoder.xml", "decoder.xml"):
        model = openvino.Core().read_model(build("openvino_int8") / graph)
        constants = [node for node in model.get_ops() if node.get_type_name() == "Constant"]
        matrices = [node for node in constants if len([size for size in node.shape if size >= 32]) == 2]
        assert matrices
        assert {node.get_element_type() for node in matrices} == {openvino.Type.i8}


@pytest.mark.parametrize("name", ["onnx", "openvino"])
def test_pictures_keep_their_states_while_others_are_encoded(
    name: str, build: Build, pictures: list[Image.Image]
) -> None:
    captioner = open_captioner(build(name), threads=1).parts
    first, second, both = (captioner.preprocess(some) for some in (pictures[:1], pictures[1:2], pictures[:2]))
    states = captioner.encode(first)
    (before,) = captioner.next_token_logits(states, [[5, 6]])
    (other,) = captioner.next_token_logits(captioner.encode(second), [[5, 6]])
    (after,) = captioner.next_token_logits(states, [[5, 6]])
    del states
    together = captioner.next_token_logits(captioner.encode(both), [[5, 6]] * 2)
    assert np.array_equal(before, after)
    assert not np.allclose(before, other, atol=1e-4)
    assert np.allclose(together, [before, other], atol=1e-4)


@pytest.fixture
def without_torch(tmp_path: Path) -> str:
    """A PYTHONPATH on which torch and transformers can't be imported."""
    folder = tmp_path / "poison"
    folder.mkdir()
    for name in ("torch", "transformers"):
        (folder / f"{name}.py").write_text(f"raise ImportError('{name} must not be needed')")
    return os.pathsep.join([str(folder), str(PROJECT)])


@pytest.mark.parametrize("name", ["onnx_int8", "openvino_int8"])
def test_captions_need_neither_torch_nor_transformers(
    name: str, build: Build, picture_files: list[Path], without_torch: str, run_stage: Callable[..., object]
) -> None:
    arguments = ("--checkpoint", build(name), "--json", "--beams", 2, *picture_files)
    process: subprocess.CompletedProcess[str] = run_stage("caption", *arguments, PYTHONPATH=without_torch)
    assert process.returncode == 0, process.stderr
    assert [json.loads(line)["image"] for line in process.stdout.splitlines()] == [str(file) for file in picture_files]


def test_a_pytorch_checkpoint_does_need_torch(
    baseline: Path, picture_files: list[Path], without_torch: str, run_stage: Callable[..., object]
) -> None:
    process: subprocess.CompletedProcess[str] = run_stage(
        "caption", "--checkpoint", baseline, picture_files[0], PYTHONPATH=without_torch
    )
    assert_one_sentence(process, "torch", "its extra [torch]")


GRAVITON_3 = ["asimd", "asimdhp", "asimddp", "sve", "i8mm", "bf16"]


@pytest.mark.parametrize(
    ("name", "validated_on", "warns"),
    [
        ("openvino_int8", GRAVITON_3, True),
        ("openvino", GRAVITON_3, False),
        ("openvino_int8", [], False),
        ("onnx_int8", GRAVITON_3, False),
        ("onnx_int8", ["avx2", "avx1024_vnni"], False),
    ],
)
def test_only_a_cpu_that_computes_in_other_numbers_than_those_validated_is_warned_of(
    name: str,
    validated_on: list[str],
    warns: bool,
    build: Build,
    tmp_path: Path,
    pictures: list[Image.Image],
    caplog: pytest.LogCaptureFixture,
) -> None:
    checkpoint = Path(shutil.copytree(build(name), tmp_path / "elsewhere"))
    manifest = read_manifest(checkpoint).model_copy(update={"validated_on": validated_on})
    seal(checkpoint, Manifest.model_validate(manifest.model_dump()))
    with open_captioner(checkpoint, threads=1) as captioner, open_captioner(build(name), threads=1) as own:
        assert captioner.caption(pictures[:1]) == own.caption(pictures[:1])
    said = [record.getMessage() for record in caplog.records if record.name.startswith("stages.")]
    assert len(said) == warns
    assert all("and this CPU computes it in" in sentence for sentence in said)


def test_captions_agree_when_openvino_may_use_avx2_only(
    build_demo: Build, tmp_path: Path, picture_files: list[Path], run_stage: Callable[..., object]
) -> None:
    capped = {"ONEDNN_MAX_CPU_ISA": "AVX2", "OV_CPU_MAX_ISA": "AVX2", "XDG_CACHE_HOME": str(tmp_path / "cache")}
    processes: list[subprocess.CompletedProcess[str]] = [
        run_stage("caption", "--checkpoint", build_demo("openvino_int8"), *picture_files, **more)
        for more in ({}, capped)
    ]
    assert [process.returncode for process in processes] == [0, 0]
    assert processes[0].stdout.splitlines() == processes[1].stdout.splitlines()
    assert len(processes[0].stdout.splitlines()) == len(picture_files)


def test_keys_and_values_are_float32_in_the_files(build: Build) -> None:
    """Which a CPU that computes in bfloat16 makes of them is settled where the checkpoint is opened."""
    core = openvino.Core()
    encoder, decoder = (core.read_model(build("openvino_int8") / graph) for graph in ("encoder.xml", "decoder.xml"))
    assert {port.element_type for port in encoder.outputs} == {openvino.Type.f32}
    assert {port.element_type for port in decoder.inputs if "cross" in port.any_name} == {openvino.Type.f32}


def test_in_bfloat16_both_graphs_pass_keys_and_values_in_it(build: Build, tmp_path: Path) -> None:
    settings = {"INFERENCE_PRECISION_HINT": openvino.Type.bf16}
    encoder, decoder = (
        compile_graph(start_core(), build("openvino_int8") / graph, settings, [])
        for graph in ("encoder.xml", "decoder.xml")
    )
    assert {port.element_type for port in encoder.outputs} == {openvino.Type.bf16}
    assert {port.element_type for port in decoder.inputs if "cross" in port.any_name} == {openvino.Type.bf16}
