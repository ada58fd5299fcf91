"""Print the steady epoch of each cell of a records file, with its interval."""

import sys
from pathlib import Path

from fmnist.record import read
from fmnist.report.choose import sessions_of
from fmnist.report.summary import summaries

records, damaged = read(Path(sys.argv[1]))
for line in damaged:
    print("left out:", line, file=sys.stderr)
for session in sessions_of(records):
    for summary in summaries(session):
        epoch = summary.epoch
        print(summary.cell.id, epoch.value, epoch.low, epoch.high)
