"""The log of events on a disk that is full."""

import pytest

from cawa_core.storage import StorageError
from workflows.running.events import event_log


def test_a_log_that_takes_no_more_is_one_line():
    message = r"^log /dev/full cannot be written: No space left on device; fix that or choose another --log"
    with pytest.raises(StorageError, match=message), event_log("/dev/full") as log:
        log.write("started", shards=3)
