"""What sweeps and waterfalls have in common: figures that stay in `reports/` whatever runs next, so that each file says
whose they are, and a page tells those of its own run from others."""

from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Any, Generic, NamedTuple, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from stages.captioner.command_line import InputError, brief, explain
from stages.records.provenance import Provenance, differences, digest
from stages.setup.params import Name, Params

LARGEST = 10_000_000  # bytes: ten thousand rows
# Larger than any figure can be, and small enough to be drawn.
BOUND = 10**19
Figure = Annotated[float, Field(gt=-BOUND, lt=BOUND, allow_inf_nan=False)]
Text = Annotated[str, Field(max_length=1000)]


class Strict(BaseModel):
    """Nothing is converted, and nothing that isn't named is let through."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Row(Strict):
    """A checkpoint's figures, under the names that benchmark and evaluation give them."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Figure] = Field(init=False)

    checkpoint: Name


class Kept(Strict):
    """A file of figures of one model on one machine."""

    provenance: Provenance | None = None

    def whose(self) -> str:
        """The model and the machine; nothing if the file doesn't say."""
        return f"{self.provenance.model} on {self.provenance.machine}" if self.provenance else ""

    def strange(self, settings: object, run: Provenance) -> str:
        """A sentence that says whose they are if they are not of a page's own run; else nothing.

        `settings` are what the run's params.yaml says of such figures.
        """
        if self.provenance is None:
            return "It doesn't say whose it is, so it is not shown: make it again, or delete it."
        differing = differences(self.provenance, run.model_copy(update={"settings": digest(settings)}))
        return f"It is of {self.whose()}, with {' and '.join(differing)} than this run." if differing else ""


Own = TypeVar("Own", bound=Kept)


class Folder(NamedTuple, Generic[Own]):
    """What lies in a folder of `reports/`, by its files' names, and of what is not of a page's own run, whose it is."""

    path: Path
    files: dict[str, Own]
    strange: dict[str, str]


def read_kept(folder: Path, kind: type[Own], what: str) -> dict[str, Own]:
    """All files of a kind by their names, sorted; `what` is what people call that. Raises InputError at a file that is
    none."""
    return {path.name: _read(path, kind, what) for path in sorted(folder.glob("*.json"))}


def _read(path: Path, kind: type[Own], what: str) -> Own:
    try:
        if not path.is_file() or path.stat().st_size > LARGEST:
            raise ValueError(f"it is no file of at most {LARGEST / 1e6:.0f} MB")
        return kind.model_validate_json(path.read_bytes())
    except (OSError, ValueError) as error:
        reason = explain(error) if isinstance(error, ValidationError) else brief(error)
        raise InputError(f"{path} is not a {what}'s figures ({reason}): delete it or run the {what} again") from None


def settings_of(checkpoints: Collection[str], params: Params, pictures: dict[str, Any]) -> dict[str, Any]:
    """All that params.yaml says of the figures of these checkpoints, and what the stage `host` records of the pictures'
    own files, which calibrate too."""
    settings = params.model_dump(mode="json", include={"decoding", "evaluation", "benchmark"})
    settings["variants"] = {
        name: recipe.model_dump(mode="json") for name, recipe in params.variants.items() if name in checkpoints
    }
    settings["model"] = params.chosen_model().model_dump(mode="json", exclude={"source"})
    settings["files"] = pictures
    return settings
