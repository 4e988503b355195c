"""The wheel, as its users install it: with one extra, where there is nothing else, on every Python that it supports."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from PIL import Image
from pyarrow import dataset

from stages.captioner import open_captioner
from tests.captioner.server.servers import ask, chat, serving_by
from tests.conftest import PROJECT, Build
from tests.readmes import code_blocks

PROGRAM = PROJECT / "tests" / "captioner" / "embedding_program.py"
CHECKPOINTS = {"onnxruntime": "onnx_int8", "openvino": "openvino_int8", "torch": "quantized"}
# What a checkpoint for an engine does without.
ABSENT = {"torch", "transformers", "huggingface_hub", "dvc", "stages", "pandas", "scipy", "onnx", "nncf", "yaml"}
PINS = [
    Requirement(line)
    for file in ("requirements.txt", "requirements-test.txt")
    for line in (PROJECT / file).read_text(encoding="utf-8").splitlines()
    if not line.startswith(("#", "-r"))
]
METADATA = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def run(*command: object, home: Path, **environment: str) -> str:
    """What a command prints, run by a user who has never run anything, on a machine that is no CI."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("CI", "PYTHON", "XDG_", "VIRTUAL"))
    }
    process = subprocess.run(
        list(map(str, command)),
        cwd=home.parent,
        env=kept | {"HOME": str(home)} | environment,
        capture_output=True,
        encoding="utf-8",
        timeout=300,
    )
    assert process.returncode == 0, process.stderr
    return process.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(PROJECT)]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    (built,) = folder.iterdir()
    return built


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


def find_python(version: str, module: str = "venv") -> str | None:
    """An interpreter of this machine that has a module, by its name on the path or among pyenv's."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    candidates = [shutil.which(f"python{version}"), *map(str, pyenv.glob(f"{version}.*/bin/python{version}"))]
    for candidate in filter(None, candidates):
        if subprocess.run([candidate, "-c", f"import {module}"], capture_output=True).returncode == 0:
            return candidate
    return None


def install(wheel: Path, extra: str, python: str, target: Path) -> Path:
    """A new environment with the wheel, one extra and nothing else; in the versions that the project has."""
    subprocess.run([python, "-m", "venv", "--without-pip", str(target)], check=True, timeout=300)
    pip = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        str(target / "bin" / "python"),
        "install",
        "--quiet",
        "--no-compile",
    ]
    constraints = target.with_suffix(".txt")
    constraints.write_text("".join(f"{pin.name}{pin.specifier}\n" for pin in PINS))  # which may not name extras
    process = subprocess.run(
        [*pip, "--constraint", str(constraints), f"{wheel}[{extra}]"],
        capture_output=True,
        encoding="utf-8",
        timeout=300,
    )
    assert process.returncode == 0, process.stderr
    return target / "bin"


def embed(python: Path, checkpoint: Path, pictures: list[Path], home: Path, **more: str) -> dict[str, Any]:
    """What the program that embeds a captioner finds out, while strace, where there is one, looks for connections."""
    log = home.parent / "trace"
    calls = "trace=connect,sendto,sendmsg,sendmmsg"
    trace = ["strace", "-f", "--seccomp-bpf", "-qq", "-e", calls, "-o", log] if shutil.which("strace") else []
    options = {"own_imports": "numpy"} | more
    output = run(*trace, python, PROGRAM, options.pop("own_imports"), checkpoint, *pictures, home=home, **options)
    assert not log.exists() or "AF_INET" not in log.read_text()
    stored = {file.relative_to(home).as_posix() for file in home.rglob("*") if file.is_file()}
    assert not [name for name in stored if not name.startswith(".cache/blip-on-cpu/")]
    answer: dict[str, Any] = json.loads(output)
    return answer


def test_the_wheel_is_the_captioner_and_nothing_more(wheel: Path) -> None:
    source = PROJECT / "stages" / "captioner"
    files = {file.relative_to(source).as_posix() for file in source.rglob("*") if file.suffix in (".py", ".typed")}
    names = zipfile.ZipFile(wheel).namelist()
    assert {name for name in names if ".dist-info/" not in name} == {f"blip_on_cpu/{name}" for name in files}
    assert not [*PROJECT.glob("build"), *PROJECT.glob("*.egg-info")]


@pytest.mark.parametrize(
    ("version", "extra"), [("3.11", "openvino"), ("3.12", "onnxruntime"), ("3.13", "openvino"), ("3.14", "onnxruntime")]
)
def test_one_extra_in_an_empty_environment_captions(
    version: str,
    extra: str,
    wheel: Path,
    build: Build,
    picture_files: list[Path],
    pictures: list[Image.Image],
    home: Path,
    tmp_path: Path,
) -> None:
    python = find_python(version)
    if python is None:
        pytest.skip(f"there is no Python {version} on this machine")
    checkpoint = build(CHECKPOINTS[extra])
    with open_captioner(checkpoint) as captioner:
        expected = captioner.caption(pictures)
        alone = [captioner.caption([picture])[0] for picture in pictures]
    binaries = install(wheel, extra, python, tmp_path / "environment")
    answer = embed(binaries / "python", checkpoint, picture_files, home)
    assert answer["captions"] == expected
    assert answer["changed"] == []
    assert {"blip_on_cpu", extra} <= set(answer["modules"]) and not ABSENT & set(answer["modules"])

    lines = run(binaries / "blip-on-cpu", "--checkpoint", checkpoint, *picture_files, home=home).splitlines()
    assert lines == [f"{file}: {caption}" for file, caption in zip(picture_files, alone, strict=True)]
    assert run(binaries / "blip-on-cpu-verify", checkpoint, home=home) == f"{checkpoint}: whole\n"
    other = next(name for name in CHECKPOINTS if name != extra)
    with pytest.raises(AssertionError, match=rf"install blip-on-cpu with its extra \[{other}\]"):
        run(binaries / "blip-on-cpu", "--checkpoint", build(CHECKPOINTS[other]), picture_files[0], home=home)


def test_the_extra_for_archives_captions_one(
    wheel: Path, build: Build, picture_files: list[Path], pictures: list[Image.Image], home: Path, tmp_path: Path
) -> None:
    checkpoint = build(CHECKPOINTS["onnxruntime"])
    binaries = install(wheel, "corpus,onnxruntime", sys.executable, tmp_path / "environment")
    command = ("--checkpoint", checkpoint, "--images", f"{tmp_path}/*.png", "--output", tmp_path / "captions")
    output = run(binaries / "blip-on-cpu-corpus", *command, home=home)
    assert output.endswith(": 4 pictures captioned, 0 of them cut off, and 0 that can't be opened\n")
    assert not [name for name in os.listdir(home) if name != ".cache"]  # no token for all clusters, no statistics
    found = dataset.dataset(tmp_path / "captions", format="parquet").to_table(columns=["caption"])
    with open_captioner(checkpoint) as captioner:
        assert sorted(found["caption"].to_pylist()) == sorted(captioner.caption(pictures))


def test_parquet_is_an_extra(wheel: Path, build: Build, picture_files: list[Path], home: Path, tmp_path: Path) -> None:
    output = tmp_path / "captions.parquet"
    command = ("--checkpoint", build(CHECKPOINTS["onnxruntime"]), "--output", output, *picture_files)
    binaries = install(wheel, "onnxruntime", sys.executable, tmp_path / "environment")
    with pytest.raises(AssertionError, match=r"install blip-on-cpu with its extra \[parquet\]"):
        run(binaries / "blip-on-cpu", *command, home=home)
    binaries = install(wheel, "onnxruntime,parquet", sys.executable, tmp_path / "with Parquet")
    lines = run(binaries / "blip-on-cpu", *command, home=home).splitlines()
    assert lines == [f"{row['image']}: {row['caption']}" for row in dataset.dataset(output).to_table().to_pylist()]


def test_the_server_is_an_extra(
    wheel: Path, build: Build, pictures: list[Image.Image], home: Path, tmp_path: Path
) -> None:
    checkpoint = build("onnx_int8")
    binaries = install(wheel, "onnxruntime", sys.executable, tmp_path / "environment")
    with pytest.raises(AssertionError, match=r"install blip-on-cpu with its extra \[server\]"):
        run(binaries / "blip-on-cpu-serve", "--checkpoint", checkpoint, home=home)
    binaries = install(wheel, "onnxruntime,server", sys.executable, tmp_path / "with the server")
    command = [str(binaries / "blip-on-cpu-serve"), "--checkpoint", str(checkpoint), "--port", "0"]
    with serving_by(command) as server, open_captioner(checkpoint) as captioner:
        answer = ask(server, "POST", "/v1/chat/completions", chat(pictures[0]))
        assert answer.json["choices"][0]["message"]["content"] == captioner.caption(pictures[:1])[0]


@pytest.mark.parametrize("extra", CHECKPOINTS)
def test_a_program_that_has_everything_keeps_its_process(
    extra: str, wheel: Path, build: Build, picture_files: list[Path], pictures: list[Image.Image], home: Path
) -> None:
    """In this environment, with the libraries that it has."""
    site = home.parent / "site"
    zipfile.ZipFile(wheel).extractall(site)
    checkpoint = build(CHECKPOINTS[extra])
    # What these import adds warnings' filters of its own, as numpy does.
    torch_s = "torch.ao.quantization,transformers.models.blip.modeling_blip"
    own_imports = torch_s if extra == "torch" else "numpy"
    options = {"own_imports": own_imports, "PYTHONPATH": str(site)}
    answer = embed(Path(sys.executable), checkpoint, picture_files, home, **options)
    with open_captioner(checkpoint) as captioner:
        assert answer["captions"] == captioner.caption(pictures)
    assert answer["changed"] == []
    assert "stages" not in answer["modules"]


def test_the_readme_s_lines_caption(
    build: Build, wheel: Path, picture_files: list[Path], pictures: list[Image.Image], home: Path
) -> None:
    (lines,) = code_blocks("README.md", "Ship it without torch", "python")
    assert len(list(filter(None, lines.splitlines()))) == 3
    zipfile.ZipFile(wheel).extractall(home.parent / "site")
    (home.parent / "models").mkdir()
    (home.parent / "models" / "openvino_int8").symlink_to(build("openvino_int8"))
    shutil.copyfile(picture_files[0], home.parent / "photo.jpg")
    output = run(sys.executable, "-c", lines, home=home, PYTHONPATH=str(home.parent / "site"))
    with open_captioner(build("openvino_int8")) as captioner:
        assert output == f"{captioner.caption(pictures[:1])}\n"


@pytest.fixture
def editable(tmp_path: Path) -> Path:
    """The commands of a new environment into which a copy of the project, `home`'s neighbour, is installed by
    `pip install -e`, beside the libraries of this one."""
    source = tmp_path / "a project"
    shutil.copytree(PROJECT / "stages", source / "stages", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(PROJECT / "editable", source / "editable", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(PROJECT / name, source)
    environment = tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(environment)], check=True, timeout=300)
    pip = [sys.executable, "-m", "pip", "--python", str(environment / "bin/python"), "install", "--quiet", "--no-deps"]
    process = subprocess.run([*pip, "-e", "."], cwd=source, capture_output=True, encoding="utf-8", timeout=300)
    assert process.returncode == 0, process.stderr
    [site] = environment.glob("lib/python*/site-packages")
    (site / "libraries.pth").write_text(sysconfig.get_path("purelib"))
    return environment / "bin"


def test_an_editable_installation_is_the_package_and_shows_edits(
    editable: Path, build: Build, picture_files: list[Path], pictures: list[Image.Image], home: Path, tmp_path: Path
) -> None:
    checkpoint = build("openvino_int8")
    answer = embed(editable / "python", checkpoint, picture_files, home)
    with open_captioner(checkpoint) as captioner:
        assert answer["captions"] == captioner.caption(pictures)
    assert answer["changed"] == [] and "stages" not in answer["modules"]
    assert run(editable / "blip-on-cpu-verify", checkpoint, home=home) == f"{checkpoint}: whole\n"

    package = tmp_path / "a project/stages/captioner"
    (package / "added.py").write_text("from .checkpoint import BASELINE as edited\n")
    program = "import blip_on_cpu.added as own; print(own.__name__, own.edited); import blip_on_cpu as package; "
    program += "print(package.__file__); print(package.open_captioner.__module__)"
    output = run(editable / "python", "-c", program, home=home)
    assert output.splitlines() == [
        "blip_on_cpu.added models/baseline",
        str(package / "__init__.py"),
        "blip_on_cpu.runtimes.captioner",
    ]
    with (package / "commands/verify.py").open("a") as stream:
        stream.write('\nprint("edited")\n')
    assert run(editable / "blip-on-cpu-verify", checkpoint, home=home) == f"edited\n{checkpoint}: whole\n"


def test_what_the_project_runs_with_is_within_the_package_s_bounds() -> None:
    pins = {pin.name.lower(): pin for pin in PINS}
    bounds = [
        *METADATA["dependencies"],
        *(each for extra in METADATA["optional-dependencies"].values() for each in extra),
    ]
    for bound in map(Requirement, bounds):
        (pin,) = pins[bound.name.lower()].specifier
        assert pin.operator == "==" and bound.specifier.contains(pin.version), bound
