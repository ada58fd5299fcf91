"""The fleet of this one machine: units one after the other, each in a process of its own."""

from collections.abc import Iterable, Iterator

from fmnist.fleet.apart import UnitLostError, carry_out_apart
from fmnist.fleet.unit import Outcome, Unit


class Here:
    """This machine as a fleet."""

    def outcomes(self, units: Iterable[Unit]) -> Iterator[tuple[Unit, Outcome]]:
        """Yield every unit with its outcome, in their order."""
        for unit in units:
            try:
                host, told = carry_out_apart(unit.model_dump_json(), unit.flags)
                outcome = Outcome.model_validate_json(told)
            except UnitLostError as error:
                host, outcome = "", Outcome(refusal=str(error))
            yield unit, outcome.model_copy(update={"node": host, "place": host})

    def close(self) -> None:
        """Do nothing: no unit is out when none is asked for."""
