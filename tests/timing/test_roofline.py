import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.timing.roofline import Part, Peaks, Product, compare_with_limits, shortest_seconds

PEAKS = Peaks({"int8": 400, "bfloat16": 200, "float32": 100}, {"4": 60, "64": 30, "256": 20})
PARTS: dict[Part, list[Product]] = {
    "encode": [Product(10**9, "int8", 10**6), Product(10**8, "float32", 0)],  # 5 and 2 ms to compute
    "prefill": [Product(10**6, "float32", 30 * 10**6)],  # half a ms to read
    "token": [Product(10**6, "float32", 10**6)],  # 20 µs to compute, 17 to read
}
TIMES = {"encode_ms": 14.0, "prefill_ms": 1.0, "token_ms": 0.05}


def test_a_part_waits_for_the_slower_of_computing_and_reading() -> None:
    assert shortest_seconds(PARTS["encode"], PEAKS) == pytest.approx(7e-3)
    assert shortest_seconds(PARTS["prefill"], PEAKS) == pytest.approx(0.5e-3)
    assert shortest_seconds(PARTS["token"], PEAKS) == pytest.approx(20e-6)


def test_each_part_and_the_whole_caption_stand_beside_their_limits() -> None:
    assert compare_with_limits(TIMES, PARTS, PEAKS, new_tokens=11) == {
        **{"encode_macs": 11 * 10**8, "encode_mb": 1.0, "encode_limit_ms": 7.0, "encode_share": 0.5},
        **{"prefill_macs": 10**6, "prefill_mb": 30.0, "prefill_limit_ms": 0.5, "prefill_share": 0.5},
        **{"token_macs": 10**6, "token_mb": 1.0, "token_limit_ms": 0.02, "token_share": 0.4},
        **{"roofline_ms": 7.7, "roofline_share": round(7.7 / 15.5, 4)},
    }


def test_what_noise_hides_or_passes_has_no_share() -> None:
    compared = compare_with_limits({"encode_ms": 6.9, "prefill_ms": 1.0}, PARTS, PEAKS, new_tokens=11)
    assert {name for name in compared if name.endswith("share")} == {"prefill_share"}
    assert compared["token_limit_ms"] == 0.02
    assert compared["roofline_ms"] == 7.7


def test_a_precision_without_a_peak_has_no_limit() -> None:
    compared = compare_with_limits(TIMES, PARTS, PEAKS._replace(gops={"float32": 100}), new_tokens=11)
    assert not {"encode_limit_ms", "encode_share", "roofline_ms", "roofline_share"} & compared.keys()
    assert compared["encode_macs"] == 11 * 10**8
    assert compared["prefill_share"] == 0.5


@given(st.floats(0, 100), st.floats(0, 100))
def test_no_share_is_above_one(encode: float, token: float) -> None:
    figures = {"encode_ms": encode, "prefill_ms": 1.0, "token_ms": token}
    compared = compare_with_limits(figures, PARTS, PEAKS, new_tokens=11)
    assert all(0 < value <= 1 for name, value in compared.items() if name.endswith("share"))


def test_what_fits_into_a_cache_is_read_as_fast_as_a_cache_is() -> None:
    sizes = {1e3: 60e9, 5 << 20: 60e9, 100e6: 30e9, 256 << 20: 20e9, 1e9: 20e9}
    assert {size: PEAKS.bandwidth(size) for size in sizes} == sizes


def test_a_size_that_was_read_in_a_slow_moment_is_read_as_fast_as_larger_ones() -> None:
    assert Peaks({}, {"4": 10, "64": 30, "256": 20}).bandwidth(1e6) == 30e9
