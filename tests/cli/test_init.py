"""`edge-delta init`: a settings file that the other commands take as it is."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import pytest

from edge_delta.cli.commands import init
from edge_delta.cli.parser import parser_of
from edge_delta.core.errors import ConfigurationError
from edge_delta.settings import load as config
from edge_delta.topology.sources import all_tables
from tests.support.ask import ask
from tests.support.sqlite import Sensor

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

HOME_ASSISTANT = {
    "states": "state_id INTEGER PRIMARY KEY, entity_id CHAR(0), state VARCHAR(255), attributes CHAR(0), "
    "last_changed DATETIME, last_changed_ts FLOAT, last_reported_ts FLOAT, last_updated DATETIME, "
    "last_updated_ts FLOAT, old_state_id INTEGER, attributes_id INTEGER, origin_idx SMALLINT, "
    "context_id_bin BLOB, metadata_id INTEGER",
    "events": "event_id INTEGER PRIMARY KEY, event_type CHAR(0), event_data CHAR(0), origin CHAR(0), "
    "time_fired DATETIME, time_fired_ts FLOAT, data_id INTEGER, context_id_bin BLOB, event_type_id INTEGER",
    "statistics": "id INTEGER PRIMARY KEY, created DATETIME, created_ts FLOAT, metadata_id INTEGER, start DATETIME, "
    "start_ts FLOAT, mean FLOAT, min FLOAT, max FLOAT, last_reset DATETIME, last_reset_ts FLOAT, sum FLOAT",
    "states_meta": "metadata_id INTEGER PRIMARY KEY, entity_id VARCHAR(255)",
    "schema_changes": "change_id INTEGER PRIMARY KEY, schema_version INTEGER, changed DATETIME",
}


def written(folder: Path, *words: object) -> tuple[Path, object]:
    """The file that `init` wrote, and what it means."""
    path = folder / "config.toml"
    assert init.main(options(*words, "-c", path)) == 0
    return path, config.load({"config": str(path)}, environment={})


def prose(path: Path) -> str:
    """The file's comments, without the ends of their lines."""
    return " ".join(line.lstrip("# ") for line in path.read_text(encoding="utf-8").splitlines())


def options(*words: object) -> argparse.Namespace:
    return parser_of("init").parse_args([*map(str, words), "--yes"])


def test_a_single_table_gives_settings_that_check_and_run_take(sensor, tmp_path):
    sensor.create()
    sensor.add(10)
    path, settings = written(tmp_path, sensor.path, "--table-path", tmp_path / "lake" / "readings")
    assert (settings.sqlite, settings.sqlite_table_name) == (sensor.path, "readings")
    assert settings.processing_mode == ("schematized",)
    assert "2026-01-01 00:00:00 UTC to 2026-01-01 00:00:09 UTC" in prose(path)
    done = ask("run", "--once", "--config", path, "--state-dir", tmp_path / "state", cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_an_existing_file_is_kept_unless_that_is_asked_for(sensor, tmp_path):
    sensor.create()
    path, _ = written(tmp_path, sensor.path)
    path.write_text("mine", encoding="utf-8")
    with pytest.raises(ConfigurationError, match="--force"):
        init.main(options(sensor.path, "-c", path))
    assert path.read_text(encoding="utf-8") == "mine"
    written(tmp_path, sensor.path, "--force")


def test_home_assistant_is_understood_without_further_thought(sensor, tmp_path):
    for name, columns in HOME_ASSISTANT.items():
        sensor.run(f"CREATE TABLE {name} ({columns})")
    sensor.run("INSERT INTO states (state, last_updated_ts, last_changed_ts) VALUES ('on', 1767225600.5, NULL)")
    sensor.run("INSERT INTO events (time_fired_ts) VALUES (1767225601.5)")
    sensor.run("INSERT INTO statistics (created_ts, start_ts, mean) VALUES (1767229210.1, 1767225600.0, 21.5)")
    sensor.run("INSERT INTO states_meta (entity_id) VALUES ('sensor.hall')")
    path, settings = written(tmp_path, sensor.path.parent)
    one = {source.tables[0]: source for source in settings.sources}
    assert one.keys() == {"states", "events", "statistics", "states_meta"}
    assert {source.processing_mode for source in one.values()} == {("raw",)}
    assert "time: last_updated_ts" in prose(path)
    assert "time: start_ts" in prose(path)
    assert one["events"].timestamp_col == "time_fired_ts"
    assert prose(path).count("2026-01-01 00:00:0") >= 3
    assert "Not delivered: schema_changes" in prose(path)
    named, settings = written(tmp_path, sensor.path, "--table", "schema_changes", "--force")
    assert settings.sqlite_table_name == "schema_changes"
    assert "Not delivered" not in prose(named)


def test_tables_that_cannot_be_read_in_order_are_named_with_the_reason(sensor, tmp_path):
    sensor.create()
    sensor.run("CREATE TABLE pairs (a TEXT PRIMARY KEY, b TEXT) WITHOUT ROWID")
    sensor.run("CREATE VIEW warm AS SELECT * FROM readings")
    sensor.run("CREATE VIRTUAL TABLE words USING fts5(body)")
    path, settings = written(tmp_path, sensor.path)
    assert settings.sqlite_table_name == "readings"
    assert "Not delivered: pairs" in prose(path)
    assert "Not delivered: warm" in prose(path)
    assert "words_content" not in prose(path)
    with pytest.raises(ConfigurationError, match="pairs"):
        init.main(options(sensor.path, "--table", "pairs", "-c", tmp_path / "other.toml"))


def test_texts_without_an_offset_are_told(sensor, tmp_path):
    sensor.create()
    sensor.run("INSERT INTO readings (timestamp) VALUES ('2026-07-01 12:00:00')")
    path, settings = written(tmp_path, sensor.path, "--source-time-zone", "Europe/Helsinki")
    assert settings.source_time_zone == "Europe/Helsinki"
    assert "2026-07-01 09:00:00 UTC" in prose(path)


@pytest.mark.parametrize(
    ("files", "addresses"),
    [
        ({"plant.db": ["a", "b"]}, ["lake/a", "lake/b"]),
        ({"log-1.db": ["r"], "log-2.db": ["r"]}, ["lake/log-1/r", "lake/log-2/r"]),
        ({"plant.db": ["r"], "plant.sqlite": ["R"]}, ["lake/plant.db/r", "lake/plant.sqlite/R"]),
        ({"plant.db": ["温度", "湿度", "é", "`"]}, ["lake/_", "lake/__", "lake/__2", "lake/___2"]),
        ({"plant.db": ["a*", "a[1]", "ab", "a?"]}, ["lake/a_", "lake/a_1_", "lake/a__2", "lake/ab"]),
    ],
)
def test_what_it_writes_of_several_tables_keeps_them_apart(files, addresses, tmp_path):
    (tmp_path / "data").mkdir()
    for name, tables in files.items():
        with Sensor(tmp_path / "data" / name) as sensor:
            for table in tables:
                sensor.run(f'CREATE TABLE "{table}" (id INTEGER PRIMARY KEY, timestamp TEXT, x REAL)')
                sensor.run(f"INSERT INTO \"{table}\" VALUES (1, '2026-01-01T00:00:00Z', 1)")
    _, settings = written(tmp_path, tmp_path / "data")
    found, unknown = all_tables(settings)
    assert not unknown
    assert sorted(one.table for one in found) == sorted(table for tables in files.values() for table in tables)
    assert sorted(one.settings.table_path for one in found) == addresses


MEASUREMENTS = (
    "CREATE TABLE messwerte (messung_nr INTEGER PRIMARY KEY, gemessen_am TEXT, `luft feuchte` REAL, temp_c REAL, "
    "geraet TEXT, lat REAL, lon REAL)"
)


@pytest.fixture
def measured(sensor):
    """A database whose columns no name of ours speaks of."""
    sensor.run(MEASUREMENTS)
    for second in range(20):
        sensor.run(
            "INSERT INTO messwerte (gemessen_am, `luft feuchte`, temp_c, geraet) VALUES (?, 40.5, 20.5, 'g1')",
            f"2026-03-01T12:00:{second:02}+01:00",
        )
    return sensor


def test_every_flag_stands_in_the_file_and_the_summary_says_what_the_file_says(measured, tmp_path, capsys):
    flags = {"processing-mode": "schematized", "source-time-zone": "UTC", "node-id": "hut", "table-path": "lake/hut"}
    words = [f"--{name}={value}" for name, value in flags.items()]
    path, settings = written(tmp_path, measured.path, "--timestamp-field", "gemessen_am", *words)
    assert settings.timestamp_col == "gemessen_am"
    assert settings.processing_mode == ("schematized",)
    assert (settings.node_id, settings.table_path) == ("hut", "lake/hut")
    assert 'source_time_zone = "UTC"' in path.read_text(encoding="utf-8").splitlines()
    assert "messwerte: schematized, time gemessen_am" in capsys.readouterr().err


def test_a_zone_that_there_is_not_is_told_by_its_flag(measured, tmp_path):
    with pytest.raises(ConfigurationError, match=r"^flag --source-time-zone: 'Europe/Berlinn' is no time zone"):
        written(tmp_path, measured.path, "--source-time-zone", "Europe/Berlinn")
    with pytest.raises(ConfigurationError, match=f"{tmp_path}/config.toml: processing_mode"):
        written(tmp_path, measured.path, "--processing-mode", "clean")


def test_the_query_that_it_prints_finds_the_rows_in_any_mode(measured, tmp_path, capsys):
    path, _ = written(tmp_path, measured.path, "--table-path", tmp_path / "lake" / "{table}")
    said = capsys.readouterr()
    assert "messwerte: raw, time none" in said.err
    query = shlex.split(said.out.rpartition(": edge-delta ")[2])
    assert "FROM messwerte_0_raw" in query[1]
    where = ("--state-dir", tmp_path / "state")
    assert ask("run", "--once", "--config", path, *where, cwd=tmp_path).returncode == 0
    done = ask(*query, *where, cwd=tmp_path)
    assert (done.returncode, "20" in done.stdout) == (0, True), done.stderr


def test_where_no_column_is_taken_for_the_time_the_flag_is_named(sensor, tmp_path, capsys):
    sensor.run("CREATE TABLE m (nr INTEGER PRIMARY KEY, gemessen TEXT)")
    path, _ = written(tmp_path, sensor.path)
    assert "name it with --timestamp-field" in capsys.readouterr().err
    assert "set timestamp_col" in prose(path)


def test_what_is_no_database_and_a_table_that_there_is_not_are_told_in_terms_of_init(measured, tmp_path):
    (tmp_path / "text").write_text("host\n", encoding="utf-8")
    with pytest.raises(ConfigurationError, match=r"is not a SQLite database\. Name a SQLite file"):
        written(tmp_path, tmp_path / "text")
    with pytest.raises(ConfigurationError, match=r"has no table nix\. Leave --table out to see"):
        written(tmp_path, measured.path, "--table", "nix")
