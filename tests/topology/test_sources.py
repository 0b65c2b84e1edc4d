"""Which tables the sources of a process are, and what would mix."""

from __future__ import annotations

import pytest

from edge_delta.core.errors import ConfigurationError
from edge_delta.settings import load as config
from edge_delta.sinks.delta.cursors import application_id
from edge_delta.topology.sources import Choice, all_tables, each, tables_of


def settings(sensor, **more):
    flags = {"sqlite": str(sensor.path), "table_path": "/lake/{table}", "node_id": "n1", "state_dir": "state"}
    return config.load(flags | more, environment={})


def keys(found):
    return [one.key for one in found]


def test_a_star_is_every_table_that_can_be_read_in_order_and_no_view(sensor):
    sensor.create("readings", autoincrement=True)  # so that there is a sqlite_sequence
    sensor.create("Other")
    sensor.run("CREATE TABLE timed (sensor TEXT, timestamp TEXT, PRIMARY KEY (sensor, timestamp)) WITHOUT ROWID")
    sensor.run("CREATE TABLE keyed (k TEXT PRIMARY KEY, v TEXT) WITHOUT ROWID")
    sensor.run("CREATE VIEW latest AS SELECT * FROM readings")
    sensor.run("CREATE VIRTUAL TABLE texts USING fts5(body)")
    left = []
    found = tables_of(settings(sensor, all_tables=True), left_out=left.append)
    assert keys(found) == ["sensor/Other", "sensor/readings", "sensor/timed"]
    assert [one.key for one in left] == ["sensor/keyed"]
    assert "neither a rowid" in left[0].reason


def test_names_and_patterns_stand_beside_each_other_and_a_view_is_read_by_its_name(sensor):
    for table in ("temp_1", "temp_2", "hum_1"):
        sensor.create(table)
    sensor.run("CREATE VIEW latest AS SELECT * FROM temp_1")
    found = tables_of(settings(sensor, sqlite_table_name=["latest", "TEMP_*"]))
    assert keys(found) == ["sensor/latest", "sensor/temp_1", "sensor/temp_2"]


def test_each_table_has_its_own_address_and_state_directory(sensor):
    one, two = tables_of(settings(sensor, sqlite_table_name=["a", "b c/d"], table_path="/lake/{source}/{table}/r"))
    assert one.settings.table_path == "/lake/sensor/a/r"
    assert two.settings.table_path == "/lake/sensor/b_c_d/r"
    assert str(two.settings.state_dir) == "state/sources/sensor/b c%2Fd.source"


def test_named_tables_need_no_look_at_the_database():
    flags = {"sqlite": "/nowhere.db", "table_path": "/lake/{table}", "sqlite_table_name": ["a", "b"]}
    assert keys(tables_of(config.load(flags, environment={}))) == ["nowhere/a", "nowhere/b"]


def test_sources_that_would_mix_in_one_table_are_refused_with_what_to_do(sensor):
    with pytest.raises(ConfigurationError, match=r"nothing tells them apart. Put \{table\}") as found:
        all_tables(settings(sensor, sqlite_table_name=["a", "b"], table_path="/lake/readings"))
    assert found.value.exit_code == 2
    with pytest.raises(ConfigurationError, match="Their names are the same in an address"):
        all_tables(settings(sensor, sqlite_table_name=["a b", "a_b"]))


@pytest.mark.parametrize("other", ["/lake/other/../x", "/lake//x/", "/lake/./x", "/link/x"])
def test_another_spelling_of_an_address_is_the_same_address(sensor, tmp_path, other):
    (tmp_path / "lake").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "lake")
    for scheme in (f"{tmp_path}", "s3://bucket")[: 2 if "link" not in other else 1]:
        file = tmp_path / "config.toml"
        file.write_text(
            f'node_id = "n"\n[[sources]]\nsqlite = "{sensor.path}"\ntables = ["a"]\ntable_path = "{scheme}/lake/x"\n'
            f'[[sources]]\nsqlite = "{sensor.path}"\ntables = ["b"]\ntable_path = "{scheme}{other}"\n'
        )
        with pytest.raises(ConfigurationError, match="nothing tells them apart"):
            all_tables(config.load({"config": str(file)}, environment={}))


def test_the_name_of_a_table_is_no_pattern(sensor):
    for name in ("a*", "ab", "a[1]"):
        sensor.run(f'CREATE TABLE "{name}" (id INTEGER PRIMARY KEY, timestamp TEXT)')
    assert keys(tables_of(settings(sensor, sqlite_table_name=["a*"]))) == ["sensor/a*"]
    assert keys(tables_of(settings(sensor, sqlite_table_name=["a[1]", "a?"]))) == [
        "sensor/a[1]",
        "sensor/a*",
        "sensor/ab",
    ]


def test_two_sources_of_one_name_are_refused_unless_one_gets_another(tmp_path):
    def found(name):
        file = tmp_path / "config.toml"
        file.write_text(
            'node_id = "n"\n[[sources]]\nsqlite = "/one/log.db"\ntables = ["r"]\ntable_path = "/lake/one"\n'
            f'[[sources]]\nsqlite = "/two/log.db"\ntables = ["r"]\ntable_path = "/lake/two"\n{name}\n'
        )
        return all_tables(config.load({"config": str(file)}, environment={}))[0]

    with pytest.raises(ConfigurationError, match="both sources are called 'log'"):
        found("")
    assert keys(found('name = "second"')) == ["log/r", "second/r"]


def test_a_database_that_is_not_there_hides_no_other_source(sensor, tmp_path):
    sensor.create()
    file = tmp_path / "config.toml"
    file.write_text(
        f'table_path = "/lake/{{source}}/{{table}}"\ntables = "*"\n[[sources]]\nsqlite = "{sensor.path}"\n'
        '[[sources]]\nsqlite = "/nowhere/gone.db"\n'
    )
    found, unknown = all_tables(config.load({"config": str(file)}, environment={}))
    assert keys(found) == ["sensor/readings"]
    assert [(entry.label, "no database" in str(error)) for entry, error in unknown] == [("gone", True)]


def test_a_command_is_about_the_sources_that_are_named(sensor):
    whole = settings(sensor, sqlite_table_name=["a", "b"])
    assert keys(each(whole, {"sqlite_table_name": ["B"]})) == ["sensor/b"]
    with pytest.raises(ConfigurationError, match="there are: sensor/a, sensor/b"):
        all_tables(whole, Choice(labels=("other",)))


def test_a_source_without_a_name_keeps_the_txn_id_that_it_had_and_a_name_is_part_of_it():
    assert application_id("n 1", "read/ings") == "edge-delta/n%201/read%2Fings"
    assert application_id("n", "r", "raw", source="plant") == "edge-delta/n/plant:r/raw"
    assert application_id("n", "plant:r", "raw") == "edge-delta/n/plant%3Ar/raw"


def test_a_single_source_knows_its_table_in_the_path_too(sensor):
    sensor.create()
    [one] = each(settings(sensor, table_path="/lake/{source}/{table}"), {})
    assert (one.settings.table_path, str(one.settings.state_dir)) == ("/lake/sensor/readings", "state")
