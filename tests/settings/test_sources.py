"""Several sources in one settings file."""

from __future__ import annotations

import pytest

from edge_delta.core.errors import ConfigurationError
from edge_delta.settings import load as config

TWO = """
node_id = "hall-7"
table_path = "s3://lake/{node_id}/{table}"
interval = 60
[emergency]
min_pause = 2.0
trigger_keywords = ["fire"]
[[sources]]
sqlite = "/data/plant.db"
tables = ["sensor_readings", "events"]
[[sources]]
name = "archive"
sqlite = "/data/archive.db"
tables = "*"
processing_mode = "raw"
source_time_zone = "Europe/Helsinki"
[sources.emergency]
min_pause = 0.5
"""


def loaded(tmp_path, text, env=None, **flags):
    file = tmp_path / "config.toml"
    file.write_text(text)
    return config.load({"config": str(file), **flags}, environment=env or {})


def refused(tmp_path, text, **flags):
    with pytest.raises(ConfigurationError) as found:
        loaded(tmp_path, text, **flags)
    return str(found.value)


def test_a_source_takes_what_it_does_not_say_from_the_top_level(tmp_path):
    plant, archive = loaded(tmp_path, TWO).sources
    assert (plant.tables, archive.tables) == (("sensor_readings", "events"), ("*",))
    assert (plant.label, archive.label) == ("plant", "archive")
    assert (plant.processing_mode, archive.processing_mode) == (("schematized",), ("raw",))
    assert (plant.source_time_zone, archive.source_time_zone) == ("UTC", "Europe/Helsinki")
    assert {plant.interval, archive.interval} == {60}
    assert {plant.node_id, archive.node_id} == {"hall-7"}


def test_of_a_section_a_source_says_only_the_keys_that_are_others_for_it(tmp_path):
    plant, archive = loaded(tmp_path, TWO).sources
    assert (plant.emergency.min_pause, archive.emergency.min_pause) == (2.0, 0.5)
    assert archive.emergency.trigger_keywords == ("fire",)


def test_a_flag_and_the_environment_win_over_a_source_too(tmp_path):
    found = loaded(tmp_path, TWO, {"PROCESSING_MODE": "sanitized"}, interval="5")
    assert {one.processing_mode for one in found.sources} == {("sanitized",)}
    assert {one.interval for one in found.sources} == {5}


def test_the_environment_names_the_database_only_of_sources_that_do_not(tmp_path):
    text = TWO.replace('sqlite = "/data/plant.db"\n', "")
    found = loaded(tmp_path, text, {"SQLITE_PATH": "/data/other.db"})
    assert [str(one.sqlite) for one in found.sources] == ["/data/other.db", "/data/archive.db"]


@pytest.mark.parametrize("key", ["node_id = 'x'", "state_dir = 'x'", "once = true", "metrics_port = 9000"])
def test_what_is_of_the_process_stands_in_no_source(tmp_path, key):
    told = refused(tmp_path, TWO.replace('name = "archive"', f'name = "archive"\n{key}'))
    assert f"sources[1].{key.split()[0]}" in told
    assert "set it at the top level" in told


def test_every_wrong_key_of_every_source_is_told_at_once(tmp_path):
    text = TWO.replace('processing_mode = "raw"', 'processing_mode = "row"\nintervall = 3')
    told = refused(tmp_path, text.replace('tables = ["sensor_readings", "events"]', "settle = -1"))
    assert "3 problems" in told
    assert "sources[0].settle" in told
    assert "did you mean interval" in told


def test_what_is_wrong_for_all_is_told_once(tmp_path):
    assert "1 problem in" in refused(tmp_path, TWO.replace("interval = 60", "interval = 0"))


def test_a_source_without_a_file_is_told_with_its_place(tmp_path):
    told = refused(tmp_path, TWO.replace('sqlite = "/data/archive.db"\n', ""))
    assert "sources[1].sqlite: is required" in told


def test_a_single_table_is_not_several():
    found = config.load({"sqlite": "a.db", "table_path": "lake/r", "sqlite_table_name": ["readings"]}, environment={})
    assert (found.several, found.sqlite_table_name, found.tables) == (False, "readings", ())


def test_more_tables_on_the_command_line_take_the_place_of_those_in_the_file(tmp_path):
    text = 'sqlite = "a.db"\ntable_path = "lake/{table}"\nsqlite_table_name = "readings"\n'
    assert loaded(tmp_path, text, sqlite_table_name=["a", "b"]).tables == ("a", "b")
    assert loaded(tmp_path, text, all_tables=True).tables == ("*",)
    text = text.replace('sqlite_table_name = "readings"', 'tables = "*"')
    assert loaded(tmp_path, text).several
    assert not loaded(tmp_path, text, sqlite_table_name=["a"]).several
