"""Where a command's captions go beside the screen: to sidecars and into a file."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from ..command_line import InputError
from .sidecars import Sidecar, check_paths
from .tables import Row, Table


class Outputs(NamedTuple):
    """Kinds of sidecars and a file, if there is one; `keep` says that captions which are there already stay."""

    kinds: Collection[Sidecar]
    table: Table | None
    keep: bool

    def lack(self, picture: Path) -> bool:
        """Whether a picture's caption is still to be put somewhere. Raises InputError if its sidecar can't be read."""
        if not self.keep:
            return True
        return not all(kind.has_caption(picture) for kind in self.kinds) or not (
            self.table is None or self.table.has(picture)
        )

    def put(self, picture: Path, row: Row) -> None:
        """Puts a picture's caption where it belongs. Raises InputError if something there doesn't allow it."""
        for kind in self.kinds:
            if not (self.keep and kind.has_caption(picture)):
                kind.write(picture, row.caption)
        if self.table and not (self.keep and self.table.has(picture)):
            self.table.add(row)


@contextmanager
def open_outputs(
    kinds: Collection[Sidecar], table: Path | None, pictures: Collection[Path], *, keep: bool
) -> Iterator[Outputs]:
    """What these pictures' captions go to, and are in, whole, once the block ends, however it does.

    Raises InputError if two captions would go to one place, if the file can't be had, or if captions are to be kept and
    go nowhere.
    """
    if keep and not kinds and table is None:
        raise InputError("--skip-existing asks what was written before: say what by --write or --output")
    check_paths(kinds, pictures)
    if table is None:
        yield Outputs(kinds, None, keep)
        return
    with Table(table, keep=keep) as opened:
        yield Outputs(kinds, opened, keep)
