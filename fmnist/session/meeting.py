"""The hosts of one training meet: before it, to agree on what it is; during it, to hear of a loss.

The first host listens, the others come. What they train with are the backends' own means; this only
sees to it that a host that is missing, was told something else, or fails is named on every host,
and at once: the backends wait for minutes, or end the process without a word of it.
"""

import select
import socket
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from fmnist.channel import Channel, ChannelError
from fmnist.measure import Allowance

RETRY_S = 0.2
KEEPALIVE = (("TCP_KEEPIDLE", 10), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3))
"""A machine that is gone without a word is missed after 25 s."""


class MeetingError(RuntimeError):
    """The hosts did not meet, or do not agree; the message says who and in what."""


class Word(BaseModel):
    """What hosts say to each other: immutable, with no fields but its own."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: int
    """Who says it."""
    terms: dict[str, Any] = {}
    """What the host was told, and has."""
    machine: str = ""
    """Tells machines apart; of the first host's answer: not empty if two hosts share one."""
    failure: str | None = None
    """Why it goes no further."""


class Meeting:
    """All hosts of a training, on one of them. A context manager.

    Args:
        addresses: of all hosts, `NAME:PORT`; the first one's is where they meet.
        host: index of this one.
        wait_s: how long the others are waited for. Raises MeetingError if one does not come.
    """

    def __init__(self, addresses: tuple[str, ...], host: int, wait_s: float) -> None:
        self._addresses, self._host, self._wait_s = addresses, host, wait_s
        self._others: dict[int, tuple[socket.socket, Channel]] = {}
        self._watch: threading.Thread | None = None
        self._wake, self._woken = socket.socketpair()
        try:
            if host:
                self._come()
            else:
                self._receive()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave: the others hear of an error that ends this host's part."""
        if error is not None:
            self.end(f"it was ended by {type(error).__name__}")
        self.close()

    def agree(self, terms: Mapping[str, Any], machine: str = "") -> bool:
        """Compare what the hosts were told; tell whether two of them are one machine.

        Args:
            terms: what must be equal on all hosts. Raises MeetingError, naming host and value.
            machine: tells machines apart.
        """
        ours = Word(host=self._host, terms=dict(terms), machine=machine)
        if self._host:
            self._say(ours)
            answer = self._hear(0)
        else:
            answer = self._answer(ours)
            with suppress(MeetingError):  # of one that is gone, as the answer says
                self._say(answer)
        if answer.failure is not None:
            raise MeetingError(answer.failure)
        return bool(answer.machine)

    def _answer(self, ours: Word) -> Word:
        """Return what all hosts are to be told of what they were told."""
        try:
            theirs = [self._hear(host) for host in sorted(self._others)]
        except MeetingError as error:
            return Word(host=0, failure=str(error))
        machines = [word.machine for word in (ours, *theirs)]
        shared = "shared" if len(set(machines)) < len(machines) else ""
        return Word(host=0, failure=_differences(ours, theirs), machine=shared)

    def watch(self, lost: Callable[[str], None]) -> None:
        """From now on, call `lost` with the reason, in a thread, when another host is lost."""
        self._watch = threading.Thread(target=self._listen, args=(lost,), daemon=True)
        self._watch.start()

    def end(self, failure: str | None) -> None:
        """Say to the others that this host is done, or why it failed; listen no more."""
        if self._watch is not None:
            self._wake.send(b"\0")
            self._watch.join()
            self._watch = None
        with suppress(MeetingError):  # whoever is gone needs no word
            self._say(Word(host=self._host, failure=failure))

    def _receive(self) -> None:
        """Wait until every other host has come."""
        _, port = parted(self._addresses[0])
        allowance = Allowance(self._wait_s)
        allowance.run()
        try:
            listener = socket.create_server(("", port), backlog=len(self._addresses))
        except OSError as error:
            raise MeetingError(
                f"port {port} of --hosts {self._addresses[0]} cannot be used here: {error}"
            ) from error
        with listener:
            while missing := set(range(1, len(self._addresses))) - self._others.keys():
                listener.settimeout(allowance.left_s or 1e-3)
                try:
                    end, _ = listener.accept()
                except TimeoutError:
                    reason = self._absence(missing)
                    with suppress(MeetingError):  # of one that has gone in the meantime
                        self._say(Word(host=0, failure=reason))
                    raise MeetingError(reason) from None
                self._let_in(end, allowance)

    def _let_in(self, end: socket.socket, allowance: Allowance) -> None:
        """Take a host's first word; a stranger's connection is closed."""
        channel = Channel(end)
        try:
            host = _word(channel, min(5.0, allowance.left_s or 1e-3)).host
        except (ChannelError, TimeoutError, ValidationError):
            end.close()
            return
        if host in range(1, len(self._addresses)) and host not in self._others:
            _keep_alive(end)
            self._others[host] = (end, channel)
        else:
            self._refuse(end, host)

    def _refuse(self, end: socket.socket, host: int) -> None:
        """Say why a host cannot take part."""
        reason = (
            f"--host {host} came twice, or is not in --hosts of the first host "
            f"({', '.join(self._addresses)}): give each machine an index of its own"
        )
        with end, suppress(OSError):
            end.sendall(Word(host=0, failure=reason).model_dump_json().encode() + b"\n")

    def _come(self) -> None:
        """Go to the first host, as soon as it is there."""
        allowance = Allowance(self._wait_s)
        allowance.run()
        pause = threading.Event()
        while True:
            try:
                end = socket.create_connection(
                    parted(self._addresses[0]), timeout=allowance.left_s or 1e-3
                )
                break
            except OSError as error:
                if not allowance.left_s:
                    raise MeetingError(f"{self._absence({0})} ({error})") from error
                pause.wait(RETRY_S)
        _keep_alive(end)
        self._others[0] = (end, Channel(end))
        self._say(Word(host=self._host))

    def _absence(self, missing: set[int]) -> str:
        """Return what to do about hosts that did not come."""
        who = ", ".join(f"host {i} ({self._addresses[i]})" for i in sorted(missing))
        return (
            f"{who} did not come within {self._wait_s:g} s (--wait): start the same command on "
            "every host, each with its own --host, and let the ports from those of --hosts upwards "
            "through between them"
        )

    def _say(self, word: Word) -> None:
        """Say something to every other host here. Raises MeetingError if one is gone."""
        line = word.model_dump_json().encode() + b"\n"
        gone = []
        for host, (end, _) in self._others.items():
            try:
                end.settimeout(self._wait_s)
                end.sendall(line)
            except OSError as error:
                gone.append(f"host {host} is gone: {error}")
        if gone:
            raise MeetingError("; ".join(gone))

    def _hear(self, host: int) -> Word:
        """Return a host's next word. Raises MeetingError if none comes."""
        try:
            return _word(self._others[host][1], self._wait_s)
        except (ChannelError, TimeoutError, ValidationError) as error:
            raise MeetingError(f"host {host} is gone: {error}") from error

    def _listen(self, lost: Callable[[str], None]) -> None:
        """Wait for words of the others until this host ends; the first host hands failures on."""
        awaited = {end: host for host, (end, _) in self._others.items()}
        while awaited:
            ready, _, _ = select.select([*awaited, self._woken], [], [])
            if self._woken in ready:
                return
            for end in ready:
                host = awaited.pop(end)
                try:
                    word = _word(self._others[host][1], self._wait_s)
                    reason = word.failure and f"host {word.host} failed: {word.failure}"
                except (ChannelError, TimeoutError, ValidationError) as error:
                    word = Word(host=host, failure=f"it is gone: {error}")
                    reason = f"host {host} is gone: {error}"
                if reason:
                    lost(reason)
                    if self._host == 0:
                        with suppress(MeetingError):
                            self._say(word)
                    return

    def close(self) -> None:
        """Close all connections, without a word."""
        for end, _ in self._others.values():
            end.close()
        self._wake.close()
        self._woken.close()


def parted(address: str) -> tuple[str, int]:
    """Return the name and the port of an address, `NAME:PORT`."""
    name, _, port = address.rpartition(":")
    return name, int(port)


def _word(channel: Channel, timeout_s: float) -> Word:
    """Return the next word. Raises ChannelError, TimeoutError, or ValidationError for no word."""
    return Word.model_validate_json(channel.receive_line(timeout_s))


def _differences(ours: Word, theirs: list[Word]) -> str | None:
    """Return in what hosts differ, in words; None if in nothing."""
    found = [
        f"host {word.host} has {name} {word.terms.get(name)}, host 0 has {ours.terms.get(name)}"
        for word in theirs
        for name in sorted(ours.terms.keys() | word.terms.keys())
        if word.terms.get(name) != ours.terms.get(name)
    ]
    if not found:
        return None
    return f"{'; '.join(found)}: all hosts need the same releases and the same options"


def _keep_alive(end: socket.socket) -> None:
    """Have the system notice when the machine at the other end is gone."""
    end.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in KEEPALIVE:
        if hasattr(socket, name):  # macOS lacks one
            end.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
