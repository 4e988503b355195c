"""What else one could run: times of the captioners that people consider instead of BLIP-base, in `reports/rivals/`, and
the tables of them in `reports/README.md`.

`make rivals` times them on this machine and adds it; without an argument, only the tables are made anew.
"""

from pathlib import Path
from typing import Annotated, Any, ClassVar, NamedTuple

import typer
from pydantic import Field

from stages.alternatives.rival_times import INT8, OWN, TIMES
from stages.captioner.checkpoint import BASELINE
from stages.captioner.command_line import run
from stages.page import markdown
from stages.page.machine_files import OfMachine, Timing, WithIntervals, libraries_of, machine_of, update
from stages.page.waterfalls import End, Positive
from stages.records.metrics import REPORTS
from stages.setup.params import Name

RIVALS = REPORTS / "rivals"
HEADINGS = [
    "",
    "numbers",
    "picture",
    "a caption, s",
    "times as fast as BLIP-base in 32 bits",
    "memory, MB",
    "CIDEr on COCO, as published",
]


class Published(NamedTuple):
    """The CIDEr on COCO's Karpathy test split that its authors give, times 100 as they do, and where they do."""

    cider: float
    source: str


class Row(NamedTuple):
    """A captioner in words: `picture` is what it is made into."""

    title: str
    picture: str
    published: Published | None = None


BLIP = "BLIP, arXiv 2201.12086 (ICML 2022), table 7"
# By the names that `rival_times` gives them, in the table's order; of a rival's int8, the name ends in INT8.
CAPTIONERS = {
    "baseline": Row(
        "BLIP-base, transformers",
        "384 px",
        Published(133.3, f"{BLIP}: ViT-B, CapFilt-L, fine-tuned on COCO, three beams"),
    ),
    "quantized": Row("BLIP-base, `quantized`", "384 px"),
    "openvino_int8": Row("BLIP-base, `openvino_int8`", "384 px"),
    "fastest": Row("BLIP-base, `fastest`", "384 px"),
    "blip_large": Row("BLIP-large", "384 px", Published(136.7, f"{BLIP}: ViT-L, fine-tuned on COCO, three beams")),
    "git_base": Row(
        "GIT-base",
        "224 px",
        Published(
            131.4,
            "GIT, arXiv 2205.14100 (TMLR 2022): GIT-B, fine-tuned on COCO; the page of its authors' code says 131.35",
        ),
    ),
    "vit_gpt2": Row("ViT-GPT2", "224 px"),
    "florence_2_base": Row(
        "Florence-2-base",
        "768 px",
        Published(
            140.0,
            "the model card of Florence-2-base-ft (arXiv 2311.06242), fine-tuned on many tasks, COCO among them; of "
            "Florence-2-base, which has not seen COCO's captions, 133.0",
        ),
    ),
    "smolvlm_256m": Row("SmolVLM-256M, as its processor does it", "17 tiles of 512 px"),
    "smolvlm_256m_whole": Row("SmolVLM-256M, pictures not split", "512 px"),
}


class Times(WithIntervals):
    """One captioner's times and memory; what is not known is absent."""

    seconds: Positive
    seconds_ci_low: End
    seconds_ci_high: End
    speedup: Positive
    speedup_ci_low: End
    speedup_ci_high: End
    peak_memory_mb: Positive | None = None


class Rivals(OfMachine):
    """A file of `reports/rivals/`: where and by which code the captioners were timed."""

    needed_libraries: ClassVar = ("torch", "transformers", "openvino")  # what all that is timed here runs in
    threads: int = Field(ge=1, description="of each timed process")
    captioners: dict[Name, Times] = Field(min_length=1)


def tables(files: dict[str, Rivals]) -> str:
    """All machines' tables in Markdown, and below them where the published figures are from."""
    numbers = {key: number for number, key in enumerate(_published(), start=1)}
    notes = [f"({number}) {_published()[key].source}.\n" for key, number in numbers.items()]
    parts = [f"{_whose(own, name)}\n\n{_table(own, numbers)}" for name, own in files.items()]
    return "\n" + "\n".join([*parts, *notes]) if parts else ""


def _published() -> dict[str, Published]:
    return {key: row.published for key, row in CAPTIONERS.items() if row.published}


def _whose(own: Rivals, name: str) -> str:
    machine, libraries = machine_of(own), libraries_of(own)
    return f"[{machine}]({RIVALS.name}/{name}), {own.threads} threads, {libraries}, {own.commit[:7]}, {own.date}:"


def _table(own: Rivals, numbers: dict[str, int]) -> str:
    rows = []
    for key, row in CAPTIONERS.items():
        for name, bits in ((key, "8 bits" if key in OWN else "32 bits"), (f"{key}{INT8}", "8 bits")):
            if times := own.captioners.get(name):
                published = f"{row.published.cider} ({numbers[key]})" if row.published and name == key else "–"
                rows.append([row.title, bits, row.picture, *_figures(name, times.model_dump()), published])
    return markdown.table(HEADINGS, rows)


def _figures(name: str, times: dict[str, Any]) -> list[str]:
    speedup = "1" if name == BASELINE.name else markdown.estimate(times, "speedup")
    return [markdown.estimate(times, "seconds", 2), speedup, markdown.estimate(times, "peak_memory_mb")]


COMPARISON = Timing(Rivals, "comparison", "make rivals", TIMES, RIVALS, "rivals", tables)


def main(
    checkout: Annotated[
        Path | None, typer.Argument(help="where they were timed on this machine; none: only the tables")
    ] = None,
) -> None:
    """Writes this machine's file into reports/rivals/ if they were timed, and the tables."""
    update(COMPARISON, checkout)


if __name__ == "__main__":
    run(main)
