"""What the stages `contenders` and `final` hand on: who was in the final, and what it found."""

from pydantic import BaseModel, ConfigDict

from stages.records.metrics import REPORTS

CONTENDERS, FINAL = REPORTS / "contenders.json", REPORTS / "final.json"


class Lead(BaseModel):
    """How many times as fast the fastest of the final is as another contender, with its 95 % interval."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    times_as_fast: float
    times_as_fast_ci_low: float
    times_as_fast_ci_high: float

    def settled(self) -> bool:
        """Whether noise does not explain it."""
        return self.times_as_fast_ci_low > 1


class Final(BaseModel):
    """What the stage `final` found: who is the fastest of the contenders, and its lead over each other, the closest
    first. `fastest` is None where there was nothing to settle."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    fastest: str | None = None
    leads: dict[str, Lead] = {}
    sessions: int = 0
    ended: str = ""

    def contenders(self) -> list[str]:
        """All who were in it, the fastest first."""
        return [self.fastest, *self.leads] if self.fastest else []
