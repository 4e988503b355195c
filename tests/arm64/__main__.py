"""Captions pictures of the demo in both engines on emulated ARM CPUs, and compares them with this machine's.

Everything lies in a folder of its own, and nothing is installed on the system: Debian's packages of QEMU and of Python
for ARM are unpacked there, and PyPI's wheels for ARM beside them. Ends with status 1 if a caption differs.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from packaging.requirements import Requirement

from tests.conftest import PROJECT

APART = PROJECT / ".dvc" / "tmp" / "arm64"
# The first Debian that has QEMU 10: an older one shows programs the /proc/cpuinfo of the machine that it runs on.
DEBIAN, KEYS = "trixie", Path("/usr/share/keyrings/debian-archive-keyring.gpg")
PYTHON = "3.13"
PACKAGES = (f"python{PYTHON}-minimal:arm64", f"libpython{PYTHON}-stdlib:arm64", "libstdc++6:arm64")
WHEELS = {
    *("archspec", "numpy", "onnxruntime", "openvino", "pillow", "protobuf", "pydantic", "rich", "tokenizers", "typer")
}
GLIBC = range(17, 42)  # the second numbers of the versions that wheels may be made for
CPUS = ("cortex-a76", "neoverse-v1")
CHECKPOINTS = ("onnx_int8", "openvino_int8")
PICTURES = 20


def debian_mirror() -> str | None:
    """Where this machine's own package manager gets Debian from; None without one."""
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb") and KEYS.is_file()):
        return None
    asked = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI) $(ORIGIN) $(COMPONENT)"], capture_output=True, text=True
    )
    mirrors = [line.split()[0] for line in asked.stdout.splitlines() if line.endswith(" Debian main")]
    return next((mirror for mirror in mirrors if not mirror.rstrip("/").endswith("-security")), None)


def fetch_emulator(mirror: str, folder: Path) -> None:
    """Unpacks QEMU and Python for ARM. Raises CalledProcessError if they can't be had."""
    state = folder / "apt"
    for name in ("lists/partial", "cache/archives/partial"):
        (state / name).mkdir(parents=True)
    (state / "status").touch()
    (state / "sources.list").write_text(f"deb [signed-by={KEYS}] {mirror} {DEBIAN} main\n")
    host = subprocess.run(["dpkg", "--print-architecture"], check=True, capture_output=True, text=True).stdout.strip()
    settings = {
        "Dir::State": state,
        "Dir::State::status": state / "status",
        "Dir::Cache": state / "cache",
        "Dir::Etc::sourcelist": state / "sources.list",
        "Dir::Etc::sourceparts": "-",
        "APT::Sandbox::User": "root",  # that is, whoever runs this: the folder is nobody else's
        "APT::Architecture": host,
    }
    lines = [f'{name} "{value}";' for name, value in settings.items()]
    lines.append(f'APT::Architectures {{ "{host}"; "arm64"; }};')
    (state / "apt.conf").write_text("\n".join(lines) + "\n")
    environment = os.environ | {"APT_CONFIG": str(state / "apt.conf")}
    options = ["--quiet=2", "--yes", "--download-only", "--no-install-recommends"]
    subprocess.run(["apt-get", "--quiet=2", "update"], check=True, env=environment)
    subprocess.run(
        ["apt-get", *options, "install", "qemu-user", *PACKAGES], check=True, env=environment, stdout=subprocess.DEVNULL
    )
    for archive in (state / "cache" / "archives").glob("*.deb"):
        own = "qemu" if archive.name.startswith("qemu-user_") else "system"
        subprocess.run(["dpkg-deb", "--extract", archive, folder / own], check=True)
    (folder / "system" / "lib").symlink_to("usr/lib")
    shutil.rmtree(state)


def fetch_wheels(folder: Path) -> None:
    """Unpacks what captions need, in the versions that requirements.txt pins."""
    lines = (PROJECT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if line and line[0] != "#" and Requirement(line).name.lower() in WHEELS]
    platforms = [f"--platform=manylinux_2_{number}_aarch64" for number in GLIBC]
    target = [f"--target={folder / 'site'}", f"--python-version={PYTHON}", "--implementation=cp"]
    abis = [f"--abi=cp{PYTHON.replace('.', '')}", "--abi=abi3", "--abi=none"]
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--only-binary=:all:"]
    subprocess.run([*command, *platforms, "--platform=manylinux2014_aarch64", *target, *abis, *pins], check=True)


def caption(program: list[str], checkpoint: str, pictures: list[Path], cache: Path, **more: str) -> list[str]:
    """The captions of pictures, a line each."""
    command = [*program, "-m", "stages.caption", "--checkpoint", f"models/{checkpoint}", *map(str, pictures)]
    environment = os.environ | {"XDG_CACHE_HOME": str(cache), "PYTHONDONTWRITEBYTECODE": "1", **more}
    process = subprocess.run(command, cwd=PROJECT, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    return process.stdout.splitlines()


def emulator(folder: Path, cpu: str) -> list[str]:
    """What to put before the arguments of Python."""
    program = folder / "qemu" / "usr" / "bin" / "qemu-aarch64"
    system = folder / "system"
    return [str(program), "-L", str(system), "-cpu", cpu, str(system / "usr" / "bin" / f"python{PYTHON}")]


def main() -> None:
    mirror = debian_mirror()
    if not (APART / "ready").exists():
        if mirror is None:
            print("skipped: QEMU 10 can't be had, as this machine gets no packages from Debian")
            return
        shutil.rmtree(APART, ignore_errors=True)
        APART.mkdir(parents=True)
        try:
            fetch_emulator(mirror, APART)
            fetch_wheels(APART)
        except subprocess.CalledProcessError as error:
            print(f"skipped: {error.cmd[0]} can't fetch QEMU 10, Python and its wheels for ARM, as it says above")
            return
        (APART / "ready").touch()
    pictures = sorted((PROJECT / "data" / "eval" / "images").iterdir())[:PICTURES]
    differing = 0
    with tempfile.TemporaryDirectory(dir=APART) as cache:
        for checkpoint in CHECKPOINTS:
            expected = caption([sys.executable], checkpoint, pictures, Path(cache) / "own")
            for cpu in CPUS:
                start = time.perf_counter()
                site = str(APART / "site")
                found = caption(emulator(APART, cpu), checkpoint, pictures, Path(cache) / cpu, PYTHONPATH=site)
                same = sum(map(str.__eq__, found, expected))
                differing += len(expected) - same
                seconds = time.perf_counter() - start
                print(f"{checkpoint} on {cpu}: {same} of {len(expected)} captions are the same; {seconds:.0f} s")
    sys.exit(f"{differing} captions differ" if differing else 0)


if __name__ == "__main__":
    main()
