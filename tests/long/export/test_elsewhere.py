"""Checkpoints on machines that are set up otherwise: links, homes, caches, modes; and what nobody may find out."""

import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image
from safetensors.numpy import save

from stages.captioner.checkpoint import Manifest, seal
from stages.captioner.runtimes.captioner import open_captioner
from stages.captioner.runtimes.decoding import Decoding
from stages.export import openvino
from tests.conftest import PROJECT, RECIPES, Build, RunStage, assert_one_sentence, save_processor, tiny_model

LINKED = ["quantized", "onnx", "onnx_int8", "openvino", "openvino_int8"]
RUNTIMES = ["quantized", "onnx_int8", "openvino_int8"]
OPTIMIZE = (
    "import sys; from pathlib import Path;"
    "from stages.optimize import optimize; from stages.setup.params import Recipe;"
    "optimize(Path(sys.argv[1]), Recipe.model_validate_json(sys.argv[2]), Path(sys.argv[3]), Path(sys.argv[4]))"
)
# Reads all that root can, and owns and writes nothing.
NOBODY = (
    "setpriv",
    "--reuid=12345",
    "--clear-groups",
    "--inh-caps=+dac_read_search",
    "--ambient-caps=+dac_read_search",
)
ROOT = hasattr(os, "getuid") and os.getuid() == 0 and shutil.which("setpriv") is not None


@pytest.fixture
def graph_cache(tmp_path: Path, build: Build, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder in which OpenVINO's compiled graphs are kept."""
    build("openvino_int8")  # opens what it has built, which would be kept there too
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "blip-on-cpu" / "openvino"


def link_into_cache(checkpoint: Path, target: Path, store: Path, link: Callable[[Path, Path], None]) -> None:
    """Lays a checkpoint out as DVC does: write-protected files, each in a folder of its own, and links to them."""
    target.mkdir(parents=True)
    for number, file in enumerate(sorted(checkpoint.iterdir())):
        (store / f"{number:02}").mkdir(parents=True)
        stored = Path(shutil.copyfile(file, store / f"{number:02}" / "0123456789abcdef"))
        stored.chmod(0o444)
        link(stored, target / file.name)
    target.chmod(0o555)


@pytest.mark.parametrize("link", [lambda file, name: name.symlink_to(file), lambda file, name: name.hardlink_to(file)])
@pytest.mark.parametrize("name", LINKED)
def test_a_checkpoint_of_links_captions_like_one_of_files(
    name: str,
    link: Callable[[Path, Path], None],
    build: Build,
    pictures: list[Image.Image],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    place = Path("models ü", "50%20 #1 日本", name)
    monkeypatch.chdir(tmp_path)
    link_into_cache(build(name), place, tmp_path / "store", link)
    Path("current").symlink_to(place)
    decoding = Decoding(max_new_tokens=8)
    expected = open_captioner(build(name), 1).caption(pictures, decoding)
    for checkpoint in (place, place.resolve(), Path("current")):
        assert open_captioner(checkpoint, 1).caption(pictures, decoding) == expected


HOMES: dict[str, dict[str, str | None]] = {
    "unwritable": {"HOME": "/proc/none", "XDG_CACHE_HOME": None},
    "unwritable cache": {"XDG_CACHE_HOME": "/proc/none"},
    "relative cache": {"XDG_CACHE_HOME": "cache"},
    "empty": {"HOME": "", "XDG_CACHE_HOME": ""},
    "none": {"HOME": None, "XDG_CACHE_HOME": None},
}


@pytest.fixture
def public() -> Iterator[Path]:
    """A temporary folder that every user may read, as pytest's own are not."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def environment(**changes: str | None) -> dict[str, str]:
    own = {**os.environ, "PYTHONPATH": str(PROJECT), "PYTHONDONTWRITEBYTECODE": "1", **changes}
    return {name: value for name, value in own.items() if value is not None}


@pytest.mark.parametrize(
    ("name", "home"), [*(("openvino_int8", home) for home in HOMES), ("quantized", "none"), ("onnx_int8", "none")]
)
def test_captions_need_no_home(name: str, home: str, build: Build, picture_files: list[Path], public: Path) -> None:
    shutil.copytree(build(name), public / "checkpoint")
    shutil.copyfile(picture_files[0], public / "0.png")
    nobody = NOBODY if ROOT else ()
    process = subprocess.run(
        [*nobody, sys.executable, "-m", "stages.caption", "--checkpoint", public / "checkpoint", public / "0.png"],
        cwd=PROJECT,
        env=environment(**HOMES[home]),
        capture_output=True,
        encoding="utf-8",
        timeout=120,
    )
    assert (process.returncode, process.stderr) == (0, "")
    assert process.stdout.startswith(f"{public / '0.png'}: ")


def test_compiled_graphs_of_another_checkpoint_are_never_taken(
    graph_cache: Path, pictures: list[Image.Image], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, logits = tmp_path / "checkpoint", []
    for seed in (0, 1):
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        model = tiny_model(seed)
        save_processor(place)
        (place / "config.json").write_text(model.config.to_json_string(use_diff=False))
        openvino.export(model, None, in_float=[], in_int8=[], calibration=[], directory=place)
        seal(place, Manifest(runtime="openvino", origin={}, recipe={}, passes={}, libraries={}, validated_on=[]))
        for file in place.iterdir():
            os.utime(file, (1_000_000_000, 1_000_000_000))
        both = []
        for cached in (graph_cache.parents[1], graph_cache.parents[1], Path("/proc/none")):
            monkeypatch.setenv("XDG_CACHE_HOME", str(cached))
            captioner = open_captioner(place, threads=1).parts
            both.append(captioner.next_token_logits(captioner.encode(captioner.preprocess(pictures[:1])), [[7, 8]])[0])
        logits.append(both)
    for first, second, without in logits:
        assert np.array_equal(first, second)
        assert np.array_equal(first, without)
    assert not np.allclose(logits[0][0], logits[1][0], atol=1e-2)
    assert len(list(graph_cache.iterdir())) == 4


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "empty": lambda file: file.write_bytes(b""),
    "truncated": lambda file: file.write_bytes(file.read_bytes()[:-100]),
    "one bit": flip,
    "a folder": lambda file: (file.unlink(), file.mkdir()),
    "another's name": lambda file: shutil.copyfile(sorted(file.parent.iterdir())[0], file.with_name("x")).replace(file),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_compiled_graphs_are_made_again(
    damage: str, graph_cache: Path, build: Build, pictures: list[Image.Image]
) -> None:
    expected = open_captioner(build("openvino_int8"), 1).caption(pictures, Decoding())
    kept = sorted(graph_cache.iterdir())
    assert len(kept) == 2
    for file in kept:
        DAMAGES[damage](file)
    assert open_captioner(build("openvino_int8"), 1).caption(pictures, Decoding()) == expected


@pytest.mark.skipif(not ROOT, reason="needs root")
def test_another_users_compiled_graphs_are_not_taken(
    graph_cache: Path, build: Build, pictures: list[Image.Image]
) -> None:
    expected = open_captioner(build("openvino_int8"), 1).caption(pictures, Decoding())
    for file in graph_cache.iterdir():
        os.chown(file, 12345, 12345)
    assert open_captioner(build("openvino_int8"), 1).caption(pictures, Decoding()) == expected
    assert {file.stat().st_uid for file in graph_cache.iterdir()} == {0}


@pytest.mark.parametrize("cap", ["ONEDNN_MAX_CPU_ISA", "OV_CPU_MAX_ISA"])
def test_graphs_compiled_for_other_instruction_sets_are_not_taken(
    cap: str,
    graph_cache: Path,
    build: Build,
    picture_files: list[Path],
    run_stage: RunStage,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In processes of their own, as the engine looks at these variables once."""
    monkeypatch.delenv(cap, raising=False)  # which the tests themselves may run under
    kept = []
    for more in ({}, {}, {cap: "AVX2"}):
        process = run_stage("caption", "--checkpoint", build("openvino_int8"), picture_files[0], **more)
        assert process.returncode == 0, process.stderr
        kept.append(len(list(graph_cache.iterdir())))
    assert kept == [2, 2, 4]


@pytest.fixture
def traced(tmp_path: Path, public: Path) -> Iterator[tuple[list[str], Path]]:
    """What to put in front of a command to see its connections, and an empty home; checks both at the end."""
    home, log = public / "home", tmp_path / "trace"
    home.mkdir()
    home.chmod(0o777)
    # The filter in the kernel lets all other calls of many threads pass without a stop.
    calls = ["-e", "trace=connect,sendto,sendmsg,sendmmsg"]
    trace = ["strace", "-f", "--seccomp-bpf", "-qq", *calls, "-o", str(log)]
    yield (trace if shutil.which("strace") else []), home
    connections = [line for line in log.read_text().splitlines() if "AF_INET" in line] if log.exists() else []
    assert connections == []
    found = {file.relative_to(home).as_posix() for file in home.rglob("*") if file.is_file()}
    assert {name for name in found if not name.startswith(".cache/blip-on-cpu/openvino/")} == set()


def private(home: Path) -> dict[str, str]:
    """An environment in which this user has never run anything, on a machine that is no CI."""
    unset = ("CI", "TF_BUILD", "JENKINS_URL", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME")
    return environment(HOME=str(home), **dict.fromkeys(unset))


@pytest.mark.parametrize("name", RUNTIMES)
def test_captioning_stores_and_sends_no_statistics(
    name: str, traced: tuple[list[str], Path], build: Build, picture_files: list[Path]
) -> None:
    trace, home = traced
    command = [*trace, sys.executable, "-m", "stages.caption", "--checkpoint", build(name), picture_files[0]]
    subprocess.run(command, cwd=PROJECT, env=private(home), check=True, capture_output=True, timeout=300)


@pytest.mark.parametrize("name", RUNTIMES)
def test_a_user_whom_the_system_does_not_know_makes_the_same_bytes_with_modes_by_his_umask_and_unnoticed(
    name: str, traced: tuple[list[str], Path], build: Build, baseline: Path, calibration: Path, public: Path
) -> None:
    trace, home = traced
    models, nobody = public / "models", NOBODY if ROOT else ()
    models.mkdir()
    os.chown(models, 12345 if ROOT else -1, -1)
    arguments = [baseline, RECIPES[name].model_dump_json(exclude_defaults=True), calibration, models / name]
    command = [*trace, *nobody, sys.executable, "-c", OPTIMIZE, *map(str, arguments)]
    process = subprocess.run(
        command, cwd=PROJECT, env=private(home), capture_output=True, encoding="utf-8", timeout=300, umask=0o027
    )
    assert process.returncode == 0, process.stderr
    assert (models / name / "checkpoint.json").read_text() == (build(name) / "checkpoint.json").read_text()
    for path in (models / name).rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o750 if path.is_dir() else 0o640), path
    assert stat.S_IMODE((models / name).stat().st_mode) == 0o750


def unusable(suffix: str) -> bytes:
    """What is well formed and within all bounds, and yet nothing that a runtime can open."""
    if suffix == ".safetensors":
        return save({"text_decoder.bert.embeddings.word_embeddings.weight": np.zeros(3, dtype=np.float32)})
    if suffix == ".xml":
        return b'<net version="11"><layers><layer id="0" type="Result" version="opset1"/></layers></net>'
    node = onnx.helper.make_node("Add", ["nowhere", "neither"], ["sum"])
    output = onnx.helper.make_tensor_value_info("sum", onnx.TensorProto.FLOAT, [1])
    return onnx.helper.make_model(onnx.helper.make_graph([node], "graph", [], [output])).SerializeToString()


@pytest.mark.parametrize("name", RUNTIMES)
@pytest.mark.parametrize("nonsense", [True, False])
def test_a_graph_that_its_runtime_can_not_read_is_one_sentence(
    nonsense: bool, name: str, build: Build, tmp_path: Path, picture_files: list[Path], run_stage: Callable[..., object]
) -> None:
    checkpoint = Path(shutil.copytree(build(name), tmp_path / "broken"))
    for file in checkpoint.iterdir():
        if file.suffix in (".onnx", ".xml", ".safetensors"):
            file.write_bytes(b"nonsense" * 10 if nonsense else unusable(file.suffix))
    manifest = Manifest.model_validate(json.loads((checkpoint / "checkpoint.json").read_text()))
    seal(checkpoint, manifest)
    process: subprocess.CompletedProcess[str] = run_stage("caption", "--checkpoint", checkpoint, picture_files[0])
    assert_one_sentence(process, "rebuild it" if nonsense else "can't open", str(checkpoint))
