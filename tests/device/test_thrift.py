"""A process that waits holds little: what it worked with goes back to the system."""

from __future__ import annotations

from pathlib import Path

MOST = 90


def resident(running):
    for line in Path(f"/proc/{running.process.pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    raise AssertionError


def test_a_process_that_waits_after_a_backlog_holds_at_most_90_megabytes_and_goes_on(sensor, folder, command):
    sensor.create()
    sensor.add(100_000)
    running = command(sensor.path, folder, node_id="n1", interval=3600).start(fresh=True)
    running.wait_for("cycle finished", timeout=60)
    assert running.peak_megabytes() > MOST
    running.wait_until(lambda: resident(running) <= MOST, what="memory that is given back")
    assert running.terminate() == 0
    assert folder.read("_1_schematized").height == 100_000


def test_several_sources_give_it_back_too(sensor, folder, command):
    for table in ("readings", "events"):
        sensor.create(table)
        sensor.add(50_000, table)
    table_path = folder.base + "/{table}"
    edge = command(sensor.path, folder, node_id="n1", all_tables=True, table_path=table_path, interval=3600)
    running = edge.start(fresh=True)
    running.wait_for("cycle finished", count=2, timeout=60)
    running.wait_until(lambda: resident(running) <= MOST, what="memory that is given back")
    assert running.terminate() == 0
