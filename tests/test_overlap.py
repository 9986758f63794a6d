"""Overlapping kernels are counted by pairs on different streams, and by the time in which several streams are at work."""

import pytest

from benchmarks.overlap import Kernel, kernels_of, overlap


def test_pairs_and_shares_of_a_hand_drawn_timeline() -> None:
    kernels = [
        Kernel("a", 7, 0.0, 10.0),
        Kernel("b", 13, 4.0, 8.0),  # beside a
        Kernel("c", 13, 8.0, 12.0),  # beside a for two
        Kernel("d", 7, 10.0, 20.0),  # beside c for two
        Kernel("e", 13, 30.0, 31.0),
    ]
    seen = overlap(kernels)
    assert (seen.kernels, seen.streams, seen.pairs) == (5, 2, 3)
    assert seen.busy == pytest.approx(21.0)
    assert seen.together == pytest.approx(8.0)
    assert seen.share == pytest.approx(8 / 21)
    assert seen.examples == (("a", "b"), ("a", "c"), ("c", "d"))


def test_one_stream_never_overlaps_and_nothing_is_no_error() -> None:
    assert overlap([Kernel("a", 7, 0.0, 2.0), Kernel("b", 7, 1.0, 3.0)]).pairs == 0
    assert overlap([]).share == 0.0


def test_a_touch_of_the_clocks_resolution_is_no_overlap() -> None:
    assert overlap([Kernel("a", 7, 0.0, 2.0), Kernel("b", 13, 1.8, 3.0)]).pairs == 0


def test_device_work_is_read_from_a_chrome_trace() -> None:
    trace = {
        "traceEvents": [
            {"cat": "kernel", "name": "gemm", "ts": 5, "dur": 2.5, "args": {"stream": 7}},
            {"cat": "cpu_op", "name": "aten::mm", "ts": 1, "dur": 3, "args": {}},
            {"cat": "kernel", "name": "no duration", "ts": 5, "args": {"stream": 7}},
        ]
    }
    assert kernels_of(trace) == [Kernel("gemm", 7, 5.0, 7.5)]
