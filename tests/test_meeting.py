"""The hosts of one training meet, agree, and hear of one another's end."""

import socket
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from fmnist.session.meeting import Meeting, MeetingError, parted

WAIT_S = 20.0


def free_addresses(hosts: int) -> tuple[str, ...]:
    """Return an address for each host, the first one's port free."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    return tuple(f"127.0.0.1:{port + i}" for i in range(hosts))


def meet(addresses: tuple[str, ...], wait_s: float = WAIT_S) -> list[Meeting]:
    """Have all hosts meet, each in a thread; return their meetings."""
    with ThreadPoolExecutor(len(addresses)) as pool:
        hosts = range(len(addresses))
        return list(pool.map(lambda host: Meeting(addresses, host, wait_s), hosts))


def told(calls: list[Callable[[], None]]) -> list[str | None]:
    """Return what each call, all at once, raises as a MeetingError; None for nothing."""
    with ThreadPoolExecutor(len(calls)) as pool:
        futures: list[Future[None]] = [pool.submit(call) for call in calls]
    errors = [future.exception() for future in futures]
    assert all(error is None or isinstance(error, MeetingError) for error in errors)
    return [None if error is None else str(error) for error in errors]


def watched(meeting: Meeting) -> tuple[threading.Event, list[str]]:
    """Have a meeting watched; return what is set when a host is lost, and the reasons."""
    lost, reasons = threading.Event(), list[str]()

    def note(reason: str) -> None:
        reasons.append(reason)
        lost.set()

    meeting.watch(note)
    return lost, reasons


@pytest.mark.parametrize("hosts", [2, 4])
def test_hosts_with_the_same_terms_agree(hosts: int) -> None:
    """Nobody complains where all were told the same, and none is lost when all end well."""
    with ExitStack() as stack:
        meetings = [stack.enter_context(m) for m in meet(free_addresses(hosts))]
        assert told([lambda m=m: m.agree({"seed": 1}) for m in meetings]) == [None] * hosts  # type: ignore[misc]
        watches = [watched(m) for m in meetings]
        for meeting in meetings:
            meeting.end(None)

    assert [reasons for _, reasons in watches] == [[]] * hosts


def test_difference_is_named_on_every_host() -> None:
    """A host that was told something else is named, with both values, wherever one looks."""
    with ExitStack() as stack:
        meetings = [stack.enter_context(m) for m in meet(free_addresses(3))]
        terms = [{"jax": "0.10.2"}, {"jax": "0.10.2"}, {"jax": "0.9.1"}]
        errors = told(
            [lambda m=m, t=t: m.agree(t) for m, t in zip(meetings, terms, strict=True)]  # type: ignore[misc]
        )

    assert all("host 2 has jax 0.9.1, host 0 has 0.10.2" in (error or "") for error in errors)


@pytest.mark.parametrize("host", [0, 1])
def test_absent_host_is_named_when_the_time_is_over(host: int) -> None:
    """Who waits in vain is told for whom, for how long, and what to do."""
    with pytest.raises(MeetingError) as caught:
        Meeting(free_addresses(2), host, 0.3)

    assert f"host {1 - host} (127.0.0.1:" in str(caught.value)
    assert "did not come within 0.3 s (--wait): start the same command" in str(caught.value)


def test_hosts_that_came_are_told_who_did_not() -> None:
    """Of three hosts the third is absent: the second one learns it from the first."""
    addresses = free_addresses(3)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(Meeting, addresses, 0, 1.0)
        second = pool.submit(Meeting, addresses, 1, WAIT_S).result()
        with second, pytest.raises(MeetingError, match=r"host 2 .* did not come within 1 s"):
            second.agree({})
        with pytest.raises(MeetingError, match="host 2"):
            first.result()


def test_hosts_on_one_machine_are_known_as_such() -> None:
    """Whether two hosts are one machine is told to all, by what the machines say of themselves."""
    for machines, shared in ((["a", "b", "c"], False), (["a", "b", "a"], True)):
        with ExitStack() as stack:
            meetings = [stack.enter_context(m) for m in meet(free_addresses(3))]
            with ThreadPoolExecutor(3) as pool:
                found = list(pool.map(lambda m, machine: m.agree({}, machine), meetings, machines))
        assert found == [shared] * 3


def test_failure_of_a_host_is_heard_by_all() -> None:
    """The reason of one host's failure reaches every other one, not only the first."""
    with ExitStack() as stack:
        meetings = [stack.enter_context(m) for m in meet(free_addresses(3))]
        watches = [watched(m) for m in meetings]
        meetings[2].end("out of memory")
        heard = [lost.wait(WAIT_S) for lost, _ in watches[:2]]

    assert heard == [True, True]
    assert [reasons for _, reasons in watches[:2]] == [["host 2 failed: out of memory"]] * 2


def test_host_that_vanishes_is_missed_by_all() -> None:
    """A host whose process ends without a word is lost to every other one."""
    with ExitStack() as stack:
        meetings = meet(free_addresses(3))
        for meeting in meetings[:2]:
            stack.enter_context(meeting)
        watches = [watched(m) for m in meetings[:2]]
        meetings[2].close()  # what the system does for a process that is killed
        heard = [lost.wait(WAIT_S) for lost, _ in watches]

    assert heard == [True, True]
    assert "host 2 is gone" in watches[0][1][0]
    assert "host 2 failed: it is gone" in watches[1][1][0]


def test_stranger_at_the_port_is_not_taken_for_a_host() -> None:
    """A connection that talks something else is closed, and the hosts meet all the same."""
    addresses = free_addresses(2)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(Meeting, addresses, 0, WAIT_S)
        stranger = connected(addresses[0])
        stranger.sendall(b"GET / HTTP/1.1\r\n\r\n")
        second = pool.submit(Meeting, addresses, 1, WAIT_S)
        with first.result(), second.result(), stranger:
            assert stranger.recv(1) == b""


def test_index_that_is_given_twice_is_refused() -> None:
    """Two machines with one --host are told apart: the second one learns of its mistake."""
    addresses = free_addresses(3)
    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(Meeting, addresses, 0, WAIT_S)
        one = pool.submit(Meeting, addresses, 1, WAIT_S).result()
        again = pool.submit(Meeting, addresses, 1, WAIT_S).result()
        with again, pytest.raises(MeetingError, match="--host 1 came twice"):
            again.agree({})
        two = pool.submit(Meeting, addresses, 2, WAIT_S)
        with first.result(), one, two.result():
            pass


def test_port_in_use_is_named() -> None:
    """A port that something else holds is named, with the address that it stands in."""
    with socket.create_server(("", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(MeetingError, match=f"port {port} of --hosts .* cannot be used here"):
            Meeting((f"127.0.0.1:{port}", "127.0.0.1:1"), 0, 0.3)


def connected(address: str) -> socket.socket:
    """Return a connection to an address as soon as somebody listens there."""
    for _ in range(10**6):
        try:
            return socket.create_connection(parted(address), timeout=WAIT_S)
        except ConnectionRefusedError:
            continue
    raise AssertionError(f"nobody listens at {address}")
