"""Commands to put before others so that they see little or nothing of /proc and /sys, as in services and sandboxes."""

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

# systemd's ProcSubset=pid leaves the folders of processes; gVisor's files are there and lack lines.
SCRIPTS = {
    "no /proc": "mount -t tmpfs none /proc",
    "ProcSubset=pid": "umount -l /proc; mount -t proc -o subset=pid none /proc",
    "an empty cpuinfo": "mount --bind /dev/null /proc/cpuinfo",
    "an empty cpuinfo and no /sys": "mount --bind /dev/null /proc/cpuinfo; mount -t tmpfs none /sys",
    "cpuinfo without flags": "lines=$(grep -vE '^(flags|Features)' /proc/cpuinfo); mount -t tmpfs none /mnt; "
    'echo "$lines" > /mnt/cpuinfo; mount --bind /mnt/cpuinfo /proc/cpuinfo',
    "no /proc and no /sys": "mount -t tmpfs none /proc; mount -t tmpfs none /sys",
}
HIDING = {
    name: ("unshare", "--mount", "--pid", "--fork", "sh", "-ec", f'{script}; exec "$@"', "sh")
    for name, script in SCRIPTS.items()
}

# A kernel of its own: cores without a topology, and a /proc/self/status that lacks the peak of memory.
GVISOR = ("runsc", "--network=none", "--platform=ptrace", "do")


def run_hidden(
    before: Sequence[str], command: Sequence[object], cwd: Path, input: str | None = None
) -> "subprocess.CompletedProcess[str]":
    """Runs a command behind one of these."""
    whole = [*before, *map(str, command)]
    return subprocess.run(whole, cwd=cwd, input=input, capture_output=True, encoding="utf-8", timeout=120)


def _possible() -> bool:
    if sys.platform != "linux" or not shutil.which("unshare"):
        return False
    return all(subprocess.run([*before, "true"], capture_output=True).returncode == 0 for before in HIDING.values())


def _has_gvisor() -> bool:
    if sys.platform != "linux" or not shutil.which("runsc"):
        return False
    return subprocess.run([*GVISOR, "true"], capture_output=True, timeout=120).returncode == 0


needs_gvisor = pytest.mark.skipif(not _has_gvisor(), reason="needs gVisor's runsc, and root")
needs_namespaces = pytest.mark.skipif(not _possible(), reason="this user can't hide /proc: that needs root")
