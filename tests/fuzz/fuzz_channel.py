"""The channel to a worker: messages and ChannelError, and nothing else, whatever a worker says.

An input's first byte says whether the rest is what the worker says, or chooses what is changed in a
sound message; the second byte is how many bytes it says at a time.
"""

import contextlib
import json
import socket

import samples
from hostile import Choices, Sound

from fmnist.channel import (
    MESSAGE,
    Channel,
    ChannelError,
    EpochDone,
    Order,
    PeaksReached,
    Raced,
    Ready,
    Recognised,
    Stopped,
    Timed,
    Traced,
)
from fmnist.record import EpochResult, Record

RECORDS: list[Record] = [samples.record(**samples.counted()), samples.race()]
SAID = [
    message.model_dump(mode="json")
    for message in (
        Ready(
            **{
                name: getattr(RECORDS[0], name)
                for name in (
                    *("import_s", "build_s", "parameters", "forward_macs", "train_flop_per_image"),
                    *("jit_compile", "train_images", "validation_images", "test_images"),
                    *("device_name", "versions", "threads", "flags", "tuning"),
                )
            }
        ),
        EpochDone(
            epoch_s=1.0,
            processor_s=2.0,
            withheld_s=None,
            evaluate_s=0.1,
            result=EpochResult(**samples.RESULT),
        ),
        Timed(seconds=(0.1, 0.2)),
        Recognised(correct="AAAA"),
        Traced(weights_sha256="0" * 64),
        Raced(
            first_epoch_s=2.0,
            epoch_s=(1.0,),
            processor_s=(1.0,),
            withheld_s=(0.5,),
            race=RECORDS[1].race,
        ),
        PeaksReached(peaks=RECORDS[0].peaks),
        Stopped(peak_memory_bytes=RECORDS[0].peak_memory_bytes),
        Order(command="stop"),
    )
]
SOUND = [Sound.of(message) for message in SAID]
MOST_AT_ONCE = 60_000
"""Bytes that a socket takes without anybody reading them."""


def one(data: bytes) -> None:
    """Hear one worker out. Raises AssertionError for a message that does not survive being sent."""
    said, step = _said(data)
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            for begin in range(0, min(len(said), 16 * step), step):
                theirs.sendall(said[begin : begin + step])
            theirs.sendall(said[16 * step :])
        channel = Channel(ours)
        with contextlib.suppress(ChannelError):
            while True:
                message = channel.receive(5)
                again = message.model_dump_json()
                assert MESSAGE.validate_json(again).model_dump_json() == again


def _said(data: bytes) -> tuple[bytes, int]:
    """Return what an input makes the worker say, and how much of it at a time."""
    how, step, rest = data[:1], 1 + (data[1] if len(data) > 1 else 255), data[2:]
    if how != b"\1":
        return rest[:MOST_AT_ONCE], step
    choices = Choices(rest)
    line = SOUND[choices.below(len(SOUND))].edited(choices)
    return (line.encode() + b"\n" + rest)[:MOST_AT_ONCE], step


def corpus() -> dict[str, bytes]:
    """Return inputs to begin with."""
    lines = [json.dumps(message).encode() + b"\n" for message in SAID]
    return {
        **{str(message["kind"]): b"\0\xff" + lines[n] for n, message in enumerate(SAID)},
        "in-pieces": b"\0\0" + lines[3] + lines[8],
        "half": b"\0\xff" + lines[1][:30],
        "garbage": b"\0\xffEpoch 1/5 100%\n",
        "not-text": b"\0\xff\xff\xfe\n",
        **{f"edited-{n}": bytes([1, 255, n, n, 0, 3 * n, n]) for n in range(len(SOUND))},
    }
