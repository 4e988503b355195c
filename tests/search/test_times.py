import math

import pytest

from stages.records.estimate import Estimate
from stages.search.times import Timing, over_the_baseline


def test_a_speedup_over_the_baseline_has_both_intervals() -> None:
    own = over_the_baseline(Estimate(1.2, 1.2 / 1.03, 1.2 * 1.03), Estimate(2.5, 2.5 / 1.04, 2.5 * 1.04))
    reach = math.hypot(math.log(1.03), math.log(1.04))
    assert own == pytest.approx((3.0, 3 / math.exp(reach), 3 * math.exp(reach)))
    alone = over_the_baseline(Estimate(1.0, 1.0, 1.0), Estimate(2.5, 2.4, 2.6))
    assert alone.value == 2.5 and alone.high / alone.low == pytest.approx(2.6 / 2.4)


def test_a_lead_is_over_the_first_of_the_others() -> None:
    timing = Timing([[1.2, 1.25, 1.3], [0.9, 0.9, 0.9]], 10.0, None)
    lead = timing.lead()
    assert lead.low < lead.value < lead.high and lead.value == pytest.approx(1.25, abs=0.01)
    assert timing.speedup().value == pytest.approx(lead.value)
