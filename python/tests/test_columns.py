"""A batch as columns: NumPy through buffers, Arrow through its C interfaces."""

from __future__ import annotations

import datetime
import gc

import numpy
import pyarrow
import pytest

import ringlog


@pytest.fixture
def batch(orders: ringlog.Partition) -> ringlog.Batch:
    orders.append(b"before")
    headers = [("h", b"1"), ("h", None)]
    orders.append_many(
        [
            {"value": b"one", "key": b"k", "headers": headers, "timestamp_ms": 1000},
            {"value": None, "timestamp_ms": 2000},
            {"value": b"", "timestamp_ms": 3000},
        ]
    )
    (batch,) = orders.read(1).batches()
    return batch


def test_numpy_takes_the_columns_without_a_copy(batch: ringlog.Batch) -> None:
    offsets = numpy.asarray(batch.offsets())
    assert offsets.dtype == numpy.int64 and offsets.tolist() == [1, 2, 3]
    assert numpy.asarray(batch.timestamps_ms()).tolist() == [1000, 2000, 3000]
    data, ends = map(numpy.asarray, batch.value_buffers())
    assert data.tobytes() == b"one" and ends.tolist() == [0, 3, 3, 3]
    assert data.dtype == numpy.uint8 and not data.flags.writeable
    view = batch.offsets()
    shared = numpy.asarray(view)
    assert shared.__array_interface__["data"][0] == numpy.frombuffer(view, numpy.int64).ctypes.data
    assert (view.format, view.itemsize, view.shape, view.readonly) == ("q", 8, (3,), True)


def test_columns_outlive_the_batch(batch: ringlog.Batch) -> None:
    columns = [batch.offsets(), batch.timestamps_ms(), *batch.value_buffers()]
    arrow = batch.to_arrow()
    batch.release()
    gc.collect()
    assert columns[0].tolist() == [1, 2, 3] and bytes(columns[2]) == b"one"
    assert arrow.column("offset").to_pylist() == [1, 2, 3]
    for use in (batch.offsets, batch.timestamps_ms, batch.value_buffers, batch.to_arrow):
        with pytest.raises(ValueError):
            use()


def test_arrow_sees_every_field(batch: ringlog.Batch) -> None:
    def time(second: int) -> datetime.datetime:
        return datetime.datetime.fromtimestamp(second, datetime.timezone.utc)

    arrow = batch.to_arrow()
    arrow.validate(full=True)
    assert arrow.to_pylist() == [
        {
            "partition": 0,
            "offset": 1,
            "timestamp": time(1),
            "key": b"k",
            "value": b"one",
            "headers": [{"key": "h", "value": b"1"}, {"key": "h", "value": None}],
        },
        {"partition": 0, "offset": 2, "timestamp": time(2), "key": None, "value": None,
         "headers": []},
        {"partition": 0, "offset": 3, "timestamp": time(3), "key": None, "value": b"",
         "headers": []},
    ]


def test_arrow_takes_it_as_a_stream_and_as_a_schema(batch: ringlog.Batch) -> None:
    reader = pyarrow.RecordBatchReader.from_stream(batch)
    table = reader.read_all()
    assert table.num_rows == 3 and table.equals(pyarrow.table(batch))
    assert pyarrow.schema(batch) == table.schema


def test_capsules_that_nobody_takes_are_freed(batch: ringlog.Batch) -> None:
    for _ in range(100):
        batch.__arrow_c_array__()
        batch.__arrow_c_stream__()
        batch.__arrow_c_schema__()
    gc.collect()


@pytest.mark.parametrize("kind", ["binary", "large_binary", "string", "large_string"])
def test_an_arrow_array_is_appended(orders: ringlog.Partition, kind: str) -> None:
    values = ["zero", "one", None, "", "four"]
    if "binary" in kind:
        array = pyarrow.array([None if v is None else v.encode() for v in values], kind)
    else:
        array = pyarrow.array(values, kind)
    assert orders.append_many(array) == range(5)
    assert orders.append_many(array[1:4]) == range(5, 8)
    read = [None if r.value is None else bytes(r.value) for r in orders.read()]
    expected = [None if v is None else v.encode() for v in values]
    assert read == expected + expected[1:4]


def test_other_arrow_arrays_are_refused(orders: ringlog.Partition) -> None:
    with pytest.raises(TypeError, match="binary or strings"):
        orders.append_many(pyarrow.array([1, 2]))
    assert orders.append_many(pyarrow.array([], "binary")) == range(0)
    assert orders.end == 0
