"""Several devices: which cells are run, that they learn what one device does, and what it says."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

import numpy as np
import psutil
import pytest
import samples
from click.testing import CliRunner
from test_launch import Recorder, fake
from test_meeting import free_addresses

from fmnist import grid
from fmnist.cli import main
from fmnist.grid import Cell
from fmnist.options import PlanError
from fmnist.record import Record, read
from fmnist.report.choose import assembled
from fmnist.report.render import render
from fmnist.report.scaling_table import scaling as scaling_table
from fmnist.session import scaling
from fmnist.session.plan import Plan
from fmnist.training.distributed.spread import Shards

MakePlan = Callable[..., Plan]
SCRIPT = Path(__file__).with_name("spread_script.py")
SAME_LOSS = 1e-4
"""Relative: what another order of sums makes of a loss in three epochs, with room to spare."""
LIMIT_S = 120
INTERRUPT_AGAIN_S = 5


def test_groups_set_several_devices_beside_one(make_plan: MakePlan) -> None:
    """Strong scaling keeps the batch, weak has it grow; one device comes first in every group."""
    plan = make_plan(backends="jax", replicas="2,5", scaling="strong,weak", batch_size=50)
    ((one, *others),) = scaling.groups(plan)

    assert (one.replicas, one.batch_size) == (1, 50)
    assert [(c.replicas, c.batch_size) for c in others] == [(2, 50), (2, 100), (5, 50), (5, 250)]
    assert scaling.groups(make_plan(backends="jax")) == []


@pytest.mark.parametrize(
    ("own", "message"),
    [
        ({"replicas": "3"}, "a batch of 100 images does not divide over 3 replicas; over these"),
        ({"replicas": "two"}, "--replicas takes counts like 2,4, got 'two'"),
        ({"replicas": "0"}, "--replicas takes counts"),
        ({"replicas": "2", "scaling": "sideways"}, "unknown scaling 'sideways'"),
        ({"replicas": "4", "scaling": "weak"}, "batch size 400 does not divide the sets"),
        ({"replicas": "5000"}, "there must be 1 to 1024 replicas"),
        ({"replicas": "2", "modes": "tuned"}, "--replicas is for --modes stock and --xla auto"),
        ({"replicas": "2", "ray": "auto"}, "--replicas is not for --ray or --slurm"),
    ],
)
def test_replicas_that_cannot_be_are_refused(
    make_plan: MakePlan, own: dict[str, str], message: str
) -> None:
    """What cannot be spread evenly is an error before anything starts, and says what fits."""
    with pytest.raises(ValueError, match=message):
        scaling.groups(make_plan(**own))


def test_more_replicas_than_gpus_are_refused(make_plan: MakePlan) -> None:
    """A machine with fewer GPUs than replicas is named as such."""
    plan = make_plan()
    cell = Cell("softmax_regression", "jax", "gpu", replicas=2)

    with pytest.raises(PlanError, match="need as many GPUs, it has 0"):
        scaling.check_devices(plan, cell)


@pytest.mark.parametrize(
    ("hosts", "host", "message"),
    [
        ("a:1,b", 0, "--hosts takes NAME:PORT"),
        ("a:1", 0, "at least two addresses"),
        ("a:1,a:1", 0, "all different"),
        ("a:1,b:1", 2, "--host must be from 0 to 1"),
        ("a:1,b:99999", 0, "--hosts takes NAME:PORT"),
        ("[::1]:1,[::1]:2", 0, "names or IPv4 addresses"),
    ],
)
def test_hosts_that_cannot_be_are_refused(hosts: str, host: int, message: str) -> None:
    """Addresses and index are checked before anybody is waited for, with exit status 2."""
    arguments = ["scale", "--preset", "smoke", "--hosts", hosts, "--host", str(host)]
    ended = CliRunner().invoke(main, arguments)

    assert ended.exit_code == 2
    assert message in ended.output


def test_hosts_take_each_image_once_in_one_order() -> None:
    """In every step the hosts' parts make the whole batch, and another epoch has another order."""
    images, labels = np.arange(24), np.arange(24)
    alone = Shards(images, labels, batch_size=6, host=0, hosts=1, seed=1)
    parts = [Shards(images, labels, batch_size=6, host=h, hosts=3, seed=1) for h in range(3)]
    orders = []
    for epoch in range(2):
        for shards in (alone, *parts):
            shards.begin(epoch)
        whole = np.concatenate([shards.indices() for shards in parts], axis=1)
        assert (whole == alone.indices()).all()
        assert sorted(whole.ravel()) == list(range(24))
        orders.append(whole)

    assert (orders[0] != orders[1]).any()


def test_virtual_devices_are_asked_for_in_the_environment() -> None:
    """A worker of several replicas on a processor has as many devices before it starts."""
    alone, spread = Cell("dense3", "jax", "cpu"), Cell("dense3", "jax", "cpu", replicas=2)

    assert "JAX_NUM_CPU_DEVICES" not in grid.env_for(alone, {})
    assert grid.env_for(spread, {})["JAX_NUM_CPU_DEVICES"] == "2"


def test_records_of_several_devices_have_their_own_task(make_plan: MakePlan, trace: Path) -> None:
    """A session with replicas holds records of task scale beside its others, one each."""
    plan = make_plan(replicas="2")
    with plan.begun():
        records = list(scaling.run_scaling(plan, Recorder(), fake(trace)))

    assert [(r.backend, r.replicas, r.failure) for r in records] == [
        (backend, replicas, None)
        for backend in dict.fromkeys(c.backend for c in plan.cells)
        for replicas in (1, 2)
    ]
    assert {r.task for r in records} == {"scale"}
    assert read(plan.records_path)[0] == records


def scaled(replicas: int, epoch_s: Sequence[float], **own: object) -> Record:
    """Return a record of so many replicas."""
    return samples.record(task="scale", replicas=replicas, epoch_s=tuple(epoch_s), **own)


def test_table_shows_speed_up_and_efficiency() -> None:
    """Four replicas that are three times as fast have a speed-up of 3 and 75 % efficiency."""
    table = scaling_table(
        [scaled(1, (6.0, 6.6)), scaled(4, (2.0, 2.2)), scaled(4, (2.4, 2.6), batch_size=400)]
    )

    assert table is not None
    rows = [dict(zip(table.header, row, strict=True)) for row in table.rows]
    assert [row["scaling"] for row in rows] == ["-", "strong", "weak"]
    assert rows[1]["speed-up"].startswith("3.00")
    assert rows[1]["efficiency [%]"].startswith("75.0")
    assert "good for" not in table.header


def test_devices_of_two_sessions_are_in_no_ratio() -> None:
    """One device and several are held together only where they ran in turn."""
    table = scaling_table([scaled(1, (6.0, 6.6)), scaled(4, (2.0, 2.2), session="another")])

    assert table is not None
    column = table.header.index("speed-up")
    assert [row[column] for row in table.rows] == ["-", "-"]


def test_sessions_of_several_devices_stay_apart() -> None:
    """A later session with other cells takes no row away from an earlier one."""
    first = [scaled(n, (6.0, 6.6), session="20261121-000000-aaaa") for n in (1, 2)]
    second = [scaled(n, (6.0, 6.6), session="20261122-000000-bbbb") for n in (1, 4)]

    assert [len(run) for run in assembled([*first, *second])] == [2, 2]


def test_shared_processor_is_marked() -> None:
    """Times of virtual devices are said to be good for correctness only, in row and terms."""
    table = scaling_table([scaled(1, (6.0,)), scaled(2, (6.0,), shared_device=True)])

    assert table is not None
    assert [row[table.header.index("good for")] for row in table.rows] == ["-", "correctness only"]
    assert "say nothing of as many devices" in render(table, "text")


def losses(backend: str, model: str, replicas: int, hosts: int = 1) -> list[list[float]]:
    """Return the losses of three epochs on every host, from real processes of a real backend."""
    addresses = free_addresses(hosts) if hosts > 1 else ()
    cell = Cell(model, backend, "cpu", batch_size=60, replicas=replicas, hosts=hosts)
    started = [
        subprocess.Popen(
            [sys.executable, str(SCRIPT), model, str(replicas), str(host), *addresses],
            env=grid.env_for(cell, os.environ),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for host in range(hosts)
    ]
    told = [process.communicate(timeout=4 * LIMIT_S) for process in started]
    for process, (_, errors) in zip(started, told, strict=True):
        assert process.returncode == 0, errors
    lines = [next(x for x in out.splitlines() if x.startswith("{")) for out, _ in told]
    return [json.loads(line)["losses"] for line in lines]


@pytest.mark.slow
@pytest.mark.parametrize("backend", list(grid.BACKENDS))
@pytest.mark.parametrize("model", ["dense3", "lenet_dropout"])
def test_replicas_learn_what_one_device_does(backend: str, model: str) -> None:
    """Two and three virtual devices have the loss curve of one, from the same weights."""
    (alone,) = losses(backend, model, 1)
    for replicas in (2, 3):
        (spread,) = losses(backend, model, replicas)
        assert spread == pytest.approx(alone, rel=SAME_LOSS)


@pytest.mark.slow
@pytest.mark.parametrize("backend", list(grid.BACKENDS))
@pytest.mark.parametrize("hosts", [2, 4])
def test_hosts_learn_what_one_process_does(backend: str, hosts: int) -> None:
    """Processes that meet over the network have the loss curve of one with as many devices."""
    (alone,) = losses(backend, "lenet_dropout", hosts)
    across = losses(backend, "lenet_dropout", hosts, hosts)

    assert across == [across[0]] * hosts
    assert across[0] == pytest.approx(alone, rel=SAME_LOSS)


class Host:
    """`fmnist scale` on one host, as a person starts it."""

    def __init__(
        self, folder: Path, addresses: Sequence[str], host: int, *more: str, rounds: int = 2
    ) -> None:
        self.results = folder / f"results{host}"
        self._output = (folder / f"host{host}.txt").open("w+")
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "fmnist", "scale", "--preset", "smoke"),
                *("--models", "softmax_regression", "--batch-size", "50", "--data-dir=stand-in"),
                *("--hosts", ",".join(addresses), "--host", str(host), f"--rounds={rounds}"),
                *(f"--results={self.results}", *more),
            ],
            stdout=self._output,
            stderr=subprocess.STDOUT,
        )

    def end(self) -> tuple[int, str, list[Record]]:
        """Wait for the end; return the exit status, what was printed, and the records."""
        status = self.process.wait(4 * LIMIT_S)
        self._output.seek(0)
        text = self._output.read()
        self._output.close()
        files = self.results.rglob("*.jsonl")
        return status, text, [record for file in files for record in read(file)[0]]

    def kill(self) -> None:
        """End it, whatever it does."""
        self.process.kill()
        self.process.wait()
        self._output.close()

    def worker(self) -> psutil.Process:
        """Return its worker, once that trains: it is imported and built in half that time."""
        while self.process.poll() is None:
            for child in psutil.Process(self.process.pid).children():
                with suppress(psutil.NoSuchProcess):  # what is asked of the machine before
                    if "fmnist.training.worker" in child.cmdline() and child.cpu_times().user > 6:
                        return child
        raise AssertionError(f"it ended before a worker started: {self.end()[1]}")


def interrupt(process: psutil.Process) -> None:
    """End a process by KeyboardInterrupt, sent again for as long as it goes on.

    Python ignores one that falls into a callback of its garbage collector. TensorFlow imports JAX
    where that is installed, and JAX has such a callback.
    """
    for _ in range(LIMIT_S // INTERRUPT_AGAIN_S):
        with suppress(psutil.TimeoutExpired, psutil.NoSuchProcess):
            process.send_signal(signal.SIGINT)
            process.wait(INTERRUPT_AGAIN_S)
            return


@pytest.fixture
def addresses() -> tuple[str, ...]:
    """Two addresses of this machine, with free ports above them."""
    servers = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    ports = [server.getsockname()[1] for server in servers]
    for server in servers:
        server.close()
    return tuple(f"127.0.0.1:{port}" for port in ports)


@pytest.fixture
def start(tmp_path: Path, addresses: tuple[str, ...]) -> Iterator[Callable[..., list[Host]]]:
    """A function that starts both hosts, with options of each; what is left is ended."""
    with ExitStack() as stack:

        def started(*options: Sequence[str], rounds: int = 2) -> list[Host]:
            hosts = [
                Host(tmp_path, addresses, i, *own, rounds=rounds) for i, own in enumerate(options)
            ]
            for host in hosts:
                stack.callback(host.kill)
            return hosts

        yield started


@pytest.mark.slow
def test_two_hosts_as_a_person_starts_them(
    tmp_path: Path, start: Callable[..., list[Host]]
) -> None:
    """Both backends train across two hosts; the first one's records alone count in its results."""
    hosts = start((), ())
    (status, text, records), (other_status, _, others) = [host.end() for host in hosts]

    assert (status, other_status) == (0, 0), text
    assert {r.backend for r in records} == set(grid.BACKENDS)
    assert {(r.hosts, r.replicas, r.failure) for r in records} == {(2, 2, None)}
    assert all(r.shared_device for r in records)
    assert [r.history for r in records] == [r.history for r in others]
    assert "Scaling" in text
    assert not list((tmp_path / "results1" / "raw").glob("*"))


@pytest.mark.slow
@pytest.mark.parametrize("backend", list(grid.BACKENDS))
@pytest.mark.parametrize("what", ["worker", "exception", "command"])
def test_lost_host_ends_the_run_on_every_host(
    start: Callable[..., list[Host]], backend: str, what: str
) -> None:
    """A worker killed or ended by an exception, or its command killed: the other host says so."""
    more = ("--backends", backend, f"--time-limit={10 * LIMIT_S}")
    hosts = start(more, more, rounds=100_000)
    worker = hosts[1].worker()
    if what == "exception":
        interrupt(worker)
    else:
        (hosts[1].process if what == "command" else worker).kill()
    status = hosts[0].process.wait(LIMIT_S)  # far below its time limit
    _, text, (record,) = hosts[0].end()
    hosts[1].end()

    assert status == 1
    assert "host 1" in (record.failure or "")
    assert ("is gone" if what == "command" else "failed: ") in (record.failure or ""), text


@pytest.mark.slow
def test_hosts_with_other_options_do_not_start(start: Callable[..., list[Host]]) -> None:
    """Hosts that were told another seed say so on each of them, and train nothing."""
    hosts = start(*(("--backends=jax", f"--seed={host}") for host in (0, 1)))
    ends = [host.end() for host in hosts]

    assert [status for status, _, _ in ends] == [1, 1]
    assert all("host 1 has seed 1, host 0 has 0" in text for _, text, _ in ends)
    assert all(record.epoch_s == () for _, _, records in ends for record in records)
