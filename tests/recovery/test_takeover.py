"""The page for those who change over: what it says of here exists, and nothing of there is left out."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from edge_delta.ask import warehouse
from edge_delta.cli.parser import COMMANDS
from edge_delta.core.errors import ConfigurationError
from edge_delta.settings import load as config
from tests.project.test_docs import generate
from tests.support.inprocess import deliver
from tests.support.modes import rejected

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "from-the-uploader.md").read_text(encoding="utf-8")
HALVES = PAGE.partition("## From Cosmos DB")

WAREHOUSE = re.findall(
    r"\S+",
    """
    sqlite sqlite_table_name timestamp_col databricks_host databricks_http_path databricks_token databricks_database
    databricks_table state_dir interval fuzz_factor max_batch_size once processing_mode enable_sanitize enable_filter
    enable_aggregate gps_fuzzing.enabled gps_fuzzing.radius_meters gps_fuzzing.base_lat gps_fuzzing.base_lon
    emergency_config.trigger_keywords emergency_config.severity_thresholds aggregate_config.window_minutes
    aggregate_config.group_by aggregate_config.aggregations
    --config --sqlite --state-dir --interval --once --table --timestamp-col --processing-mode --enable-sanitize
    --sanitize-config --enable-filter --filter-config --enable-aggregate --aggregate-config --databricks-host
    --databricks-http-path --databricks-token --databricks-database --databricks-table --run-query
    DATABRICKS_HOST DATABRICKS_HTTP_PATH DATABRICKS_TOKEN DATABRICKS_DATABASE DATABRICKS_TABLE SQLITE_PATH
    SQLITE_TABLE_NAME TIMESTAMP_COL STATE_DIR UPLOAD_INTERVAL ONCE ENABLE_SANITIZE SANITIZE_CONFIG ENABLE_FILTER
    FILTER_CONFIG ENABLE_AGGREGATE AGGREGATE_CONFIG
""",
)
COSMOS = re.findall(
    r"\S+",
    """
    cosmos.endpoint cosmos.key cosmos.database_name cosmos.container_name cosmos.partition_key cosmos.resource_group
    performance.upload_interval_seconds performance.upload_jitter_seconds performance.disable_indexing_during_bulk
    performance.sleep_interval performance.autoscale performance.throughput performance.batch_size
    performance.max_parallel_operations logging.level logging.log_request_units logging.log_latency
    processing.processors processing.aggregation.window config_watch.enabled config_watch.poll_interval_seconds cities
    --config --sqlite --continuous --interval --archive-path --development --debug
""",
)
"""Keys, flags and variables that their own documents and sources name."""


def rows(text: str) -> list[list[str]]:
    found = [re.split(r" *\| *", line[1:-1]) for line in text.splitlines() if line.startswith("| ")]
    assert all(len(cells) == 3 for cells in found), found
    return found[2:]


@pytest.mark.parametrize(("half", "names"), [(HALVES[0], WAREHOUSE), (HALVES[2], COSMOS)], ids=["warehouse", "cosmos"])
def test_every_key_and_flag_of_there_is_on_the_page(half, names):
    there = {word for row in rows(half) for cell in row[:2] for word in re.findall(r"`([^`]+)`", cell)}
    plain = {word.partition(" ")[0] for word in there} | {f"--{w.partition(' ')[0]}" for w in there}
    assert [name for name in names if name not in plain] == []


def test_every_setting_flag_and_variable_of_here_exists():
    settings = {name for name, _ in generate.all_settings()}
    commands = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    flags = set(re.findall(r"--[a-z][a-z-]+", commands))
    variables = {*config.variables(), warehouse.TOKEN}
    for row in [*rows(HALVES[0]), *rows(HALVES[2])]:
        for word in re.findall(r"`([^`]+)`", row[2]):
            if word.startswith("--"):
                assert word in flags, word
            elif re.fullmatch(r"[A-Z][A-Z_]+", word):
                assert word in variables, word
            elif re.fullmatch(r"[a-z_]+\.[a-z_]+|[a-z]+_[a-z_]+( = .*)?", word):
                assert word.partition(" =")[0] in settings | {"last_upload", "avg_temperature"}, word
            elif word.startswith("edge-delta "):
                assert word.split()[1] in COMMANDS, word


@pytest.mark.parametrize("key", ["last_upload", "last_timestamp"])
@pytest.mark.parametrize(
    "file", ["state/last_upload_state.json", "state/s3-uploader/upload_state.json", "upload_state.json"]
)
def test_the_state_files_of_the_uploaders_are_taken_over(file, key, sensor, folder):
    sensor.create()
    sensor.add(20)
    place = sensor.path.parent / file
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(f'{{"{key}": "2026-01-01T00:00:09+00:00"}}', encoding="utf-8")
    assert deliver(sensor.path, folder).named("upload taken over")
    assert sorted(folder.read()["reading_id"]) == list(range(11, 21))


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"last_upload": true}', '{"last_upload": "soon"}'])
def test_a_state_file_that_cannot_be_read_stops_before_all_is_delivered_again(text, sensor, folder):
    sensor.create()
    sensor.add(5)
    (sensor.path.parent / "last_upload_state.json").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigurationError, match=r"last_upload_state\.json"):
        deliver(sensor.path, folder)
    assert not folder.exists("_1_schematized")


def test_rows_whose_time_cannot_be_read_are_never_taken_for_delivered_ones(sensor, folder):
    """Whether the older tool had them nobody can tell, so they come once more rather than never."""
    sensor.create()
    sensor.add(20)
    sensor.run("UPDATE readings SET timestamp = CASE id WHEN 4 THEN 'soon' ELSE NULL END WHERE id IN (4, 5)")
    state = sensor.path.parent / "state"
    state.mkdir()
    (state / "last_upload.json").write_text('{"last_upload": "2026-01-01T00:00:09+00:00"}', encoding="utf-8")
    deliver(sensor.path, folder, processing_mode="raw,schematized")
    later = list(range(11, 21))  # the first reading is of 00:00:00, one a second
    assert sorted(folder.read("_0_raw")["source_rowid"]) == [4, 5, *later]
    assert sorted(folder.read()["reading_id"]) == [5, *later]
    assert rejected(folder) == [(4, "type", "timestamp")]
