"""A worker that measures nothing: it speaks the protocol with fixed figures, and can misbehave.

Usage: python fake_worker.py TRACE BACKEND=BEHAVIOUR... FD; it appends a line to TRACE for each
order that it is given.
"""

import os
import signal
import socket
import sys
from pathlib import Path
from typing import NoReturn

import numpy as np

from fmnist import parity
from fmnist.channel import (
    Answer,
    Channel,
    EpochDone,
    Job,
    Learned,
    Order,
    PeaksReached,
    Raced,
    Ready,
    Recognised,
    Stopped,
    Timed,
    Traced,
)
from fmnist.record import EpochResult, Parameters, PeakMemory, Peaks, Predictions, Race, packed

EPOCH_S = 0.5
PEAKS = Peaks(
    matmul_flop_per_s=1e11,
    matmul_size=1_024,
    matmul_dtype="float32",
    triad_bytes_per_s=1e10,
    triad_array_bytes=2**27,
)


def ready(job: Job) -> Ready:
    """Return fixed figures."""
    return Ready(
        import_s=1.0,
        build_s=0.25,
        parameters=Parameters(total=7_850, trainable=7_850, dense=7_850, conv=0, other=0),
        forward_macs={"dense": 7_840},
        train_flop_per_image=31_360,
        jit_compile=job.backend == "jax",
        train_images=job.train_images - job.validation_images,
        validation_images=job.validation_images,
        test_images=job.test_images,
        device_name="cpu:0",
        versions={"keras": "3.0"},
        threads={"cpus": [0]},
        flags={},
        tuning={},
    )


def result(epoch: int) -> EpochResult:
    """Return an epoch's figures, better with every epoch."""
    return EpochResult(
        train_loss=1 / epoch,
        train_accuracy=1 - 0.5 / epoch,
        test_loss=1 / epoch,
        test_accuracy=1 - 0.6 / epoch,
    )


def hang() -> NoReturn:
    """Wait for ever, without sleeping."""
    while True:
        signal.pause()


def misbehave(behaviour: str, end: socket.socket) -> None:
    """Do what the behaviour's name says."""
    if behaviour == "exit":
        sys.exit("out of luck")
    if behaviour == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if behaviour == "hang":
        hang()
    if behaviour == "garbage":
        end.sendall(b"Epoch 1/3: 100%\n")
    if behaviour == "half":
        end.sendall(b'{"kind": "epoch", "epoch_s": 0.')
        sys.exit(3)
    if behaviour == "order":
        Channel(end).send(Order(command="stop"))
    if behaviour == "wrong":
        Channel(end).send(Timed(seconds=(1.0,)))


def main() -> None:
    """Serve one job, misbehaving in the second epoch, or before the first (`early-...`)."""
    trace, *behaviours, descriptor = sys.argv[1:]
    end = socket.socket(fileno=int(descriptor))
    channel = Channel(end)
    job = Job.model_validate_json(channel.receive_line())
    behaviour = dict(pair.split("=") for pair in behaviours).get(job.backend, "")
    print("a library prints to stdout", flush=True)
    if behaviour.startswith("early-") and behaviour != "early-clock":
        misbehave(behaviour.removeprefix("early-"), end)
    channel.send(ready(job))
    epoch = 0
    while True:
        order = channel.receive()
        assert isinstance(order, Order)
        with Path(trace).open("a", encoding="utf-8") as file:
            file.write(f"{job.backend} {order.variant or order.command}\n")
        if order.command == "epoch":
            epoch += 1
            if epoch == 2:
                misbehave(behaviour, end)
            graded = result(epoch) if job.task in ("train", "learn") else None
            done = EpochDone(
                epoch_s=EPOCH_S * epoch,
                processor_s=1.0,
                evaluate_s=0.1,
                result=graded,
                last=behaviour == f"ends-{epoch}",
            )
            channel.send(done)
            continue
        if order.command == "variant" and behaviour == f"in-{order.variant}":
            misbehave("kill", end)
        if order.command == "race":
            misbehave(behaviour, end)
        if order.variant == "steps" and behaviour == "early-clock":
            channel.send(EpochDone(epoch_s=9.0, processor_s=9.0, evaluate_s=None, result=None))
            continue
        channel.send(answer(order, job))
        if order.command == "stop":
            return


def answer(order: Order, job: Job) -> Answer:
    """Return the fixed answer to an order after training."""
    fixed: dict[str, Answer] = {
        "recognise": Recognised(correct=packed(np.arange(job.test_images) % 2 == 0)),
        "peaks": PeaksReached(peaks=PEAKS),
        "stop": Stopped(peak_memory_bytes=PeakMemory(host=1_000_000)),
    }
    if order.command in fixed:
        return fixed[order.command]
    if order.command == "variant":
        longer = {"spike_5": 1.05, "half": 0.5, "steps": 0.9}.get(order.variant, 1.0)
        return EpochDone(epoch_s=longer * EPOCH_S, processor_s=0.5, evaluate_s=None, result=None)
    if order.command == "trace":
        return leave_trace(job)
    if order.command == "race":
        return raced(job)
    if order.command == "learned":
        return learned(job)
    return Timed(seconds=(0.125,))


def raced(job: Job) -> Raced:
    """Return a whole training in which each epoch took as long."""
    assert job.role is not None
    epochs = job.recipe.epochs
    return Raced(
        first_epoch_s=2 * EPOCH_S,
        epoch_s=(EPOCH_S,) * epochs,
        processor_s=(EPOCH_S,) * epochs,
        race=Race(role=job.role, adapt_s=0.0, fit_s=EPOCH_S * epochs, accuracy=0.9),
    )


def learned(job: Job) -> Learned:
    """Return that every second image is recognised."""
    labels = np.arange(job.test_images) % 10
    logits = np.eye(10)[np.where(labels % 2, labels, 0)]
    return Learned(
        accuracy=float((logits.argmax(axis=1) == labels).mean()),
        loss=0.5,
        validation_accuracy=None,
        validation_loss=None,
        predictions=Predictions.of(labels, logits),
    )


def leave_trace(job: Job) -> Traced:
    """Leave arrays that are the same whatever the backend, so that they certify sameness."""
    weights = parity.initial_weights([("kernel", (4, 10))], job.seed)
    moved = {step: np.ones(40, np.float32) for step in parity.COMPARED_STEPS}
    trace = parity.Trace(
        parity.sha256(weights), np.ones((2, 10)), np.linspace(2, 1, job.steps), moved
    )
    assert job.trace_path is not None
    trace.save(Path(job.trace_path), np.arange(job.test_images) % 2 == 0)
    return Traced(weights_sha256=trace.weights_sha256)


if __name__ == "__main__":
    main()
