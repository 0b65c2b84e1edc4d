"""Deleting what was delivered out of the sensor's database, and nothing else."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime, timedelta

import pytest

from edge_delta.core import events as telemetry
from edge_delta.core.errors import ConfigurationError, EdgeDeltaError, PurgeRefused, SourceReset, StorageUnavailable
from edge_delta.recovery.purge import Purged, Wanted
from edge_delta.settings import load as config
from edge_delta.source.deletion import Deletion
from edge_delta.source.read_options import Options
from edge_delta.topology.purging import purge
from tests.support.ask import ask, verified
from tests.support.inprocess import deliver

OLD = 1_500
KEPT = 500
"""The last rows, which always stay."""


def purged(sqlite, place, *, days=7.0, upto_id=None, dry=False, env=None, **flags) -> Purged:
    """One purge of a database whose tables are in a folder."""
    values = {"sqlite": str(sqlite), "table_path": place.base, "state_dir": str(sqlite.parent / "state")}
    settings = config.load(values | {"node_id": "n1"} | flags, environment=env or {})
    before = datetime.now(UTC) - timedelta(days=days) if days else None
    [done] = purge(settings, telemetry.configure(stream=io.StringIO()), Wanted(before, upto_id, dry))
    return done


def ids(sensor) -> set[int]:
    return {row[0] for row in sensor.run("SELECT id FROM readings")}


def arrived(place, suffix="_1_schematized") -> list[int]:
    return sorted(place.read(suffix)["reading_id"].to_list())


@pytest.fixture
def old(sensor, folder):
    """A sensor whose rows are all delivered, and months old."""
    sensor.create()
    sensor.add(OLD)
    deliver(sensor.path, folder)
    return sensor


def test_rows_that_were_delivered_go_and_verify_is_content(old, folder, tmp_path):
    sensor, state = old, old.path.parent / "state"
    here = ("--sqlite", sensor.path, "--table-path", folder.base, "--state-dir", state, "--node-id=n1")
    unasked = ask("purge", *here)
    assert unasked.returncode == 2
    assert "--keep 7d" in unasked.stderr
    assert len(ids(sensor)) == OLD
    done = ask("purge", *here, "--keep", "7d", "--json")
    assert done.returncode == 0, done.stderr
    [told] = json.loads(done.stdout)["tables"]
    assert (told["rows"], told["first_id"], told["last_id"]) == (OLD - KEPT, 1, OLD - KEPT)
    assert ids(sensor) == set(range(OLD - KEPT + 1, OLD + 1))
    sensor.add(10, start=OLD)
    deliver(sensor.path, folder)
    assert arrived(folder) == list(range(1, OLD + 11))
    assert verified(sensor.path, folder, tmp_path, node_id="n1", state_dir=state)["equal"]


def test_rows_go_by_what_the_tables_on_s3_say_and_none_goes_while_the_store_does_not_answer(sensor, lake, command):
    sensor.create()
    sensor.add(OLD)
    edge = command(sensor.path, lake, node_id="n1")
    edge.once().succeeded()
    away = {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}
    asked = {"keep": "7d", "json": True, "interval": None, "retry_for": None}
    assert edge.run("purge", env=away, **asked).code == 1
    assert len(ids(sensor)) == OLD
    [told] = json.loads(edge.run("purge", **asked).succeeded().stdout)["tables"]
    assert (told["rows"], told["first_id"], told["last_id"]) == (OLD - KEPT, 1, OLD - KEPT)
    assert ids(sensor) == set(range(OLD - KEPT + 1, OLD + 1))
    sensor.add(10, start=OLD)
    edge.once().succeeded()
    assert arrived(lake) == list(range(1, OLD + 11))


def test_a_dry_run_counts_and_deletes_nothing(old, folder):
    assert purged(old.path, folder, dry=True).rows == OLD - KEPT
    assert len(ids(old)) == OLD


def test_young_rows_stay(sensor, folder):
    sensor.create()
    sensor.add(OLD)
    sensor.run("UPDATE readings SET timestamp = ? WHERE id > 300", datetime.now(UTC).isoformat())
    deliver(sensor.path, folder)
    assert purged(sensor.path, folder).rows == 300
    assert ids(sensor) == set(range(301, OLD + 1))


def test_a_row_without_a_time_that_says_something_is_as_old_as_its_neighbours(sensor, folder):
    sensor.create()
    sensor.add(OLD)
    sensor.run("UPDATE readings SET timestamp = ? WHERE id > 300", datetime.now(UTC).isoformat())
    sensor.run("UPDATE readings SET timestamp = '1970-01-01T00:00:07Z' WHERE id IN (10, 400)")
    sensor.run("UPDATE readings SET timestamp = 'no time' WHERE id IN (11, 300)")
    deliver(sensor.path, folder)
    assert purged(sensor.path, folder).rows == 299
    assert ids(sensor) == set(range(300, OLD + 1))


# -- rows that no table has


def test_a_late_row_that_no_sweep_has_delivered_stays_until_it_has(sensor, folder):
    sensor.create()
    sensor.add(OLD)
    sensor.run("DELETE FROM readings WHERE id IN (7, 70, 700)")
    deliver(sensor.path, folder)
    sensor.run("INSERT INTO readings (id, sensor_id, timestamp) VALUES (70, 's', '2026-01-01T00:00:00Z')")
    done = purged(sensor.path, folder)
    assert (done.rows, done.not_delivered, done.not_delivered_ids) == (OLD - KEPT - 3, 1, (70, 70))
    assert not done.whole
    assert 70 in ids(sensor)
    deliver(sensor.path, folder, env={"SWEEP": "0"})
    done = purged(sensor.path, folder)
    assert (done.rows, done.whole) == (1, True)
    assert arrived(folder) == sorted(set(range(1, OLD + 1)) - {7, 700})


def test_another_row_under_a_used_id_stays(old, folder):
    old.run("UPDATE readings SET timestamp = '2026-02-02T00:00:00Z', temperature = -1 WHERE id = 70")
    done = purged(old.path, folder)
    assert done.not_delivered_ids == (70, 70)
    assert 70 in ids(old)


def test_an_update_that_is_not_delivered_yet_stays_only_where_updates_are_delivered(sensor, folder):
    sensor.create()
    sensor.add(OLD)
    append = {"ON_UPDATE": "append"}
    deliver(sensor.path, folder, env=append)
    sensor.run("UPDATE readings SET temperature = 99.5 WHERE id = 70")
    done = purged(sensor.path, folder, env=append)
    assert (done.rows, done.not_delivered_ids) == (OLD - KEPT - 1, (70, 70))
    assert purged(sensor.path, folder).whole  # by on_update = "ignore" it is no row of its own
    assert 70 not in ids(sensor)


def test_rejected_rows_go_and_those_that_nobody_read_stay(sensor, folder):
    sensor.create()
    sensor.add(OLD)
    sensor.run("UPDATE readings SET temperature = 'hot' WHERE id = 10")
    sensor.run("UPDATE readings SET sensor_id = hex(zeroblob(3000)) WHERE id = 20")
    small = {"MAX_ROW_BYTES": "4096"}
    deliver(sensor.path, folder, env=small)
    assert sorted(folder.read("_rejected")["reading_id"].to_list()) == [10, 20]
    done = purged(sensor.path, folder, env=small)
    assert (done.rows, done.too_large) == (OLD - KEPT - 1, 1)
    assert ids(sensor) == {20, *range(OLD - KEPT + 1, OLD + 1)}


def test_rows_that_every_mode_has_go_and_no_others(old, folder):
    old.add(OLD, start=OLD)
    deliver(old.path, folder, processing_mode=["raw"])
    with pytest.raises(ConfigurationError, match="was not told of raw"):
        purged(old.path, folder)
    assert purged(old.path, folder, processing_mode=["raw", "schematized"]).rows == OLD - KEPT


def test_nothing_goes_before_every_mode_has_delivered(old, folder):
    with pytest.raises(StorageUnavailable, match="mode raw has delivered nothing"):
        purged(old.path, folder, processing_mode=["raw", "schematized"])


# -- windows and alerts alone


@pytest.mark.parametrize("mode", ["aggregated", "emergency"])
def test_where_no_table_has_rows_the_rows_of_a_range_are_counted(mode, sensor, folder):
    sensor.create()
    sensor.add(OLD)
    sensor.run("DELETE FROM readings WHERE id = 70")
    always = {"SWEEP": "0"}
    deliver(sensor.path, folder, processing_mode=[mode], env=always)
    sensor.add(OLD, start=OLD)
    deliver(sensor.path, folder, processing_mode=[mode])  # these are behind the last sweep
    sensor.run("INSERT INTO readings (id, sensor_id, timestamp) VALUES (70, 's', '2026-01-01T00:00:00Z')")
    done = purged(sensor.path, folder, processing_mode=[mode])
    assert 70 in ids(sensor)
    assert done.not_delivered
    deliver(sensor.path, folder, processing_mode=[mode], env=always)
    assert purged(sensor.path, folder, processing_mode=[mode]).single_rows_gone
    assert 70 not in ids(sensor)
    assert min(ids(sensor)) > OLD


# -- refusals


def test_another_database_loses_nothing(old, folder, tmp_path):
    old.open(tmp_path / "other.db")
    old.create()
    old.add(2 * OLD, start=7, seed=3)
    values = {"state_dir": str(tmp_path / "device" / "state")}
    with pytest.raises(SourceReset):
        purged(old.path, folder, **values)
    assert len(ids(old)) == 2 * OLD


@pytest.mark.parametrize(
    ("sql", "fact"),
    [
        ("CREATE TABLE notes (id INTEGER PRIMARY KEY, reading REFERENCES readings(id))", "foreign keys"),
        ("ALTER TABLE readings RENAME TO r; CREATE VIEW readings AS SELECT * FROM r", "is a view"),
    ],
)
def test_rows_that_others_depend_on_stay(sql, fact, old, folder):
    for statement in sql.split("; "):
        old.run(statement)
    with pytest.raises(ConfigurationError, match=fact):
        purged(old.path, folder, sqlite_table_name="readings")


def test_a_table_without_times_is_purged_by_id_alone(sensor, folder):
    sensor.run("CREATE TABLE readings (id INTEGER PRIMARY KEY, value REAL)")
    sensor.run(
        "INSERT INTO readings WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT ?) "
        "SELECT i, i / 7.0 FROM n",
        OLD,
    )
    deliver(sensor.path, folder, processing_mode=["raw"])
    with pytest.raises(ConfigurationError, match="no column with times"):
        purged(sensor.path, folder, processing_mode=["raw"])
    assert purged(sensor.path, folder, days=0, upto_id=50, processing_mode=["raw"]).rows == 50
    assert min(ids(sensor)) == 51


def test_a_mode_that_rejects_everything_is_looked_at_first(old, folder):
    mirror = old.path.parent / "state" / "last_upload.json"
    content = json.loads(mirror.read_text(encoding="utf-8"))
    content["tables"]["schematized"]["rejected_in_a_row"] = 70
    mirror.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(PurgeRefused, match="70 rows"):
        purged(old.path, folder)


def test_tables_that_a_power_cut_may_take_back_are_not_believed(old, folder, tmp_path):
    (tmp_path / "config.toml").write_text('[storage]\ndurability = "off"\n', encoding="utf-8")
    with pytest.raises(ConfigurationError, match="durability"):
        purged(old.path, folder, config=str(tmp_path / "config.toml"))


# -- the file


def test_a_row_that_is_written_while_it_is_looked_at_stays(old):
    deletion = Deletion(old.path, None, None, Options())
    assert deletion.copy(0, 10, limit=100) is not None
    old.run("UPDATE readings SET humidity = humidity + 1 WHERE id = 3")
    old.run("DELETE FROM readings WHERE id = 4")
    old.run("INSERT INTO readings (id, sensor_id) VALUES (4, 'another')")
    deletion.spare([1, 2])
    gone = list(deletion.run())
    deletion.close()
    assert sum(rows for rows, _ in gone) == 6
    assert ids(old) & set(range(11)) == {1, 2, 3, 4}


def test_a_writer_that_does_not_let_go_ends_it_with_an_error(old, monkeypatch):
    monkeypatch.setattr("edge_delta.source.deletion._LOCKED_SECONDS", 0.2)
    deletion = Deletion(old.path, None, None, Options())
    deletion.copy(0, 10, limit=100)
    old.run("BEGIN IMMEDIATE")
    with pytest.raises(EdgeDeltaError, match="locked by another process"):
        list(deletion.run())
    old.run("COMMIT")
    assert sum(rows for rows, _ in deletion.run()) == 10
    deletion.close()


@pytest.mark.parametrize("incremental", [True, False])
def test_the_file_gives_room_back_where_it_was_made_for_that(incremental, sensor, folder):
    sensor.run(f"PRAGMA auto_vacuum = {'INCREMENTAL' if incremental else 'NONE'}")
    sensor.run("VACUUM")
    sensor.create()
    sensor.add(10_000)
    deliver(sensor.path, folder)
    before = sensor.run("PRAGMA page_count")
    done = purged(sensor.path, folder)
    after = sensor.run("PRAGMA page_count")
    assert done.incremental is incremental
    if incremental:
        assert done.returned_bytes == (before[0][0] - after[0][0]) * 4096 > 300_000
        assert any("smaller" in line for line in done.lines())
    else:
        assert done.free_bytes > 300_000
        assert before == after
        assert any("before it grows" in line for line in done.lines())
