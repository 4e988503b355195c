"""Whatever lies in a checkpoint is opened or refused in a sentence: every file damaged at random, by thousands.

FUZZ_CASES and FUZZ_OPENINGS make them more: in-process, and opened whole in a process apart.
"""

import os
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stages.captioner.checkpoint import MANIFEST, read_manifest, seal, verify_files
from stages.captioner.command_line import LONGEST_MESSAGE, InputError
from stages.captioner.inspection.files import inspect_files
from tests.captioner.inspection.mutations import mutate
from tests.captioner.inspection.opening import Opener
from tests.conftest import RECIPES, Build

CASES = int(os.environ.get("FUZZ_CASES", "60"))
OPENINGS = int(os.environ.get("FUZZ_OPENINGS", "12"))
# What is read of each runtime's checkpoints, weights apart.
FILES = {
    "quantized": ["config.json", "preprocessor_config.json", "tokenizer_config.json", "model.safetensors"],
    "onnx_int8": ["tokenizer.json", "encoder.onnx", "decoder.onnx"],
    "openvino_int8": ["config.json", "encoder.xml", "decoder.xml"],
}
FUZZED = [(name, file) for name, files in FILES.items() for file in (MANIFEST, *files)]
fuzzing = settings(database=None, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def copies(build: Build, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("copies")
    return {name: Path(shutil.copytree(build(name), folder / name)) for name in FILES}


@pytest.mark.parametrize("name", RECIPES)
def test_what_the_project_makes_may_be_opened(name: str, build: Build) -> None:
    inspect_files(build(name), read_manifest(build(name)))


@pytest.mark.parametrize(("name", "file"), FUZZED)
def test_a_damaged_file_is_whole_or_refused_in_a_sentence(
    name: str, file: str, copies: dict[str, Path], build: Build
) -> None:
    original, place = (build(name) / file).read_bytes(), copies[name] / file
    refused = []

    @settings(fuzzing, max_examples=CASES)
    @given(st.integers(0, 2**64))
    def check(seed: int) -> None:
        place.write_bytes(mutate(file, original, seed))
        try:
            manifest = read_manifest(copies[name])
            if file == MANIFEST:
                verify_files(copies[name], manifest)
            inspect_files(copies[name], manifest)
        except InputError as error:
            refused.append(str(error))

    try:
        check()
    finally:
        place.write_bytes(original)
    assert refused
    assert not [sentence for sentence in refused if len(sentence) > LONGEST_MESSAGE or "\n" in sentence]


@pytest.mark.parametrize("name", FILES)
def test_a_damaged_checkpoint_with_the_right_hashes_ends_no_process(
    name: str, copies: dict[str, Path], build: Build, tmp_path: Path, picture_files: list[Path]
) -> None:
    """Sealed again, as whoever makes a malicious checkpoint can; also weights, which nothing looks into."""
    checkpoint = Path(shutil.copytree(copies[name], tmp_path / name))
    manifest = read_manifest(build(name))
    files = sorted({*manifest.files} - {"README.md"})
    with Opener(picture_files[0]) as opener:

        @settings(fuzzing, max_examples=OPENINGS)
        @given(st.integers(0, 2**64))
        def check(seed: int) -> None:
            file = files[seed % len(files)]
            original = (build(name) / file).read_bytes()
            (checkpoint / file).write_bytes(mutate(file, original, seed))
            try:
                seal(checkpoint, manifest)
                assert opener.open(checkpoint).startswith(("captions", "InputError"))
            finally:
                (checkpoint / file).write_bytes(original)

        check()
