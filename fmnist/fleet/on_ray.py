"""A Ray cluster as a fleet: each unit is a task in a fresh process that has a node to itself."""

import logging
import socket
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import Any

from fmnist.fleet.collect import FleetError, FleetStoppedError
from fmnist.fleet.unit import Outcome, Unit

INSTALL = 'pip install "fmnist[ray]"'
RESOURCE = "fmnist"
"""What a node declares that takes units: as many of it as it may have at once, so 1."""
DECLARE = "ray start ... --resources='{\"fmnist\": 1}'"
ACCELERATOR = "accelerator_type"
A_BIT = 0.001
"""Of the resource by which Ray places by type of GPU."""
RETRIES = 3
"""How often Ray runs a task again whose node or process died."""
PER_NODE = 2
"""Units that are out for each node: one runs, and one waits to."""
SOCKET_TIMEOUT_S = 5
PROBE_TIMEOUT_S = 30
BETWEEN_LOOKS_S = 10
"""At the nodes, while no unit comes back."""
PROBE = "import sys, ray; ray.init(sys.argv[1], log_to_driver=False, logging_level='ERROR')"


class OnRay:
    """The nodes of a Ray cluster.

    Args:
        address: `HOST:PORT` of the cluster's head, or `auto` for the one that this machine is in.
        accelerator: type of GPU that the nodes must have, as Ray calls it.

    Raises:
        FleetError: Ray is not installed, or the cluster cannot be had.
    """

    def __init__(self, address: str, accelerator: str | None = None) -> None:
        try:
            import ray
        except ImportError as error:
            raise FleetError(f"--ray needs Ray: {INSTALL}") from error
        _check_answers(address)
        self._ray: Any = ray  # its decorators would take our own types away
        self._accelerator = accelerator
        self._refused: set[str] = set()
        self._out: dict[Any, Unit] = {}
        try:
            ray.init(address, log_to_driver=False, logging_level=logging.ERROR)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise FleetError(f"--ray {address}: {error}") from error

    def outcomes(self, units: Iterable[Unit]) -> Iterator[tuple[Unit, Outcome]]:
        """Yield every unit with its outcome, in the order in which they come back.

        A node that refuses a unit gets no other one; what it refused is handed to the rest.
        """
        waiting = iter(units)
        while True:
            room = PER_NODE * len(self._alive()) - len(self._out)
            for unit in islice(waiting, max(0, room)):
                self._hand_out(unit)
            if not self._out:
                return
            ended, _ = self._ray.wait(list(self._out), num_returns=1, timeout=BETWEEN_LOOKS_S)
            if not ended:
                self._able(next(iter(self._out.values())))
            for task in ended:
                unit = self._out.pop(task)
                outcome = self._outcome_of(task)
                if outcome.refusal and outcome.node:
                    self._refused.add(outcome.node)
                    if self._willing(unit):
                        waiting = chain([unit], waiting)
                        continue
                yield unit, outcome

    def close(self) -> None:
        """Give up the tasks that are still out, and leave the cluster."""
        for task in self._out:
            self._ray.cancel(task, force=True)
        self._out.clear()
        self._ray.shutdown()

    def _hand_out(self, unit: Unit) -> None:
        """Submit a unit as a task, for the nodes that did not refuse one."""
        options = self._options(unit)
        if self._refused and self._willing(unit):
            others = f"!in({','.join(sorted(self._refused))})"
            options["label_selector"] = {"ray.io/node-id": others}
        task = self._ray.remote(max_calls=1, max_retries=RETRIES)(_on_node()).options(**options)
        self._out[task.remote(unit.model_dump_json(), unit.flags, unit.assigned)] = unit

    def _options(self, unit: Unit) -> dict[str, Any]:
        """Return Ray's options for what a unit takes of a node."""
        takes = self._able(unit)[0]
        options: dict[str, Any] = {
            "num_cpus": takes.pop("CPU", 0),
            "num_gpus": takes.pop("GPU", 0),
        }
        if self._accelerator:
            options["accelerator_type"] = self._accelerator
            takes.pop(f"{ACCELERATOR}:{self._accelerator}")
        return options | {"resources": takes}

    def _able(self, unit: Unit) -> tuple[dict[str, float], list[str]]:
        """Return what a unit takes of a node, and which nodes that are alive have all of it.

        Raises FleetStoppedError if there is none.
        """
        nodes = self._alive()
        takes = taken(unit, self._accelerator, list(nodes.values()))
        able = [
            node
            for node, has in nodes.items()
            if all(has.get(name, 0) >= amount for name, amount in takes.items())
        ]
        if not able:
            listed = ", ".join(f"{name} {amount:g}" for name, amount in takes.items())
            raise FleetStoppedError(
                f"a unit takes {listed} of one node, and of the {len(nodes)} nodes of this Ray "
                f"cluster none has that: start one that does, then --resume; see `ray status`"
            )
        return takes, able

    def _willing(self, unit: Unit) -> list[str]:
        """Return the nodes that are able and did not refuse a unit."""
        return [node for node in self._able(unit)[1] if node not in self._refused]

    def _alive(self) -> dict[str, Mapping[str, float]]:
        """Return the resources of each node that is alive."""
        return {n["NodeID"]: n["Resources"] for n in self._ray.nodes() if n["Alive"]}

    def _outcome_of(self, task: Any) -> Outcome:  # noqa: ANN401  # a reference
        """Return what a task that has ended left."""
        try:
            node, told = self._ray.get(task)
        except self._ray.exceptions.RayTaskError as error:
            return Outcome(refusal=f"{type(error.cause).__name__}: {error.cause}")
        except self._ray.exceptions.RayError as error:
            return Outcome(refusal=f"lost on {1 + RETRIES} nodes: {str(error).splitlines()[0]}")
        outcome = Outcome.model_validate_json(told)
        places = {n["NodeID"]: n["NodeManagerHostname"] for n in self._ray.nodes()}
        return outcome.model_copy(update={"node": node, "place": places.get(node, "")})


def taken(
    unit: Unit, accelerator: str | None, nodes: Sequence[Mapping[str, float]]
) -> dict[str, float]:
    """Return what a unit takes of a node, by Ray's names of resources.

    A GPU where all its cells run on one; else a whole node: the resource `fmnist` where nodes
    declare it, or all processors where all nodes that have any have the same number of them.

    Raises FleetStoppedError if it is not clear what a whole node is.
    """
    some: dict[str, float] = {"GPU": 1} if "gpu" in unit.devices else {}
    if accelerator:
        some[f"{ACCELERATOR}:{accelerator}"] = A_BIT
    if "cpu" not in unit.devices:
        return some
    if any(RESOURCE in node for node in nodes):
        return some | {RESOURCE: 1}
    counts = sorted({node["CPU"] for node in nodes if node.get("CPU")})
    if len(counts) > 1:
        listed = " and ".join(f"{count:g}" for count in counts)
        raise FleetStoppedError(
            f"a unit takes a whole node, and the nodes of this Ray cluster have {listed} "
            f"processors: declare which take units: {DECLARE}"
        )
    return some | {"CPU": counts[0] if counts else 1}


def _on_node() -> Any:  # noqa: ANN401  # a function, that Ray is to send as it is
    """Return what runs on a node. It is sent whole, so that a node without the suite can say so."""

    def carry_out(unit: str, flags: dict[str, str], assigned: tuple[str, ...]) -> tuple[str, str]:
        import json

        import ray

        try:
            from fmnist.fleet import apart

            _, outcome = apart.carry_out_apart(unit, flags, assigned)
        except (ImportError, RuntimeError) as error:  # no suite here, or the unit was lost
            outcome = json.dumps({"refusal": f"{type(error).__name__}: {error}"})
        return ray.get_runtime_context().get_node_id(), outcome

    return carry_out


def _check_answers(address: str) -> None:
    """Raise FleetError if no Ray cluster answers there within half a minute.

    Ray itself would try for two, and then end the process; so another process tries it first.
    """
    host, _, port = address.rpartition(":")
    if address.startswith("ray://"):
        raise FleetError(
            f"--ray {address}: Ray's client is not supported: run this on a machine of the "
            f"cluster (`ray start --address=HOST:PORT --num-cpus=0` makes it one), by --ray auto"
        )
    if address != "auto":
        if not host or not port.isdigit():
            raise FleetError(f"--ray must be HOST:PORT of a cluster's head, or auto, got {address}")
        try:
            socket.create_connection((host, int(port)), SOCKET_TIMEOUT_S).close()
        except (OSError, OverflowError) as error:
            raise FleetError(
                f"--ray {address}: nothing answers there ({error}); `ray status` on a machine of "
                f"the cluster tells its address"
            ) from error
    command = [sys.executable, "-c", PROBE, address]
    try:
        answer = subprocess.run(  # noqa: S603  # our own program
            command, capture_output=True, text=True, timeout=PROBE_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise FleetError(
            f"--ray {address}: no Ray cluster answers there in {PROBE_TIMEOUT_S} s; is it the "
            f"port of the head, by default 6379?"
        ) from error
    if answer.returncode != 0:
        said = (answer.stderr.strip().splitlines() or ["it ended without a word"])[-1]
        raise FleetError(f"--ray {address}: {said}")
