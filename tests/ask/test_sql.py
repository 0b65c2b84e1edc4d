"""The statements for Databricks, as they stand in sql/ and filled in."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from edge_delta.ask import statements
from edge_delta.ask.statements import Target, filled, head, rolled_up, script, split
from edge_delta.modes import REJECTED_SUFFIX, SUFFIXES
from tests.support.command import Finished, clean_environment, finished

if TYPE_CHECKING:
    from tests.support.tables import Place

TARGET = Target("main", "sensor_data", "s3://bucket/x/readings", {})


def printed(place: Place, *words: str) -> Finished:
    everything = ["sql", *words, "--table-path", place.base, "--node-id", "device-1"]
    return finished(everything, cwd=Path("/"), env=clean_environment() | dict(place.environment), timeout=60)


def code(text: str) -> str:
    return "\n".join(line for line in text.splitlines() if not line.startswith("--"))


@pytest.mark.parametrize("file", statements.files(), ids=lambda file: file.stem)
def test_a_file_says_what_it_does_and_who_may_run_it(file: Path):
    top = head(file.read_text())
    assert top.startswith(f"-- {file.name[:2]}  ")
    assert "\n-- Who: " in top
    assert "\n-- Parameters: :catalog, :schema" in top
    used = set(re.findall(r":(\w+)", "\n".join(statement for _, statement in split(file.read_text()))))
    assert used <= set(re.findall(r":(\w+)", top))
    assert "\t" not in file.read_text()
    assert max(map(len, file.read_text().splitlines())) < 250


def test_the_files_are_numbered_from_one():
    assert [int(f.name[:2]) for f in statements.files()] == list(range(1, len(statements.files()) + 1))


def test_filled_in_statements_have_no_parameters_left():
    for file in statements.files():
        for _, statement in split(file.read_text()):
            text = filled(statement, TARGET)
            assert not re.search(r":[a-z]|EXECUTE|IDENTIFIER|\|\|", re.sub(r"s3://", "", text)), text


def test_paths_and_names_with_quotes_stay_what_they_are():
    target = Target("my-cat", "a`b", "s3://bucket/o'neill/my-sensors", {})
    assert filled("USE CATALOG IDENTIFIER(:catalog)", target) == "USE CATALOG `my-cat`"
    assert filled("USE SCHEMA IDENTIFIER(:schema)", target) == "USE SCHEMA `a``b`"
    located = "EXECUTE IMMEDIATE 'CREATE TABLE readings_0_raw LOCATION ''' || :base_path || '_0_raw'''"
    quoted = Target("main", "s", "s3://bucket/my-sensors", {})
    assert filled(located, quoted) == "CREATE TABLE my_sensors_0_raw LOCATION 's3://bucket/my-sensors_0_raw'"
    assert filled("SELECT * FROM readings_rejected", target) == "SELECT * FROM my_sensors_rejected"


def test_the_roll_up_has_the_columns_of_the_table():
    names = [
        "window_start",
        "window_end",
        "location",
        "record_count",
        "avg_co2",
        "max_co2",
        "std_co2",
        "first_reading_id",
    ]
    view = rolled_up("fleet_hourly", dict.fromkeys(names, "double"))
    assert "max(max_co2) AS max_co2" in view
    assert "GROUP BY date_trunc('HOUR', window_start), node_id, location" in view
    assert "temperature" not in view
    assert "std_co2" not in view


def test_hours_are_exact_where_the_windows_have_sums_and_counts():
    names = ["window_start", "window_end", "record_count", "avg_co2", "sum_co2", "count_co2", "first_reading_id"]
    view = rolled_up("fleet_hourly", dict.fromkeys(names, "double"))
    assert "sum(sum_co2) / sum(count_co2) AS avg_co2" in view
    assert "sum(count_co2) AS count_co2" in view
    without_sums = rolled_up("fleet_daily", dict.fromkeys([n for n in names if n != "sum_co2"], "double"))
    assert "sum(avg_co2 * count_co2) / sum(count_co2) AS avg_co2" in without_sums


def test_each_device_with_tables_of_its_own_has_a_schema_of_its_own(folder, sensor, command):
    sensor.create()
    sensor.add(5)
    base = f"{Path(folder.base).parent}/{{node_id}}/readings"
    texts = []
    for node in ("hall.7-a", "hall.7-b"):
        state = Path(folder.base).parent / f"state-{node}"
        command(sensor.path, folder, table_path=base, node_id=node, state_dir=state).once().succeeded()
        words = ["sql", "01", "02", "--table-path", base, "--node-id", node]
        texts.append(finished(words, cwd=Path("/"), env=clean_environment(), timeout=60).succeeded().stdout)
        assert f"USE SCHEMA `sensor_data_{node.replace('.', '_')}`;" in texts[-1]
        assert f"LOCATION '{base.replace('{node_id}', node)}_1_schematized';" in texts[-1]
    # One external location for all of them: a second one of the same name would be passed over without a word.
    assert {re.search(r"EXTERNAL LOCATION .* URL '([^']*)'", text)[1] for text in texts} == {
        str(Path(folder.base).parent)
    }


def test_what_needs_a_table_that_is_not_there_is_a_comment():
    target = Target("main", "s", "s3://b/readings", {"readings_1_schematized": {"reading_id": "long"}})
    missing = {"readings_0_raw", "readings_rejected", "readings_3_aggregated", "readings_4_emergency"}
    for file in statements.files()[1:]:
        text = "\n\n".join(script(file.read_text(), target, missing))
        assert not [name for name in missing if name in code(text)]
    assert {"quality_rejected", "rollup_daily"} <= missing


def test_checks_look_at_the_tables_that_there_are():
    target = Target("main", "s", "s3://b/readings", {})
    missing = {"readings_0_raw", "readings_rejected", "readings_3_aggregated", "readings_4_emergency"}
    views, file = statements.files()[2:4]
    assert list(script(views.read_text(), target, missing))  # what cannot be made there is missing here
    text = code("\n\n".join(script(file.read_text(), target, missing)))
    assert re.findall(r"SELECT '(\w+)' AS mode", text) == ["sanitized", "schematized"]
    assert "SELECT assert_true" in text
    assert text.count("UNION") == 1


def test_each_table_has_its_check_for_duplicates():
    [file] = [f for f in statements.files() if f.name == "04_quality.sql"]
    assert set(re.findall(r"SELECT '(\w+)' AS mode", file.read_text())) == set(SUFFIXES)


def test_each_table_is_registered_refreshed_and_looked_after():
    names = {f"readings{suffix}" for suffix in (*SUFFIXES.values(), REJECTED_SUFFIX)}
    for number, verb in (("02", "CREATE TABLE IF NOT EXISTS"), ("05", "VACUUM"), ("10", "REPAIR TABLE")):
        [file] = [f for f in statements.files() if f.name.startswith(number)]
        found = set(re.findall(rf"{verb} (readings_\w+)", file.read_text()))
        assert found - {"readings_superseded"} == names  # what resets replaced is a few rows of columns that stay
        assert ("readings_superseded" in found) == (number == "02")


@pytest.fixture
def delivered(place, sensor, command):
    sensor.create()
    sensor.add(20)
    done = command(sensor.path, place, processing_mode="raw,schematized,aggregated", node_id="device-1").once(
        flush=True
    )
    done.succeeded()
    return place


def test_the_command_prints_the_tables_as_they_are(delivered):
    text = printed(delivered, "--catalog", "plant", "--schema", "halls").succeeded().stdout
    assert "USE CATALOG plant;" in text
    for suffix in ("_0_raw", "_1_schematized", "_3_aggregated"):
        assert f"LOCATION '{delivered.uri(suffix)}';" in code(text)
        columns = ", ".join(f"{f.name} {f.type.type}" for f in delivered.table(suffix).schema().fields)
        assert f"-- {columns}\n" in text
    assert "readings_4_emergency" not in code(text)
    assert "-- Not yet: there is no readings_4_emergency." in text
    assert not re.search("ROW FILTER|CREATE SHARE|UNIFORM", text), (
        "what changes rights or formats is only printed by name"
    )


def test_one_file_can_be_asked_for(delivered):
    text = printed(delivered, "02").succeeded().stdout
    assert text.startswith("-- 02")
    assert "-- 03" not in text
    filters = printed(delivered, "12").succeeded().stdout
    assert "ALTER TABLE readings_1_schematized SET ROW FILTER sees_node ON (node_id);" in filters
    done = printed(delivered, "99")
    assert done.code == 2
    assert "there are: 01_storage, 02_tables" in done.error
