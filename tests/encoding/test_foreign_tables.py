"""
Conversion of numpy and pandas values: small ones in full, large ones summarised.
"""

from __future__ import annotations

import pytest
from encoding_aids import Counts, record


def test_numpy_numbers_and_small_arrays_are_plain():
    """
    Scalars become numbers, small arrays lists; NaN becomes null.
    """
    np = pytest.importorskip("numpy")
    scalars = [np.float64(1.5), np.int64(3), np.bool_(True), np.str_("a"), np.float32("nan"), np.longdouble(2)]
    arrays = [np.array([[1, 2], [3, 4]]), np.array([np.nan, 1]), np.array(5), np.datetime64("2026-01-17")]

    assert record(scalars) == [1.5, 3, True, "a", None, "2.0"]
    assert record(arrays) == [[[1, 2], [3, 4]], [None, 1.0], 5, "2026-01-17"]


def test_a_large_array_is_summarised():
    """
    Of a table of embeddings the record keeps type, shape and the first numbers, and counts it as cut.
    """
    np = pytest.importorskip("numpy")
    marks = Counts()

    made = record({"vectors": np.zeros((100, 1536)).T, "k": 3}, marks)

    about = {"__class__": "numpy.ndarray", "dtype": "float64", "shape": [1536, 100]}
    assert made == {"vectors": {**about, "head": [0.0] * 20}, "k": 3}
    assert marks.truncated == 1


def test_small_pandas_tables_are_complete():
    """
    Data frames become columns and rows, series lists or, with an index that says something, dicts.
    """
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame({"a": [1, 2], "b": ["x", None]})

    assert record([frame, frame.set_index("b")]) == [
        {"columns": ["a", "b"], "data": [[1, "x"], [2, None]]},
        {"index": ["x", None], "columns": ["a"], "data": [[1], [2]]},
    ]
    assert record([pd.Series([1, 2]), pd.Series([1, 2], index=["a", "b"]), pd.Index(["a"])]) == [
        [1, 2],
        {"a": 1, "b": 2},
        ["a"],
    ]


def test_pandas_times_are_times():
    """
    Time stamps and durations read like those of the standard library; what is missing is null.
    """
    pd = pytest.importorskip("pandas")
    made = record([pd.Timestamp("2026-01-17"), pd.Timedelta("1D"), pd.NaT, pd.NA])

    assert made == ["2026-01-17T00:00:00", "1 day, 0:00:00", None, None]


def test_large_pandas_tables_are_summarised():
    """
    Of a large table the record keeps its shape and first rows; column names may be duplicates.
    """
    pd = pytest.importorskip("pandas")
    marks = Counts()

    frame, series = record([pd.DataFrame([[1, 2]] * 1000, columns=["a", "a"]), pd.Series(range(5000))], marks)

    assert (frame["shape"], frame["columns"], frame["data"]) == ([1000, 2], ["a", "a"], [[1, 2]] * 20)
    assert (series["shape"], series["head"]) == ([5000], list(range(20)))
    assert marks.truncated == 2


def test_the_numbers_of_tensors_are_not_read():
    """
    A tensor, whose numbers may lie on another device, shows its type and shape.
    """
    tensor = type("Tensor", (), {"__module__": "torch", "dtype": "torch.float32", "shape": (3, 224)})

    assert record(tensor()) == "<Tensor torch.float32 [3, 224]>"
