"""Whole batches to sockets: extents, senders, and the timeouts that Python's sockets have."""

from __future__ import annotations

import gc
import os
import select
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Run

import ringlog

VALUES = [bytes([n % 251]) * (1 + n * 7 % 3000) for n in range(3000)]


#: Small, so that most lies in segments.
SMALL: dict[str, Any] = {
    "flush": "async",
    "segment_bytes": 1 << 20,
    "ring_bytes": 1 << 20,
    "group_bytes": 1 << 18,
    "max_payload_bytes": 1 << 19,
}


@pytest.fixture
def filled(tmp_path: Path) -> Iterator[ringlog.Partition]:
    """What lies in segments for the most part, and in the ring at the end."""
    with ringlog.open(tmp_path / "data", **SMALL) as log:
        partition = log.topic("orders").partition(0)
        for first in range(0, len(VALUES), 100):
            partition.append_many(VALUES[first : first + 100])
        partition.append(b"the last one")
        yield partition


def on_disk(partition: ringlog.Partition, offset: int = 0) -> bytes:
    return b"".join(bytes(batch.raw) for batch in partition.read(offset).batches())


def taken(piece: Any) -> bytes:
    if isinstance(piece, memoryview):
        return bytes(piece)
    return os.pread(piece.fd, piece.len, piece.offset)


class Receiver(threading.Thread):
    """Takes everything until the other end is shut."""

    def __init__(self, end: socket.socket, slow: float = 0) -> None:
        super().__init__(daemon=True)
        self.end, self.slow, self.data = end, slow, bytearray()
        self.start()

    def run(self) -> None:
        while part := self.end.recv(1 << 16):
            self.data += part
            time.sleep(self.slow)

    def all(self, sent: socket.socket) -> bytes:
        sent.shutdown(socket.SHUT_WR)
        self.join(timeout=60)
        assert not self.is_alive()
        return bytes(self.data)


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        with socket.create_connection(server.getsockname()) as here:
            there, _ = server.accept()
            with there:
                yield here, there


def test_extents_are_the_batches_byte_for_byte(filled: ringlog.Partition) -> None:
    kinds, at, data = set(), 0, b""
    while True:
        with filled.extents(at, 1 << 19) as extents:
            if not len(extents):
                break
            pieces = [taken(piece) for piece in extents]
            kinds |= {type(piece) for piece in extents}
            assert sum(map(len, pieces)) == extents.len_bytes
            assert extents.len_bytes <= 1 << 19 and extents.first_offset == at
            data += b"".join(pieces)
            at = extents.next_offset
    assert at == filled.end == extents.next_offset and extents.len_bytes == 0
    assert data == on_disk(filled)
    (last,) = filled.extents(filled.end - 1)
    assert isinstance(last, memoryview) and data.endswith(last) and last.readonly
    assert ringlog.FileExtent in kinds


def test_extents_are_a_sequence(filled: ringlog.Partition) -> None:
    extents = filled.extents(150)
    # Batches are whole: the first begins where it begins.
    assert extents.first_offset == 100 and taken(extents[0]) == on_disk(filled, 100)[: extents[0].len]  # type: ignore[union-attr]
    assert taken(extents[-1]) == taken(extents[len(extents) - 1])
    for index in (len(extents), -len(extents) - 1, 1 << 60):
        with pytest.raises(IndexError):
            extents[index]
    assert f"pieces={len(extents)}" in repr(extents) and "fd=" in repr(extents[0])


def test_a_piece_alone_keeps_its_file_from_being_used_again(tmp_path: Path) -> None:
    with ringlog.open(tmp_path / "data", **SMALL) as log:
        partition = log.topic("orders").partition(0)
        for _ in range(8):
            partition.append_many(VALUES[:300])
        expected = on_disk(partition)[:1000]
        # Nothing but the piece is held.
        piece = partition.extents(0)[0]
        assert isinstance(piece, ringlog.FileExtent)
        gc.collect()
        partition.trim(partition.end)
        for _ in range(40):
            partition.append_many(VALUES[:300])
        log.flush()
        assert os.pread(piece.fd, 1000, piece.offset) == expected
    assert os.pread(piece.fd, 1000, piece.offset) == expected


def test_release_gives_files_back_and_pieces_say_so(filled: ringlog.Partition) -> None:
    extents, tail = filled.extents(0), filled.extents(filled.end - 1)
    piece, view = extents[0], tail[0]
    assert isinstance(piece, ringlog.FileExtent) and isinstance(view, memoryview)
    data, part = bytes(view), view[1:]
    with pytest.raises(BufferError):
        tail.release()
    view.release()
    with pytest.raises(BufferError):
        tail.release()
    assert bytes(part) == data[1:]
    part.release()
    for each in (extents, tail):
        each.release()
        each.release()
        with pytest.raises(ValueError):
            each[0]
        assert "released" in repr(each)
    with pytest.raises(ValueError):
        piece.fd
    assert piece.len > 0


def test_a_view_of_the_ring_outlives_extents_and_log(tmp_path: Path) -> None:
    with ringlog.open(tmp_path / "data", flush="async") as log:
        partition = log.topic("orders").partition(0)
        partition.append(b"value")
        expected = on_disk(partition)
        view = partition.extents(0)[0]
    del log, partition
    gc.collect()
    assert isinstance(view, memoryview) and view.readonly and bytes(view) == expected


@pytest.mark.parametrize("timeout", [None, 60.0])
def test_everything_is_sent(
    filled: ringlog.Partition, pair: tuple[socket.socket, socket.socket], timeout: Any
) -> None:
    here, there = pair
    here.settimeout(timeout)
    receiver = Receiver(there)
    sent = filled.send_to(here, 0)
    expected = on_disk(filled)
    assert sent == (filled.end, len(expected), True)
    assert receiver.all(here) == expected
    # Left as it was found.
    assert here.gettimeout() == timeout
    assert here.getsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, 16) == bytes(16)


@pytest.mark.parametrize("timeout", [None, 60.0])
def test_no_more_than_asked_for_but_whole_batches(
    filled: ringlog.Partition, pair: tuple[socket.socket, socket.socket], timeout: Any
) -> None:
    here, there = pair
    here.settimeout(timeout)
    # Small and slow: each call is left amid a batch, and goes on.
    here.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
    receiver = Receiver(there, slow=0.0005)
    sizes = [len(batch.raw) for batch in filled.read().batches()]
    sender = filled.sender(0)
    assert (sender.next_offset, sender.is_amid_batch) == (0, False)
    # Two and a half batches fit in: two are sent.
    sent = sender.send_to(here, max_bytes=sizes[0] + sizes[1] + sizes[2] // 2)
    assert sent == (200, sizes[0] + sizes[1], True)
    # One is sent even if it is too long.
    assert sender.send_to(here, max_bytes=1) == (300, sizes[2], True)
    assert sender.send_to(here, max_bytes=0) == (400, sizes[3], True)
    rest = sender.send_to(here)
    assert rest == (filled.end, sum(sizes[4:]), True)
    assert sender.send_to(here) == (filled.end, 0, True)
    assert receiver.all(here) == on_disk(filled)


def test_a_non_blocking_socket_takes_what_it_takes(
    filled: ringlog.Partition, pair: tuple[socket.socket, socket.socket]
) -> None:
    here, there = pair
    here.setblocking(False)
    here.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16384)
    sender, bytes_sent, stuck = filled.sender(0), 0, 0
    data = bytearray()
    while True:
        sent = sender.send_to(here)
        bytes_sent += sent.bytes
        if sent.complete:
            break
        stuck += 1
        # Sent on once it is writable again, which takes the acknowledgement of what was taken.
        readable, writable, _ = select.select([there], [here], [], 60)
        assert readable or writable
        data += there.recv(1 << 16) if readable else b""
    expected = on_disk(filled)
    assert bytes_sent == len(expected)
    assert stuck > 0 and sender.next_offset == filled.end and not sender.is_amid_batch
    here.close()
    while part := there.recv(1 << 20):
        data += part
    assert bytes(data) == expected


@pytest.mark.parametrize("blocking", [True, False])
def test_a_deadline_keeps_the_place(
    filled: ringlog.Partition, pair: tuple[socket.socket, socket.socket], blocking: bool
) -> None:
    here, there = pair
    here.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16384)
    here.setblocking(blocking)
    sender = filled.sender(0)
    # The socket's own timeout counts, unless one is given.
    if not blocking:
        here.settimeout(0.05)
        first = sender.send_to(here)
    else:
        first = sender.send_to(here, timeout=0.05)
    assert not first.complete and first.next_offset < filled.end
    assert not sender.send_to(here, timeout=0.01).complete
    receiver = Receiver(there)
    assert sender.send_to(here, timeout=60).complete
    assert receiver.all(here) == on_disk(filled)


def test_pipes_and_files_are_written_too(filled: ringlog.Partition, tmp_path: Path) -> None:
    with (tmp_path / "copy").open("wb") as file:
        assert filled.send_to(file, 0).complete
        assert filled.send_to(file.fileno(), filled.end).bytes == 0
    assert (tmp_path / "copy").read_bytes() == on_disk(filled)


def test_a_peer_that_is_gone_is_an_io_error(
    filled: ringlog.Partition, pair: tuple[socket.socket, socket.socket]
) -> None:
    here, there = pair
    there.close()
    sender = filled.sender(0)
    with pytest.raises(ringlog.IoError) as raised:
        for _ in range(100):
            sender.send_to(here)
            sender = filled.sender(0)
    assert raised.value.code == "peer" and raised.value.errno is not None


def test_what_is_no_descriptor_is_refused(filled: ringlog.Partition) -> None:
    closed = socket.socket()
    closed.close()
    for wrong, error in [
        ("socket", TypeError), (None, TypeError), (object(), TypeError), (-1, ValueError),
        (closed, ValueError), (1 << 40, OverflowError), (99_999, OSError),
    ]:
        with pytest.raises(error):
            filled.send_to(wrong, 0)  # type: ignore[arg-type]
    calls: list[Any] = [
        lambda: filled.send_to(1, -1), lambda: filled.send_to(1, 1 << 64),
        lambda: filled.send_to(1, 0, max_bytes=-1), lambda: filled.extents(0, -1),
    ]
    for call in calls:
        with pytest.raises(OverflowError):
            call()
    with pytest.raises(ValueError):
        filled.send_to(1, 0, timeout=-1)
    with pytest.raises(TypeError):
        filled.send_to(1, "earliest")  # type: ignore[arg-type]
    for late in (lambda: filled.send_to(1, 10**6), lambda: filled.extents(10**6)):
        with pytest.raises(ringlog.OffsetOutOfRangeError):
            late()
    with pytest.raises(TypeError):
        ringlog.Sender()  # type: ignore[call-arg]


def test_a_sender_is_for_one_thread_at_a_time(
    filled: ringlog.Partition, pair: tuple[socket.socket, socket.socket]
) -> None:
    here, there = pair
    here.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16384)
    sender = filled.sender(0)
    thread = threading.Thread(target=sender.send_to, args=(here,), daemon=True)
    thread.start()
    there.recv(1, socket.MSG_PEEK)
    with pytest.raises(ValueError, match="sender"):
        while True:
            sender.next_offset
    receiver = Receiver(there)
    thread.join(timeout=60)
    assert receiver.all(here) == on_disk(filled)


@pytest.mark.parametrize("blocking", [True, False])
def test_a_signal_ends_a_send_at_once(run: Run, blocking: bool) -> None:
    done = run(
        f"""
        import os, signal, socket, sys, threading, time
        import ringlog
        with ringlog.open(sys.argv[1], flush="async") as log:
            partition = log.topic("orders").partition(0)
            for _ in range(100):
                partition.append_many([bytes(1000)] * 100)
            here, there = socket.socketpair()
            here.settimeout(None if {blocking} else 3600)
            def interrupt():
                there.recv(1, socket.MSG_PEEK)
                time.sleep(0.2)
                os.kill(os.getpid(), signal.SIGINT)
            threading.Thread(target=interrupt).start()
            sender = partition.sender(0)
            try:
                sender.send_to(here)
            except KeyboardInterrupt:
                print("interrupted", sender.next_offset > 0)
        """
    )
    assert (done.stdout, done.returncode) == ("interrupted True\n", 0), done.stderr


def test_a_forked_child_has_neither_files_nor_sender(filled: ringlog.Partition) -> None:
    extents, sender = filled.extents(0), filled.sender(0)
    piece = extents[0]
    child = os.fork()
    if child == 0:
        refused = 0
        uses: list[Any] = [
            lambda: piece.fd, lambda: extents[0], lambda: sender.next_offset,  # type: ignore[union-attr]
            lambda: sender.send_to(1), lambda: filled.extents(0), lambda: filled.send_to(1, 0),
        ]
        for use in uses:
            try:
                use()
            except ringlog.ForkedError:
                refused += 1
        del extents, piece, sender
        gc.collect()
        os._exit(0 if refused == len(uses) else 1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert taken(piece) == taken(extents[0])
    with open(os.devnull, "wb") as null:
        assert sender.send_to(null).complete


def test_after_close_pieces_live_on_and_the_rest_answers_or_says_so(
    tmp_path: Path, pair: tuple[socket.socket, socket.socket]
) -> None:
    here, _there = pair
    with ringlog.open(tmp_path / "data", flush="async") as log:
        partition = log.topic("orders").partition(0)
        partition.append(b"v")
        extents, sender = partition.extents(0), partition.sender(0)
        expected = [taken(piece) for piece in extents]
    assert [taken(piece) for piece in extents] == expected
    sent: Any = None
    uses: list[Any] = [
        lambda: partition.extents(0),
        lambda: partition.sender(0),
        lambda: sender.send_to(here),
        lambda: partition.send_to(here, 0),
    ]
    for use in uses:
        # What reads answers or says that it is closed.
        try:
            sent = use()
        except ringlog.ClosedError:
            continue
        assert not isinstance(sent, ringlog.Sent) or sent == (1, len(expected[0]), True)
