"""Where the pictures of a captions file lie: where it says or, if it was written on another machine, where it means."""

import os
import posixpath
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path, PurePosixPath, PureWindowsPath
from urllib.parse import unquote

from stages.captioner.command_line import InputError, printable
from stages.captioner.images import pictures_below

# The folders and the file of a path, in letters that are alike in any case and normal form.
Parts = tuple[str, ...]


def locator(names: Iterable[str], folder: Path, *others: Path) -> Callable[[str], Path | None]:
    """What finds each of the names in a captions file; it gives None for one that is nowhere.

    First comes the file that is called so: below the folder, beside it if the name begins with the folder's, at its
    absolute path, or below the other folders. Then what the name may mean of the pictures below the folder: with
    backslashes for slashes, in a subfolder, in letters of another case or normal form, with %20 for a blank, without
    its suffix, and of an absolute path of another machine the end. Raises InputError for a name that may mean several.
    """
    pictures = cache(lambda: _pictures_by_name(folder))
    absolute = cache(lambda: _absolute_by_name(names))

    def locate(name: str) -> Path | None:
        if found := next(filter(None, (_as_named(name, place) for place in (folder, *others))), None):
            return found
        for spelling in dict.fromkeys((name, unquote(name))):
            parts = _parts(spelling)
            same_name = pictures().get(parts[-1], []) if parts else []
            if not same_name:
                continue
            if _is_absolute(spelling):
                meant = _end_of_path(parts, same_name, absolute()[parts[-1]] - {parts})
            else:
                meant = _below(parts, same_name, folder)
            if meant:
                return _only_one(name, meant)
        return None

    return locate


def leads_out(name: str, folder: Path) -> bool:
    """Whether a name leaves the folder with `..`, also in backslashes; links and absolute names may lead anywhere."""
    spelling = name if os.path.isfile(folder / name) else name.replace("\\", "/")
    return ".." in Path(spelling).parts and path_below(folder / spelling, folder) is None


def path_below(path: Path, folder: Path) -> PurePosixPath | None:
    """A path as seen from a folder, without following links; None if it leads elsewhere."""
    absolute, above = Path(os.path.abspath(path)), os.path.abspath(folder)
    return PurePosixPath(absolute.relative_to(above).as_posix()) if absolute.is_relative_to(above) else None


def _as_named(name: str, folder: Path) -> Path | None:
    spellings = [name] if name.startswith("\\") else [name, name.replace("\\", "/")]
    for spelling in dict.fromkeys(spellings):
        places = [folder / spelling]
        if Path(spelling).parts[:1] == (folder.name,) and ".." not in Path(spelling).parts:
            places.append(folder.parent / spelling)  # val2014/x.jpg, where the folder is val2014 and not the one above
        if found := next((place for place in places if os.path.isfile(place)), None):
            return found
    return None


def _pictures_by_name(folder: Path) -> dict[str, list[tuple[Parts, Path]]]:
    """The pictures below a folder, and how they are called there, by their files' names with suffix and without."""
    by_name = defaultdict(list)
    for path in pictures_below(folder):
        *folders, name = _folded(path.relative_to(folder).parts)
        for called in (name, posixpath.splitext(name)[0]):
            by_name[called].append(((*folders, called), path))
    return by_name


def _absolute_by_name(names: Iterable[str]) -> defaultdict[str, set[Parts]]:
    """The absolute names, by their files' names."""
    by_name = defaultdict(set)
    for parts in (_parts(name) for name in names if _is_absolute(name)):
        by_name[parts[-1] if parts else ""].add(parts)
    return by_name


def _below(parts: Parts, same_name: list[tuple[Parts, Path]], folder: Path) -> list[Path]:
    """The pictures that a relative name may mean: the one at this place, else those whose paths end like it."""
    own = parts[1:] if len(parts) > 1 and parts[:1] == _folded([folder.name]) else parts
    here = [path for found, path in same_name if found == own]
    return here or [path for found, path in same_name if found[-len(own) :] == own]


def _end_of_path(parts: Parts, same_name: list[tuple[Parts, Path]], rivals: set[Parts]) -> list[Path]:
    """The pictures that an absolute name of another machine may mean: those whose whole path below the folder is the
    longest end of it, unless it is the end of another such name, too."""
    ends = [(found, path) for found, path in same_name if parts[-len(found) :] == found]
    longest = max((len(found) for found, _ in ends), default=0)
    if any(other[-longest:] == parts[-longest:] for other in rivals):
        return []
    return [path for found, path in ends if len(found) == longest]


def _only_one(name: str, meant: list[Path]) -> Path:
    if len(meant) > 1:
        raise InputError(
            f"{printable(name)} in the captions file may be {printable(meant[0])} or {printable(meant[1])}: "
            "name there the file as it is called, and its folder"
        )
    return meant[0]


def _is_absolute(name: str) -> bool:
    return bool(PureWindowsPath(name).anchor) or name.startswith("file:")


def _parts(name: str) -> Parts:
    """The parts of a name in slashes or backslashes, from its drive on; none if it leads out with `..`."""
    path = PureWindowsPath(name.removeprefix("file://"))
    normal = posixpath.normpath(path.relative_to(path.anchor).as_posix())
    return () if normal.startswith("..") else _folded(normal.split("/"))


def _folded(parts: Iterable[str]) -> Parts:
    return tuple(unicodedata.normalize("NFC", unicodedata.normalize("NFC", part).casefold()) for part in parts)
