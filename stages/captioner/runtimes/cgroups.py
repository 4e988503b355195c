"""The control groups that limit a process, of both versions, as the system's files tell of them."""

from collections.abc import Iterator
from pathlib import Path

OWN_CGROUPS, CGROUPS = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")


def folders_of(controller: str, own: Path, mounted: Path) -> Iterator[Path]:
    """Where the limits of a controller may lie: the folders, below `mounted`, of a process's cgroup and those around
    it. `own` is the file that names the former.

    In a container, the process's own path may be that of the host, while its cgroup is mounted as if it were the top.
    """
    for line in read(own).splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if not controllers or controller in controllers.split(","):
            below = Path(path.lstrip("/"))
            yield from (mounted / controllers / folder for folder in (below, *below.parents))


def read(file: Path) -> str:
    """What one of the system's files says, without blanks around it; nothing where it can't be read."""
    try:
        return file.read_text(encoding="utf-8", errors="surrogateescape").strip()
    except (OSError, ValueError):  # of which the latter is for a path that can't be one
        return ""
