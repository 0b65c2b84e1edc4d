"""The settings: one frozen value, every problem at once, and no secret in sight."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_delta.core.errors import ConfigurationError
from edge_delta.settings import load as config
from edge_delta.settings.declaration import fields
from edge_delta.settings.mistakes import OF_THE_UPLOADER
from edge_delta.settings.sections import Settings

MIB = 2**20
NEEDED = {"sqlite": "a.db", "table_path": "lake/readings"}


def load(flags=None, env=None, **more):
    return config.load(NEEDED | (flags or {}) | more, environment=env or {})


def problem(flags=None, env=None, **more):
    with pytest.raises(ConfigurationError) as found:
        load(flags, env, **more)
    message = str(found.value)
    assert "\n" not in message
    assert found.value.exit_code == 2
    return message


@pytest.fixture
def toml(tmp_path):
    def write(text):
        file = tmp_path / "settings.toml"
        file.write_text(text)
        return {"config": str(file)}

    return write


def test_what_is_required_is_named_with_every_way_to_set_it():
    with pytest.raises(ConfigurationError) as found:
        config.load({}, environment={})
    for word in ("2 problems", "--sqlite", "SQLITE_PATH", "--table-path", "TABLE_PATH"):
        assert word in str(found.value)


def test_the_defaults_are_those_of_the_documents():
    settings = load()
    assert (settings.interval, settings.fuzz_factor, settings.max_batch_size) == (300, 0.1, 131_072)
    assert settings.on_source_reset == "new_generation"
    assert settings.once is False
    assert settings.node_id is None


@pytest.mark.parametrize(
    ("key", "variable"), [(f.name, f.variable) for f in fields(Settings) if f.flags and f.variable]
)
def test_a_flag_wins_over_the_environment_and_that_over_the_file(key, variable, toml):
    values = {
        "interval": (1.0, 2.0, 3.0),
        "fuzz_factor": (0.1, 0.2, 0.3),
        "max_batch_size": (1, 2, 3),
        "retry_for": (1.0, 2.0, 3.0),
        "max_memory": (200 * MIB, 300 * MIB, 400 * MIB),
        "metrics_port": (1001, 1002, 1003),
        "once": (True, False, True),
        "processing_mode": ("raw", "schematized", "raw"),
        "on_mode_change": ("continue", "backfill", "continue"),
    }.get(key, ("in-file", "in-env", "in-flag"))
    text = str(values[0]).lower() if isinstance(values[0], bool) else repr(values[0]).replace("'", '"')
    chosen = toml(f"{key} = {text}\n")
    others = {k: v for k, v in NEEDED.items() if k != key}
    env = {variable: str(values[1])}

    def shown(settings):
        value = getattr(settings, key)
        return value[0] if isinstance(value, tuple) else type(values[0])(value)

    assert shown(config.load(others | chosen, environment={})) == values[0]
    assert shown(config.load(others | chosen, environment=env)) == values[1]
    assert shown(config.load(others | chosen | {key: values[2]}, environment=env)) == values[2]


@pytest.mark.parametrize("text", ["1", "true", "yes"])
def test_once_from_the_environment(text):
    assert load(env={"ONCE": text}).once is True


def test_an_unknown_key_suggests_the_nearest_one(toml):
    assert "did you mean interval?" in problem(toml("intervall = 5"))
    assert "did you mean base_lat?" in problem(toml("[gps_fuzzing]\nbase_latt = 5"))
    message = problem(toml("[storage]\nfoo = 5"))
    assert "storage.foo" in message
    assert "endpoint_url" in message


def test_every_problem_has_its_place_key_value_and_what_would_be_right(toml):
    message = problem(toml("max_batch_size = 0\n"), {"UPLOAD_INTERVAL": "soon"}, fuzz_factor="2")
    assert message.startswith("3 problems in the settings: ")
    for part in (
        "settings.toml: max_batch_size = 0: ",
        "environment variable UPLOAD_INTERVAL: interval = 'soon': ",
        "flag --fuzz-factor: fuzz_factor = '2': ",
        "expected `int` >= 1",
        "expected `float` <= 1",
    ):
        assert part in message


@pytest.mark.parametrize("key", ["secret_access_key", "aws_access_key_id", "account_key", "sas_token", "password"])
def test_secrets_in_the_file_are_refused_and_not_shown(key, toml):
    message = problem(toml(f'[storage]\n{key} = "hunter2hunter2"\n'))
    assert "environment" in message
    assert "hunter2" not in message


def test_a_file_that_is_missing_or_broken_is_one_line(toml, tmp_path):
    assert "there is no settings file" in problem(config=str(tmp_path / "no.toml"))
    assert "is not valid TOML" in problem(toml("a = = b"))


def test_yaml_is_called_yaml_whatever_the_file_is_called_and_leads_to_what_replaces_the_uploaders_keys(toml, tmp_path):
    message = problem(toml("sqlite: a.db\ninterval: 5\n"))
    assert "is not TOML but YAML" in message
    assert "uploader" not in message
    assert "from-the-uploader.md" in problem(toml("sqlite: a.db\ndatabricks_table: t\n"))
    file = tmp_path / "config.yaml"
    file.write_text("sqlite: a.db\ndatabricks_table: t\n")
    assert "databricks_table is a key of the original uploader: docs/from-the-uploader.md" in problem(config=str(file))
    assert "a key of the original uploader; docs/from-the-uploader.md" in problem(toml('databricks_table = "t"\n'))


def test_a_yaml_file_where_the_default_would_be_is_named_if_something_is_missing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.yml").write_text("sqlite: a.db\n")
    with pytest.raises(ConfigurationError, match=r"sqlite: is required.*config\.yml is here, and settings"):
        config.load({}, environment={})


def test_wrong_json_in_the_environment_names_the_variable_and_the_key_it_comes_after_and_no_value():
    message = problem(env={"AGGREGATE_CONFIG": '{"window_minutes": 60, "group_by": ["a"],}'})
    assert "environment variable AGGREGATE_CONFIG: aggregate: is not JSON after the key group_by: " in message
    assert "double quotes" in problem(env={"SANITIZE_CONFIG": "{'ranges': {}}"})
    assert "60.123456" not in problem(env={"GPS_FUZZING_CONFIG": '{"base_lat": 60.123456,}'})
    assert "sanitize: expected a table of settings, like [sanitize]" in problem(env={"SANITIZE_CONFIG": "[1]"})


def test_a_section_from_the_environment_is_json():
    assert load(env={"GPS_FUZZING_CONFIG": '{"radius_meters": 150.5}'}).gps_fuzzing.radius_meters == 150.5
    assert "is not JSON" in problem(env={"GPS_FUZZING_CONFIG": "{"})
    assert "base_lat" in problem(env={"GPS_FUZZING_CONFIG": '{"base_lat": 91}'})


def test_settings_cannot_be_changed():
    with pytest.raises(AttributeError):
        load().interval = 5


def test_an_unknown_mode_lists_those_there_are():
    message = problem(processing_mode="rough")
    assert "raw" in message
    assert "schematized" in message


# -- memory


@pytest.mark.parametrize("text", ['"128 MiB"', '"128mib"', "134217728", '"0.125 GiB"', '"134217.728 kB"'])
def test_memory_is_a_size_in_any_unit_or_bytes(text, toml):
    assert load(toml(f"max_memory = {text}")).max_memory == 128 * MIB


@pytest.mark.parametrize("text", ['"127 MiB"', '"128 M"', '"much"', "0", '"128 MB"'])
def test_less_memory_than_the_libraries_take_is_refused(text, toml):
    assert "max_memory" in problem(toml(f"max_memory = {text}"))


def test_the_largest_row_follows_the_memory_unless_it_is_set():
    assert load().budget.row_bytes == 8 * MIB
    assert load(max_memory="128 MiB").budget.row_bytes < 2 * MIB
    assert load(max_memory="128 MiB", env={"MAX_ROW_BYTES": str(3 * MIB)}).budget.row_bytes == 3 * MIB


def test_memory_is_of_the_process_and_no_single_source_has_its_own(toml):
    assert "max_memory" in problem(toml('[[sources]]\nsqlite = "a.db"\nmax_memory = "128 MiB"\n'))


# -- how the source is read


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('source_time_zone = "Europe/Atlantis"', "source_time_zone: 'Europe/Atlantis' is no time zone"),
        ('timestamp_format = "fortnights"', "timestamp_format: 'fortnights' is none of"),
        ('timestamp_format = "minutes"', "none of auto, s, ms"),
        ('timestamp_format = "%H:%M"', "does not tell a date"),
        ('[times]\nmade = { format = "fortnights" }', "none of auto"),
        ('[columns]\nx = "varchar"', "expected one of 'text', 'integer'"),
        ("max_row_bytes = 1", "1024"),
        ('[schematize.rename]\nid = "reading_id"', "reading_id is the row's id in SQLite"),
    ],
)
def test_a_way_of_reading_that_cannot_work_is_refused(text, said, toml):
    assert said in problem(toml(text))


def test_how_the_source_is_read_can_be_said_in_file_and_environment(toml):
    file = toml('timestamp_format = "ms"\n[times]\nmade = { zone = "Asia/Kolkata" }\n[columns]\npayload = "json"\n')
    settings = load(file, env={"SOURCE_TIME_ZONE": "Europe/Helsinki"})
    assert (settings.timestamp_format, settings.source_time_zone) == ("ms", "Europe/Helsinki")
    assert settings.times["made"].zone == "Asia/Kolkata"
    assert settings.columns == {"payload": "json"}


@pytest.mark.parametrize("key", sorted(OF_THE_UPLOADER))
def test_a_key_of_the_original_uploader_points_to_the_page_that_has_it(key, toml):
    assert "docs/from-the-uploader.md" in problem(toml(f"{key} = 1"))
    page = (Path(__file__).parents[2] / "docs" / "from-the-uploader.md").read_text(encoding="utf-8")
    assert f"`{key}" in page


@pytest.mark.parametrize("variable", ["GPS_FUZZING_SECRET", "EDGE_DELTA_WITNESS_KEY"])
@pytest.mark.parametrize("text", ["hush", "0" * 40])
def test_a_secret_that_will_not_do_is_not_quoted(tmp_path, variable, text):
    file = tmp_path / "config.toml"
    file.write_text('sqlite = "a.db"\ntable_path = "lake/t"\n')
    with pytest.raises(ConfigurationError) as found:
        config.load({"config": str(file)}, environment={variable: text})
    assert variable in str(found.value)
    assert text not in str(found.value)


def test_a_key_that_is_set_twice_is_named(toml):
    assert "sets interval twice, again in line" in problem(toml("interval = 5\ninterval = 6\n"))
