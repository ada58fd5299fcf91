"""A worker that measures nothing: it speaks the protocol with fixed figures, and can misbehave.

Usage: python fake_worker.py TRACE BACKEND=BEHAVIOUR... FD; it appends a line to TRACE for each
order that it is given. It writes its messages as plain JSON, and so starts in a moment; the parent
holds them against the protocol.
"""

import base64
import json
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

sys.path.insert(0, str(Path(__file__).parents[1]))

from fmnist import bounds

EPOCH_S = 0.5
PEAKS = {
    "matmul_flop_per_s": 1e11,
    "matmul_size": 1_024,
    "matmul_dtype": "float32",
    "triad_bytes_per_s": 1e10,
    "triad_array_bytes": 2**27,
}
CONFIDENCE = 59
"""Of the highest of the logits 1, 0, 0 ... 0, in 255ths."""
FLOOD_BYTES = 2**30
LITTLE_MEMORY_BYTES = 2**28

Message = Mapping[str, Any]


def ready(job: Message) -> Message:
    """Return fixed figures."""
    return {
        "kind": "ready",
        "import_s": 1.0,
        "build_s": 0.25,
        "parameters": {"total": 7_850, "trainable": 7_850, "dense": 7_850, "conv": 0, "other": 0},
        "forward_macs": {"dense": 7_840},
        "train_flop_per_image": 31_360,
        "jit_compile": job["backend"] == "jax",
        "train_images": job["train_images"] - job["validation_images"],
        "validation_images": job["validation_images"],
        "test_images": job["test_images"],
        "device_name": "cpu:0",
        "versions": {"keras": "3.0"},
        "threads": {"cpus": [0]},
        "flags": {},
        "tuning": {},
    }


def epoch_done(epoch_s: float, epoch: int | None = None) -> dict[str, Any]:
    """Return an epoch's seconds and, of an epoch with a number, figures better with every one."""
    done = {"kind": "epoch", "epoch_s": epoch_s, "processor_s": 1.0, "withheld_s": 0.0}
    if epoch is None:
        return done | {"evaluate_s": None, "result": None}
    result = {
        "train_loss": 1 / epoch,
        "train_accuracy": 1 - 0.5 / epoch,
        "test_loss": 1 / epoch,
        "test_accuracy": 1 - 0.6 / epoch,
    }
    return done | {"evaluate_s": 0.1, "result": result}


def say(end: socket.socket, message: Message) -> None:
    """Send one message."""
    end.sendall(json.dumps(message).encode() + b"\n")


def hang(_end: socket.socket) -> NoReturn:
    """Wait for ever, without sleeping."""
    while True:
        signal.pause()


def half(end: socket.socket) -> NoReturn:
    """Say half a message, and go."""
    end.sendall(b'{"kind": "epoch", "epoch_s": 0.')
    sys.exit(3)


def drip(end: socket.socket) -> NoReturn:
    """Say a message letter by letter, for ever, as fast as twenty a second."""
    signal.signal(signal.SIGALRM, lambda *_: end.sendall(b" "))
    signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
    hang(end)


def crash(_end: socket.socket) -> NoReturn:
    """End as an unforeseen state of the worker does, such as a device that is gone."""
    raise RuntimeError("INTERNAL: CUDA_ERROR_NO_DEVICE: the device is gone")


def fill_memory(_end: socket.socket) -> None:
    """Ask for more memory than there is."""
    resource.setrlimit(resource.RLIMIT_AS, (LITTLE_MEMORY_BYTES, LITTLE_MEMORY_BYTES))
    bytearray(2 * LITTLE_MEMORY_BYTES)


def flood(_end: socket.socket) -> None:
    """Print a gigabyte."""
    line = "x" * 2**16
    for _ in range(FLOOD_BYTES // 2**16):
        print(line, flush=True)


def flood_on(_end: socket.socket) -> None:
    """Print a gigabyte as a library does that looks for no error."""
    line = b"x" * 2**16
    for _ in range(FLOOD_BYTES // 2**16):
        try:
            os.write(1, line)
        except OSError:
            continue


def stop_for_a_while(_end: socket.socket) -> None:
    """Be stopped, as by Ctrl-Z, and continued by another process once that is so."""
    parent = os.getpid()
    if os.fork() == 0:
        while Path(f"/proc/{parent}/stat").read_text().rpartition(")")[2].split()[0] != "T":
            continue
        os.kill(parent, signal.SIGCONT)
        os._exit(0)
    os.kill(parent, signal.SIGSTOP)
    os.wait()


def spawn(end: socket.socket) -> NoReturn:
    """Start a process of its own, and hang beside it."""
    os.fork()
    hang(end)


MISBEHAVIOURS: Mapping[str, Callable[[socket.socket], None]] = {
    "": lambda _: None,
    "exit": lambda _: sys.exit("out of luck"),
    "crash": crash,
    "kill": lambda _: os.kill(os.getpid(), signal.SIGKILL),
    "segv": lambda _: os.kill(os.getpid(), signal.SIGSEGV),
    "memory": fill_memory,
    "hang": hang,
    "stop": lambda _: os.kill(os.getpid(), signal.SIGSTOP),
    "stop-and-go": stop_for_a_while,
    "spawn": spawn,
    "garbage": lambda end: end.sendall(b"Epoch 1/3: 100%\n"),
    "half": half,
    "drip": drip,
    "order": lambda end: say(end, {"kind": "order", "command": "stop"}),
    "wrong": lambda end: say(end, {"kind": "timed", "seconds": [1.0]}),
    "flood": flood,
    "flood-on": flood_on,
}


def main() -> None:
    """Serve one job, misbehaving in the second epoch, or before the first (`early-...`)."""
    trace, *behaviours, descriptor = sys.argv[1:]
    end = socket.socket(fileno=int(descriptor))
    bounds.bind(end)
    messages = end.makefile("rb")
    job = json.loads(messages.readline())
    behaviour = dict(pair.split("=") for pair in behaviours).get(job["backend"], "")
    at_once = behaviour if behaviour in MISBEHAVIOURS else ""
    print("a library prints to stdout", flush=True)
    if behaviour.startswith("early-") and behaviour != "early-clock":
        MISBEHAVIOURS[behaviour.removeprefix("early-")](end)
    say(end, ready(job))
    epoch = 0
    for line in messages:
        order = json.loads(line)
        command, variant = order["command"], order["variant"]
        with Path(trace).open("a", encoding="utf-8") as file:
            file.write(f"{job['backend']} {variant or command}\n")
        if command == "epoch":
            epoch += 1
            if epoch == 2:
                MISBEHAVIOURS[at_once](end)
            graded = epoch if job["task"] in ("train", "learn", "scale") else None
            last = {"last": behaviour == f"ends-{epoch}"}
            withheld = {"withheld_s": 1.0 if behaviour == "withheld" else 0.0}
            say(end, epoch_done(EPOCH_S * epoch, graded) | last | withheld)
            continue
        if command == "variant" and behaviour == f"in-{variant}":
            MISBEHAVIOURS["kill"](end)
        if command == "race":
            MISBEHAVIOURS[at_once](end)
        if variant == "steps" and behaviour == "early-clock":
            say(end, epoch_done(9.0))
            continue
        if command == "recognise" and behaviour == "contradict":
            say(end, {"kind": "recognised", "correct": "AAAA"})
            continue
        say(end, answer(command, variant, job))
        if command == "stop":
            return


def answer(command: str, variant: str, job: Message) -> Message:
    """Return the fixed answer to an order after training."""
    if command == "variant":
        longer = {"spike_5": 1.05, "half": 0.5, "steps": 0.9}.get(variant, 1.0)
        return epoch_done(longer * EPOCH_S)
    if command == "recognise":
        n_bytes, rest = divmod(job["test_images"], 8)
        bits = b"\xaa" * n_bytes + (b"\xaa" if rest else b"")
        return {"kind": "recognised", "correct": base64.b64encode(bits).decode()}
    if command == "trace":
        return leave_trace(job)
    if command == "race":
        return raced(job)
    if command == "learned":
        return learned(job)
    return {
        "peaks": {"kind": "peaks", "peaks": PEAKS},
        "stop": {"kind": "stopped", "peak_memory_bytes": {"host": 1_000_000}},
    }.get(command, {"kind": "timed", "seconds": [0.125]})


def raced(job: Message) -> Message:
    """Return a whole training in which each epoch took as long."""
    epochs = job["recipe"]["epochs"]
    race = {"role": job["role"], "adapt_s": 0.0, "fit_s": EPOCH_S * epochs, "accuracy": 0.9}
    return {
        "kind": "raced",
        "first_epoch_s": 2 * EPOCH_S,
        "epoch_s": [EPOCH_S] * epochs,
        "processor_s": [EPOCH_S] * epochs,
        "withheld_s": [0.0] * epochs,
        "race": race,
    }


def learned(job: Message) -> Message:
    """Return that every second image is recognised."""
    n = job["test_images"]
    labels = [i % 10 for i in range(n)]
    given = [label if label % 2 else 0 for label in labels]
    return {
        "kind": "learned",
        "accuracy": sum(a == b for a, b in zip(labels, given, strict=True)) / n,
        "loss": 0.5,
        "validation_accuracy": None,
        "validation_loss": None,
        "predictions": {
            "labels": "".join(map(str, labels)),
            "classes": "".join(map(str, given)),
            "confidences": base64.b64encode(bytes([CONFIDENCE]) * n).decode(),
        },
    }


def leave_trace(job: Message) -> Message:
    """Leave arrays that are the same whatever the backend, so that they certify sameness."""
    import numpy as np

    from fmnist import parity

    weights = parity.initial_weights([("kernel", (4, 10))], job["seed"])
    moved = {step: np.ones(40, np.float32) for step in parity.COMPARED_STEPS}
    trace = parity.Trace(
        parity.sha256(weights), np.ones((2, 10)), np.linspace(2, 1, job["steps"]), moved
    )
    trace.save(Path(job["trace_path"]), np.arange(job["test_images"]) % 2 == 0)
    return {"kind": "traced", "weights_sha256": trace.weights_sha256}


if __name__ == "__main__":
    main()
