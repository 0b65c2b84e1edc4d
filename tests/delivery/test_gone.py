"""Rows that the application deleted before they were delivered: told where it can be known, while it runs."""

from __future__ import annotations

import json

import pytest

from tests.support.ask import verified
from tests.support.inprocess import deliver


@pytest.fixture
def edge(sensor, folder, command):
    sensor.create()
    sensor.add(100)
    edge = command(sensor.path, folder, node_id="n1")
    edge.once().succeeded()
    return edge


def test_rows_purged_during_an_outage_are_told_in_log_status_and_verify(edge, sensor, folder, tmp_path):
    sensor.add(600, start=100)
    sensor.run("DELETE FROM readings WHERE id <= 599")
    done = edge.once().succeeded()
    [told] = done.named("rows gone before they were delivered")
    assert (told["rows"], told["first_id"], told["last_id"]) == (499, 101, 599)
    mirror = json.loads((tmp_path / "state" / "last_upload.json").read_text(encoding="utf-8"))
    assert mirror["tables"]["schematized"]["rows_gone"] == 499
    assert not verified(sensor.path, folder, tmp_path, node_id="n1")["equal"]


@pytest.mark.parametrize("mode", ["schematized", "aggregated", "emergency"])
def test_rows_deleted_just_behind_the_cursor_are_told_by_verify_beside_those_before_them(
    mode, sensor, folder, tmp_path
):
    sensor.create()
    sensor.add(100)
    deliver(sensor.path, folder, processing_mode=mode)
    sensor.add(100, start=100)
    sensor.run("DELETE FROM readings WHERE id BETWEEN 101 AND 103")
    deliver(sensor.path, folder, processing_mode=mode)
    state = sensor.path.parent / "state"
    found = verified(sensor.path, folder, tmp_path, processing_mode=mode, node_id="n1", state_dir=state)
    assert found["equal"]
    assert "3 ids behind delivered rows had no row" in str(found["tables"][0]["notes"])


def test_it_is_told_once(edge, sensor):
    sensor.add(20, start=100)
    sensor.run("DELETE FROM readings WHERE id <= 110")
    edge.once().succeeded()
    sensor.add(20, start=120)
    assert not edge.once().succeeded().named("rows gone before they were delivered")


def test_an_application_that_leaves_ids_out_is_told_nothing(edge, sensor):
    sensor.add(60, start=100)
    sensor.run("DELETE FROM readings WHERE id > 100 AND id % 5 <> 0")
    assert not edge.once().succeeded().named("rows gone before they were delivered")


@pytest.mark.parametrize("autoincrement", [False, True])
def test_a_single_row_that_a_purge_left_tells_of_those_before_it(autoincrement, sensor, folder):
    sensor.create(autoincrement=autoincrement)
    sensor.add(100)
    deliver(sensor.path, folder)
    sensor.add(500, start=100)
    sensor.run("DELETE FROM readings WHERE id < 600")
    [told] = deliver(sensor.path, folder).named("rows gone before they were delivered")
    assert (told["rows"], told["first_id"], told["last_id"]) == (499, 101, 599)


def test_a_single_row_of_an_application_that_leaves_ids_out_tells_nothing(sensor, folder):
    sensor.create()
    sensor.run("INSERT INTO readings (id, sensor_id) VALUES (1, 's'), (5, 's'), (9, 's')")
    deliver(sensor.path, folder)
    sensor.run("INSERT INTO readings (id, sensor_id) VALUES (13, 's')")
    assert not deliver(sensor.path, folder).named("rows gone before they were delivered")


def test_ids_of_transactions_that_were_rolled_back_are_given_again(sensor, folder):
    sensor.create(autoincrement=True)
    sensor.add(100)
    deliver(sensor.path, folder)
    sensor.run("BEGIN")
    sensor.add(50, start=100)
    sensor.run("ROLLBACK")
    sensor.add(1, start=100)
    assert not deliver(sensor.path, folder).named("rows gone before they were delivered")
