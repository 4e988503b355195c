import pytest

from stages.captioner.runtimes.openvino_core import start_core
from stages.timing.peaks import ENGINES, SECONDS, measure_peaks
from stages.timing.roofline import READ_MB, Peaks


@pytest.fixture(scope="module")
def peaks() -> Peaks:
    return measure_peaks(threads=1)


def test_only_what_some_engine_has_a_kernel_for_has_a_peak(peaks: Peaks) -> None:
    half = {"bfloat16"} if "BF16" in start_core().get_property("CPU", "OPTIMIZATION_CAPABILITIES") else set()
    assert peaks.gops.keys() == {"float32", "int8"} | half


def test_every_peak_is_a_rate(peaks: Peaks) -> None:
    assert min(*peaks.gops.values(), *peaks.read_gb_per_s.values()) > 0


def test_all_of_it_takes_less_than_two_seconds_where_a_product_takes_no_longer_than_its_share() -> None:
    products = sum(1 for engine in ENGINES for _ in engine(1))
    assert (products + len(READ_MB)) * SECONDS < 2 - 0.5  # the rest is for preparing them
