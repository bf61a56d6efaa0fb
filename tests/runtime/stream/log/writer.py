"""A process that appends events until it is ended, and says what has been taken in: python writer.py FOLDER SYNC."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

from runtime.stream.log.errors import LogError
from runtime.stream.log.log import EventLog
from tests.runtime.stream.log.made import events_of

folder, sync = Path(sys.argv[1]), sys.argv[2] == "sync"
log = EventLog(folder, sync=sync, segment_bytes=20_000)
for number in itertools.count():
    count = number % 97 + 1
    try:
        first = log.append(events_of([log.next_offset + place for place in range(count)]), number)
    except LogError as error:
        print("refused", error, flush=True)
        sys.exit(3)
    print(first, count, flush=True)
