"""A figure with its confidence interval."""

from typing import NamedTuple


class Estimate(NamedTuple):
    """A figure and the bounds of its 95 % confidence interval, in the figure's own unit."""

    value: float
    low: float
    high: float

    def width(self) -> float:
        """The interval's half-width as a share of the figure: 0.1 is 10 percent up."""
        return self.high / self.value - 1

    def entries(self, name: str, digits: int) -> dict[str, float]:
        """The three numbers as metrics: `name`, `name_ci_low`, `name_ci_high`, rounded."""
        rounded = [round(float(number), digits) for number in self]
        return dict(zip((name, f"{name}_ci_low", f"{name}_ci_high"), rounded, strict=True))
