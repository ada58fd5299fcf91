"""The channel between parent and worker, on real sockets."""

import socket
import threading
from collections.abc import Iterator

import pytest

from fmnist import channel
from fmnist.channel import Channel, ChannelError, EpochDone, NotAMessageError, Order


@pytest.fixture
def ends() -> Iterator[tuple[Channel, socket.socket]]:
    """Our end as a channel, the other one as a bare socket."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield Channel(ours), theirs


def test_messages_arrive_whole_and_in_order(ends: tuple[Channel, socket.socket]) -> None:
    """Two messages sent at once are received one after the other."""
    ours, theirs = ends
    other = Channel(theirs)
    done = EpochDone(processor_s=0.5, withheld_s=0.1, epoch_s=0.1, evaluate_s=None, result=None)
    other.send(done)
    other.send(Order(command="epoch"))

    assert ours.receive(1) == done
    assert ours.receive(1) == Order(command="epoch")


def test_message_may_come_in_pieces(ends: tuple[Channel, socket.socket]) -> None:
    """A line that arrives byte by byte is one message."""
    ours, theirs = ends
    for byte in b'{"kind":"order","command":"stop"}\n':
        theirs.send(bytes([byte]))

    assert ours.receive(1) == Order(command="stop")


@pytest.mark.parametrize(
    "line",
    [
        b"Epoch 1/5 100%\n",
        b"{}\n",
        b'{"kind":"order","command":"dance"}\n',
        b'{"kind":"epoch","epoch_s":-1,"evaluate_s":null,"result":null}\n',
        b"\xff\xfe\n",
    ],
)
def test_garbage_is_an_error_that_shows_it(
    ends: tuple[Channel, socket.socket], line: bytes
) -> None:
    """What is no message ends the conversation, with the beginning of what was said."""
    ours, theirs = ends
    theirs.sendall(line)

    with pytest.raises(NotAMessageError, match="not a message"):
        ours.receive(1)


def test_end_of_the_channel_is_an_error(ends: tuple[Channel, socket.socket]) -> None:
    """A worker that goes in the middle of a message is noticed at once."""
    ours, theirs = ends
    theirs.sendall(b'{"kind":')
    theirs.close()

    with pytest.raises(ChannelError, match="closed"):
        ours.receive(1)


def test_endless_line_is_refused(
    ends: tuple[Channel, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line without an end does not fill the memory."""
    monkeypatch.setattr(channel, "MAX_MESSAGE_BYTES", 1_000)
    ours, theirs = ends
    theirs.sendall(b"x" * 5_000)

    with pytest.raises(NotAMessageError, match="more than 1,000 bytes"):
        ours.receive(1)


def test_a_line_that_drips_in_times_out(ends: tuple[Channel, socket.socket]) -> None:
    """The time is for the whole line: a byte now and then does not begin it anew."""
    ours, theirs = ends
    over = threading.Event()

    def drip() -> None:
        for _ in range(100):
            if not over.wait(0.01):
                theirs.send(b"x")
        theirs.close()

    dripping = threading.Thread(target=drip)
    dripping.start()
    try:
        with pytest.raises(TimeoutError):
            ours.receive(0.1)
    finally:
        over.set()
        dripping.join()


@pytest.mark.parametrize("seconds", ["NaN", "-1", "1e999"])
def test_processor_time_that_no_record_takes_is_no_message(
    ends: tuple[Channel, socket.socket], seconds: str
) -> None:
    """What would make no record is refused where it is said."""
    ours, theirs = ends
    theirs.sendall(
        b'{"kind":"epoch","epoch_s":1,"processor_s":%b,"withheld_s":null,"evaluate_s":null,"result":null}\n'
        % seconds.encode()
    )

    with pytest.raises(NotAMessageError):
        ours.receive(1)


def test_silence_times_out(ends: tuple[Channel, socket.socket]) -> None:
    """A worker that says nothing is given up after the time that is left."""
    ours, _ = ends

    with pytest.raises(TimeoutError):
        ours.receive(0.01)
