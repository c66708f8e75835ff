"""What the service's log says of a disk that is low."""

import threading

import structlog

from treering_ingest.disk import DiskGuard


def test_low_is_said_once_when_it_begins_and_once_when_it_is_over() -> None:
    free, now = [100], [0.0]
    disk = DiskGuard(lambda: free[0], 50, lambda: now[0])
    with structlog.testing.capture_logs() as said:
        for free[0], seen in ((80, False), (40, True), (30, True), (60, False), (40, True), (70, False), (70, False)):
            now[0] += 0.7
            assert disk.is_low is seen
            assert disk.check() is seen
        assert [entry["log_level"] for entry in said] == ["warning", "info"]
        assert (said[0]["free_bytes"], said[0]["reserve_bytes"], said[1]["free_bytes"]) == (40, 50, 70)
        free[0], now[0] = 10, now[0] + 1
        assert disk.check()
    assert [entry["log_level"] for entry in said] == ["warning", "info", "warning"]


def test_what_is_spent_while_another_thread_measures_counts() -> None:
    now, spending = [0.0], []

    def measure() -> int:
        if now[0]:
            # The door spends on its thread, after this measurement has begun; it may wait for the end of it.
            spending.append(threading.Thread(target=disk.spend, args=(60,)))
            spending[0].start()
            spending[0].join(0.2)
        return 100

    disk = DiskGuard(measure, 50, lambda: now[0])
    now[0] = 1.0
    assert disk.free_bytes in {40, 100}
    spending[0].join()
    assert (disk.free_bytes, disk.is_low) == (40, True)
