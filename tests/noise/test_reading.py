"""The one read: every way of it keeps what a plain loop keeps, and names the first bad row."""

import sys
import threading
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kiyome.checks import check_arrays
from kiyome.errors import InputError
from kiyome.noise import top_classes
from kiyome.noise.top_classes import TopClasses, join_top_classes, kernels_for, read_top_classes

examples = settings(derandomize=True, deadline=None, max_examples=80)

WAYS = {"plain": sys.maxsize, "compiled": 0}


@pytest.fixture(params=WAYS)
def way(request, monkeypatch):
    monkeypatch.setattr(top_classes, "WORTH_COMPILED", WAYS[request.param])
    return request.param


def loop_kept(labels, probs, num_top):
    """The definition: the given class, then the others, falling, of equals the lower number first."""
    K = probs.shape[1]
    others = [
        sorted(set(range(K)) - {y}, key=lambda k, p=p: -p[k]) for y, p in zip(labels, probs, strict=True)
    ]
    classes = np.array([[y, *rest][:num_top] for y, rest in zip(labels, others, strict=True)])
    return classes, np.take_along_axis(probs, classes, axis=1)


def as_layout(probs, layout):
    if layout == "strided":
        return np.repeat(np.repeat(probs, 2, axis=0), 3, axis=1)[::2, ::3]
    if layout == "read-only":
        probs = probs.copy()
        probs.flags.writeable = False
        return probs
    return np.array(probs, order=layout)


@st.composite
def cases(draw):
    """Rows of whole weights (ties, zeros of both signs, one-hot) or smooth ones, 2 to 60 classes."""
    K, N = draw(st.sampled_from([2, 3, 7, 24, 25, 60])), draw(st.integers(1, 70))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    weights = rng.integers(0, 4, (N, K)) if draw(st.booleans()) else rng.gamma(0.3, size=(N, K))
    weights = weights.astype(np.float64)
    weights[weights.sum(axis=1) == 0, 0] = 1
    probs = (weights / weights.sum(axis=1, keepdims=True)).astype(
        draw(st.sampled_from([np.float16, np.float32, np.float64]))
    )
    if draw(st.booleans()):
        probs[probs == 0] *= -1
    layout = draw(st.sampled_from(["C", "F", "strided", "read-only"]))
    return rng.integers(0, K, N), as_layout(probs, layout)


@examples
@given(
    cases(),
    st.sampled_from(list(WAYS.values())),
    st.sampled_from([2, 3]),
    st.sampled_from([1, 50, 2**20]),
    st.integers(1, 5),
)
def test_every_way_keeps_what_the_loop_keeps(case, worth_compiled, num_top, entries, threads):
    labels, probs = case
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(top_classes, "WORTH_COMPILED", worth_compiled)
        patch.setattr(top_classes, "LARGE_BLOCK", entries)
        patch.setattr(top_classes, "BLOCK_ENTRIES", entries)
        patch.setattr(top_classes, "WORTH_THREADS", 0)
        patch.setattr(top_classes, "num_cores", lambda: threads)
        rows = read_top_classes(labels, probs, num_top=num_top)
    classes, values = loop_kept(labels, probs, num_top)
    np.testing.assert_array_equal(rows.classes, classes)
    np.testing.assert_array_equal(rows.probs, values)
    assert rows.probs.dtype == probs.dtype
    np.testing.assert_array_equal(rows.label_counts, np.bincount(labels, minlength=probs.shape[1]))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("K", [3, 40])
@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.nan, "has nan in row 777, column 1"),
        (-np.nan, "nan in row 777, column 1"),
        (np.inf, "has inf in row 777, column 1"),
        (-np.inf, "has -inf in row 777, column 1"),
        (-0.25, "has -0.25 in row 777, column 1. Expected probabilities of 0 or more"),
        (2.0, "Row 777 of pred_probs sums to 3. Expected rows that sum to one"),
        (0.25, "Row 777 of pred_probs sums to 1.25. Expected rows that sum to one"),
    ],
)
def test_a_bad_row_is_named_wherever_it_stands(way, monkeypatch, dtype, K, value, message):
    probs = np.zeros((1000, K), dtype=dtype)
    probs[:, 0] = 1
    probs[777, 1] = value
    probs[[800, 999], 0] = 0.5  # later rows are bad as well, in the block of another thread too
    monkeypatch.setattr(top_classes, "WORTH_THREADS", 0)
    monkeypatch.setattr(top_classes, "num_cores", lambda: 3)
    for entries in (10 * K, 2**20):
        monkeypatch.setattr(top_classes, "LARGE_BLOCK", entries)
        monkeypatch.setattr(top_classes, "BLOCK_ENTRIES", entries)
        with pytest.raises(InputError) as error:
            read_top_classes(np.zeros(1000, dtype=np.intp), probs)
        assert message in str(error.value)
    with pytest.raises(InputError, match=r"(in row|Row) 5777"):
        read_top_classes(np.zeros(1000, dtype=np.intp), probs, 5000)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("K", [2, 40])
def test_sums_near_the_tolerance_are_judged_alike(way, dtype, K):
    """Between nine tenths of the tolerance and all of it, a kernel asks the plain pass."""
    tolerance = top_classes.SUM_TOLERANCE[np.dtype(dtype)]
    for factor in (0.5, 0.89, 0.91, 0.99):
        for sign in (-1, 1):
            probs = np.zeros((40, K), dtype=dtype)
            probs[:, 0] = probs[:, 1] = 0.5
            probs[7, 0] += dtype(sign * factor * tolerance)
            off = abs(float(probs[7].astype(np.float64).sum()) - 1)
            if off <= tolerance:
                assert read_top_classes(np.zeros(40, dtype=np.intp), probs).given_probs[7] == probs[7, 0]
            else:
                with pytest.raises(InputError, match="Row 7 of pred_probs sums to"):
                    read_top_classes(np.zeros(40, dtype=np.intp), probs)


@examples
@given(cases(), st.lists(st.integers(1, 69), max_size=4))
def test_chunks_join_to_the_read_of_all(case, cuts):
    labels, probs = case
    edges = sorted({0, *(cut for cut in cuts if cut < len(labels)), len(labels)})
    parts = [read_top_classes(labels[a:b], probs[a:b], a) for a, b in pairwise(edges)]
    joined, whole = join_top_classes(parts), read_top_classes(labels, probs)
    np.testing.assert_array_equal(joined.classes, whole.classes)
    np.testing.assert_array_equal(joined.probs, whole.probs)


def test_small_arrays_need_no_compiler():
    assert kernels_for(10_000) is None
    assert kernels_for(1_000_000).__name__ == "kiyome.noise.kernels"


def test_without_numba_the_plain_pass_reads(monkeypatch):
    monkeypatch.setitem(sys.modules, "kiyome.noise.kernels", None)
    monkeypatch.delattr("kiyome.noise.kernels", raising=False)
    assert kernels_for(1_000_000) is None


@pytest.mark.parametrize("mode", ["r", "r+", "c"])
def test_mapped_files_are_read_and_left_as_they_are(tmp_path, mode, way, monkeypatch):
    """Private changes to a map (mode c) exist in memory only: letting go of its pages would undo them."""
    rng = np.random.default_rng(0)
    probs, labels = rng.dirichlet(np.ones(7), 3000).astype(np.float32), rng.integers(0, 7, 3000)
    np.save(tmp_path / "probs.npy", np.roll(probs, 1, axis=1) if mode == "c" else probs)
    mapped = np.load(tmp_path / "probs.npy", mmap_mode=mode)
    if mode == "c":
        mapped[:] = probs
    monkeypatch.setattr(top_classes, "LARGE_BLOCK", 5000)
    rows = read_top_classes(labels, mapped)
    np.testing.assert_array_equal(rows.given_probs, probs[np.arange(3000), labels])
    np.testing.assert_array_equal(mapped, probs)
    np.testing.assert_array_equal(
        read_top_classes(labels[:5], mapped[10:15]).given_probs, probs[range(10, 15), labels[:5]]
    )


def test_a_mapped_file_is_not_held_in_memory(tmp_path):
    """200 MB are read, and resident memory grows by a few blocks."""
    resource = pytest.importorskip("resource")
    if not sys.platform.startswith("linux"):
        pytest.skip("resident memory is read from /proc")
    file = np.lib.format.open_memmap(tmp_path / "probs.npy", "w+", np.float32, (50_000, 1000))
    file[:, 0] = 1
    file.flush()
    del file
    mapped = np.load(tmp_path / "probs.npy", mmap_mode="r")
    highest, stop = [0], threading.Event()

    def watch():
        while not stop.wait(0.001):
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            highest[0] = max(highest[0], pages * resource.getpagesize())

    watcher = threading.Thread(target=watch)
    watcher.start()
    while not highest[0]:
        pass
    before = highest[0]
    read_top_classes(np.zeros(50_000, dtype=np.intp), mapped)
    stop.set()
    watcher.join()
    assert highest[0] - before < 100e6


def test_labels_of_all_types_reach_the_kernel(way):
    probs = np.eye(300, dtype=np.float32)[np.arange(900) % 300]
    for dtype in (np.uint16, np.int32, np.int64):
        rows = read_top_classes(*check_arrays((np.arange(900) % 300).astype(dtype), probs))
        assert isinstance(rows, TopClasses)
        assert rows.given_probs.all()
        assert rows.classes.dtype == np.uint16
