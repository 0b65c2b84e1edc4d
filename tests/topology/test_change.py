"""Settings that change while the process runs."""

from __future__ import annotations

import os
import random
import time

import pytest

from tests.support import modes
from tests.support.sqlite import LiveWriter
from tests.support.tables import assert_each_once

KEYS = {"raw": ("_0_raw", "source_rowid"), "schematized": ("_1_schematized", "reading_id"),
        "sanitized": ("_2_sanitized", "reading_id")}  # fmt: skip


class Live:
    """A running process and its settings file."""

    def __init__(self, tmp_path, sensor, place, command, **settings):
        self.file = tmp_path / "settings.toml"
        self.place = place
        self.settings = {
            "table_path": place.base,
            "processing_mode": "raw",
            "node_id": "n1",
            "interval": 0.1,
            "max_batch_size": 100,
        } | settings
        self.write()
        self.edge = command(sensor.path, place, config=self.file, table_path=None, interval=None)
        self.process = self.edge.start()
        self.process.wait_for("cycle finished")

    def write(self, *, replacing=False, text=None):
        text = modes.toml(self.settings) if text is None else text
        if replacing:
            other = self.file.with_suffix(".new")
            other.write_text(text, encoding="utf-8")
            other.replace(self.file)
        else:
            self.file.write_text(text, encoding="utf-8")

    def change(self, *, replacing=False, **settings):
        self.settings |= settings
        self.write(replacing=replacing)

    def ids(self, mode):
        suffix, key = KEYS[mode]
        return self.place.read(suffix)[key].to_list() if self.place.exists(suffix) else []

    def wait_for_row(self, mode, rowid):
        self.process.wait_until(lambda: rowid in self.ids(mode), what=f"row {rowid} in {mode}")

    def wait_for(self, event, **found):
        def probe():
            events = [e for e in self.process.named(event) if all(e.get(k) == v for k, v in found.items())]
            return events[-1] if events else None

        return self.process.wait_until(probe, what=f"{event} {found}", timeout=10)


@pytest.fixture
def live(tmp_path, sensor, folder, command):
    def start(**settings):
        return Live(tmp_path, sensor, folder, command, **settings)

    return start


def last_id(sensor, table="stations"):
    return sensor.run(f"SELECT max(id) FROM {table}")[0][0]


def test_a_mode_changed_ten_times_while_rows_flow_puts_every_row_into_exactly_one_table(live, sensor):
    sensor.create()
    sensor.add(500)
    running = live(max_batch_size=37)
    chance = random.Random(4)
    before = "raw"
    with LiveWriter(sensor.path, rate=400) as writer:
        for change in range(10):
            mode = chance.choice([m for m in KEYS if m != before])
            running.change(replacing=change % 2 == 1, processing_mode=mode)
            detail = f"processing mode changed from {before!r} to {mode!r}"
            running.process.wait_until(
                lambda n=change + 1: len(running.process.named("processing mode changed")) == n, what=detail, timeout=10
            )
            told = running.process.named("processing mode changed")[-1]
            assert told["detail"] == detail
            assert told["routing"] == [f"routing to {running.place.uri(KEYS[mode][0])}"]
            before = mode
        writer.stop()
    last = last_id(sensor, "readings")
    running.wait_for_row(before, last)
    assert running.process.terminate() == 0
    delivered = [rowid for mode in KEYS for rowid in running.ids(mode)]
    assert_each_once(delivered, range(1, last + 1))
    assert all(running.ids(mode) for mode in KEYS)
    assert not running.place.exists("_rejected")


def test_backfill_catches_up_from_the_modes_own_cursor(live, sensor):
    modes.create(sensor)
    modes.insert(sensor, *({"timestamp": "2026-01-01", "temperature": 1.0} for _ in range(50)))
    running = live(on_mode_change="backfill")
    running.wait_for_row("raw", 50)
    running.change(processing_mode="schematized")
    running.wait_for_row("schematized", 50)
    modes.insert(sensor, {"timestamp": "2026-01-01"})
    running.wait_for_row("schematized", 51)
    running.change(processing_mode="raw")
    running.wait_for_row("raw", 51)
    assert running.process.terminate() == 0
    assert_each_once(running.ids("raw"), range(1, 52))
    assert_each_once(running.ids("schematized"), range(1, 52))


def test_a_mode_that_takes_over_says_where_it_begins_before_its_first_row(live, sensor):
    modes.create(sensor)
    modes.insert(sensor, *({"timestamp": "2026-01-01"} for _ in range(20)))
    running = live()
    running.wait_for_row("raw", 20)
    running.change(processing_mode="schematized")
    running.wait_for("processing mode changed")
    running.process.kill()
    # A crash before the first row of the new mode forgets nothing.
    modes.insert(sensor, {"timestamp": "2026-01-01"})
    running.edge.once().succeeded()
    assert running.ids("schematized") == [21]
    assert_each_once(running.ids("raw"), range(1, 21))


def test_a_mode_that_is_added_goes_on_where_the_others_stand_and_they_keep_their_cursors(live, sensor):
    modes.create(sensor)
    modes.insert(sensor, *({"timestamp": "2026-01-01"} for _ in range(30)))
    running = live()
    running.wait_for_row("raw", 30)
    running.change(processing_mode=["raw", "schematized"])
    running.wait_for("processing mode changed", new="raw+schematized")
    modes.insert(sensor, {"timestamp": "2026-01-01"})
    running.wait_for_row("schematized", 31)
    running.wait_for_row("raw", 31)
    assert running.process.terminate() == 0
    assert running.ids("schematized") == [31]
    assert_each_once(running.ids("raw"), range(1, 32))


def test_going_to_the_windows_and_back_leaves_one_row_a_window_and_group(live, sensor):
    modes.create(sensor)
    rows = [{"sensor_id": "a", "timestamp": f"2026-01-01T00:{i:02}:00Z", "pressure": float(i)} for i in range(12)]
    modes.insert(sensor, *rows)
    running = live(
        aggregate={"aggregations": {"pressure": ["sum"]}, "allowed_lateness": 0}, processing_mode="aggregated"
    )
    running.process.wait_for("batch committed")
    running.change(processing_mode="schematized")
    running.wait_for("processing mode changed", new="schematized")
    written = running.place.read("_3_aggregated")
    assert sorted(written["sum_pressure"]) == [10, 21, 35]  # the open window too: its rows went here
    modes.insert(sensor, {"sensor_id": "a", "timestamp": "2026-01-01T00:03:00Z", "pressure": 1000.0})
    running.wait_for_row("schematized", 13)
    running.change(processing_mode="aggregated")
    running.wait_for("processing mode changed", new="aggregated")
    modes.insert(sensor, {"sensor_id": "a", "timestamp": "2026-01-01T00:07:00Z", "pressure": 500.0})
    running.process.wait_until(
        lambda: 535 in running.place.read("_3_aggregated")["sum_pressure"].to_list(), what="the corrected window"
    )
    assert running.process.terminate() == 0
    assert sorted(running.place.read("_3_aggregated")["sum_pressure"]) == [10, 21, 535]
    assert running.ids("schematized") == [13]


def test_going_to_the_windows_from_another_mode_makes_the_same_table_as_starting_with_them(live, sensor, tmp_path):
    modes.create(sensor)
    modes.insert(sensor, {"sensor_id": "a", "timestamp": "2026-01-01T00:00:00Z", "pressure": 1.0})
    running = live(aggregate={"aggregations": {"pressure": ["sum"]}, "allowed_lateness": 0})
    running.wait_for_row("raw", 1)
    running.change(processing_mode="aggregated")
    running.wait_for("processing mode changed", new="aggregated")
    for minute in (10, 20):
        modes.insert(sensor, {"sensor_id": "a", "timestamp": f"2026-01-01T00:{minute}:00Z", "pressure": float(minute)})
    running.process.wait_until(lambda: running.place.read("_3_aggregated").height == 1, what="the first window")
    assert running.process.terminate() == 0
    alone = type(running.place)(str(tmp_path / "alone" / "readings"))
    modes.deliver(sensor.path, alone, "aggregated", flush=True, aggregate=running.settings["aggregate"])
    assert running.place.read("_3_aggregated").schema == alone.read("_3_aggregated").schema


def test_an_invalid_change_keeps_the_running_settings_and_logs_its_errors(live, sensor):
    modes.create(sensor)
    running = live()
    running.write(text=modes.toml(running.settings | {"processing_mode": "rar", "intervall": 3}))
    told = running.wait_for("settings not taken over")
    assert "2 problems" in told["error"]
    assert "did you mean interval?" in told["error"]
    assert "processing_mode" in told["error"]
    running.write(text="interval = [")
    running.process.wait_until(lambda: len(running.process.named("settings not taken over")) == 2, what="second error")
    assert "not valid TOML" in running.process.named("settings not taken over")[-1]["error"]
    modes.insert(sensor, {"timestamp": "2026-01-01"})
    running.wait_for_row("raw", 1)
    running.change(processing_mode="schematized")
    running.wait_for("processing mode changed", new="schematized")
    modes.insert(sensor, {"timestamp": "2026-01-01"})
    running.wait_for_row("schematized", 2)
    assert running.process.terminate() == 0


def test_a_change_that_does_not_fit_the_source_keeps_the_running_settings(live, sensor):
    modes.create(sensor)
    running = live()
    running.change(processing_mode="emergency", emergency={"severity_thresholds": {"radiation": 5}})
    told = running.wait_for("settings not taken over")
    assert "radiation" in told["error"]
    modes.insert(sensor, {"timestamp": "2026-01-01"})
    running.wait_for_row("raw", 1)
    assert not running.process.named("processing mode changed")
    assert running.process.terminate() == 0


def test_a_setting_that_takes_a_restart_is_said_and_the_others_are_taken_over(live, sensor, tmp_path):
    modes.create(sensor)
    running = live()
    running.change(table_path=str(tmp_path / "elsewhere"), max_batch_size=7)
    assert running.wait_for("settings need a restart")["keys"] == ["table_path"]
    changed = running.wait_for("settings changed", key="max_batch_size")
    assert (changed["old"], changed["new"]) == (100, 7)
    modes.insert(sensor, *({"timestamp": "2026-01-01"} for _ in range(20)))
    running.wait_for_row("raw", 20)
    assert max(e["rows"] for e in running.process.named("batch committed")) <= 7
    assert not (tmp_path / "elsewhere_0_raw").exists()
    assert running.process.terminate() == 0


def test_a_file_with_the_same_content_and_one_that_is_gone_for_a_moment_change_nothing(live, sensor):
    modes.create(sensor)
    running = live()
    running.write(replacing=True)
    running.file.rename(running.file.with_suffix(".away"))
    time.sleep(2.5)
    running.file.with_suffix(".away").rename(running.file)
    time.sleep(2.5)
    for event in ("settings changed", "settings not taken over", "settings need a restart"):
        assert not running.process.named(event)
    assert running.process.terminate() == 0


def test_a_change_of_the_same_size_and_time_is_seen(live, sensor):
    modes.create(sensor)
    running = live(interval=0.1)
    stat = running.file.stat()
    running.change(interval=0.2)
    os.utime(running.file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert running.file.stat().st_size == stat.st_size
    assert running.wait_for("settings changed", key="interval")["new"] == 0.2
    assert running.process.terminate() == 0


def test_a_change_during_an_outage_is_taken_over_when_it_is_over(tmp_path, sensor, proxy, wired_lake, command):
    modes.create(sensor)
    modes.insert(sensor, *({"timestamp": "2026-01-01"} for _ in range(10)))
    running = Live(tmp_path, sensor, wired_lake, command)
    running.process.wait_for("batch committed")
    proxy.down = True
    proxy.cut_all()
    running.change(processing_mode="schematized")
    running.wait_for("settings changed", key="processing_mode")
    running.process.wait_for("unavailable", timeout=30)
    proxy.clear()
    running.process.wait_until(lambda: running.process.named("processing mode changed"), what="the change", timeout=40)
    modes.insert(sensor, {"timestamp": "2026-01-01"})
    table = wired_lake.uri("_1_schematized")
    running.wait_for("batch committed", table=table)
    assert running.process.terminate() == 0
    assert wired_lake.read("_1_schematized")["reading_id"].to_list() == [11]
    assert_each_once(wired_lake.read("_0_raw")["source_rowid"], range(1, 11))


def test_no_secret_is_in_the_log_of_a_change(live, sensor):
    modes.create(sensor)
    running = live()
    running.change(gps_fuzzing={"enabled": True, "base_lat": 52.123456, "base_lon": 13.654321})
    assert "GPS_FUZZING_SECRET" in running.wait_for("settings not taken over")["error"]
    running.change(gps_fuzzing={"enabled": False, "radius_meters": 700, "base_lat": 52.123456, "base_lon": 13.654321})
    told = running.wait_for("settings changed", key="gps_fuzzing")
    assert told["new"]["radius_meters"] == 700
    assert "52.123456" not in running.process.text()
    assert "13.654321" not in running.process.text()
    assert running.process.terminate() == 0
