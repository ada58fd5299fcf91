"""One model on several devices beside one: `--replicas 2,4`, with `--scaling strong,weak`.

Throughput, speed-up and efficiency with their intervals stand in the table below. On a processor
the devices are virtual, which shows that the work is right and says nothing of its speed.
"""

from engine import Replay

from fmnist.record import Record


def test_scaling(scaled: list[Record], replay: Replay) -> None:
    """An epoch takes this long on so many devices, and the model learns on them."""
    replay([seconds for record in scaled for seconds in record.epoch_s], scaled)
    assert all(record.history[-1].train_loss < record.history[0].train_loss for record in scaled)
