"""Which columns leave the device, told by names alone."""

from __future__ import annotations

import subprocess
import sys

import pytest

from edge_delta.core.model import Column, Kind, Layout
from edge_delta.modes.names import (
    STANDARD_NAMES,
    hidden,
    idle_renames,
    leaving,
    matched,
    not_there,
    pair_of,
    same_renames,
)
from edge_delta.modes.schematized import STANDARD
from edge_delta.settings.load import load
from tests.support import modes


def layout(*names):
    columns = tuple(Column(n, n.replace(" ", "_"), "TEXT", Kind.TEXT, "TEXT") for n in names)
    by_name = {c.name.lower(): c for c in columns}
    return Layout(columns, by_name.get("timestamp"), by_name.get("id"))


def settings(tmp_path, **sections):
    values = {"sqlite": "a.db", "table_path": "t", "gps_fuzzing": {"enabled": True}} | sections
    file = tmp_path / "settings.toml"
    file.write_text(modes.toml(values), encoding="utf-8")
    return load({"config": str(file)}, environment={"GPS_FUZZING_SECRET": modes.SECRET})


SOURCE = layout("id", "Timestamp", "Sensor_ID", "temp", "Lat", "LON", "geohash", "hall", "location", "name")


def test_the_names_of_the_standard_schema_are_those_of_its_types():
    assert tuple(STANDARD) == STANDARD_NAMES


@pytest.mark.parametrize("mode", ["schematized", "sanitized", "aggregated", "emergency"])
def test_no_column_that_tells_a_place_or_is_withheld_leaves_in_any_mode(tmp_path, mode):
    found = settings(tmp_path, gps_fuzzing={"enabled": True, "withhold": ["HALL"]})
    assert hidden(found, mode, SOURCE) == {"Lat", "LON", "geohash", "location", "hall"}
    assert not leaving(found, mode, SOURCE) & hidden(found, mode, SOURCE)
    assert {"id", "Timestamp", "Sensor_ID"} <= leaving(found, mode, SOURCE)


def test_an_allow_list_is_taken_after_renames(tmp_path):
    found = settings(
        tmp_path,
        schematize={"rename": {"TEMP": "temperature", "name": "model"}},
        sanitize={"columns": ["temperature"]},
    )
    assert leaving(found, "sanitized", SOURCE) == {"id", "Timestamp", "Sensor_ID", "temp"}
    assert "name" in leaving(found, "schematized", SOURCE)


def test_aggregates_and_alerts_show_what_they_are_made_of(tmp_path):
    found = settings(tmp_path, aggregate={"aggregations": {"temp": ["mean"]}, "group_by": ["sensor_id"]} | {})
    assert leaving(found, "aggregated", SOURCE) == {"id", "Timestamp", "Sensor_ID", "temp"}
    assert leaving(found, "emergency", SOURCE) == {"id", "Timestamp", "Sensor_ID"}


def test_what_the_owner_calls_harmless_leaves(tmp_path):
    found = settings(tmp_path, gps_fuzzing={"enabled": True, "harmless": ["Location"], "withhold": ["name"]})
    assert "location" in leaving(found, "schematized", SOURCE)
    assert "name" not in leaving(found, "schematized", SOURCE)


def test_a_column_that_is_renamed_to_a_coordinate_is_one(tmp_path):
    found = settings(tmp_path, schematize={"rename": {"A": "latitude", "b": "longitude"}})
    source = layout("id", "a", "B", "latitude")
    assert [c.name for c in pair_of(source, found.schematize.rename)] == ["a", "B"]
    assert leaving(found, "schematized", source) == {"id"}


def test_without_fuzzing_or_in_another_mode_all_columns_leave(tmp_path):
    everything = {c.name for c in SOURCE.columns}
    assert leaving(settings(tmp_path), "raw", SOURCE) == everything
    assert leaving(settings(tmp_path, gps_fuzzing={"enabled": False}), "schematized", SOURCE) == everything


def test_telling_what_leaves_needs_no_polars():
    code = "import sys, edge_delta.modes.names; sys.exit('polars' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


SPACED = layout("id", "luft feuchte", "temp_c", "breite n")


@pytest.mark.parametrize("spelt", ["luft feuchte", "luft_feuchte", "Luft_Feuchte"])
def test_a_column_is_renamed_by_its_own_name_or_by_that_in_the_tables(spelt):
    assert matched(SPACED, {spelt: "humidity"})["humidity"].name == "luft feuchte"
    assert idle_renames(SPACED, {spelt: "humidity"}) == []


def test_a_column_that_is_renamed_to_a_place_stays_hidden_however_it_is_spelt(tmp_path):
    found = settings(tmp_path, schematize={"rename": {"breite_n": "gps_text"}})
    assert "breite n" in hidden(found, "schematized", SPACED)


def test_a_rename_of_no_column_and_one_name_for_two_are_told():
    [unknown] = idle_renames(SPACED, {"temp": "temperature"})
    assert "'temp', which is no column of the source; its columns are: id, luft feuchte, temp_c" in unknown
    [twice] = same_renames(SPACED, {"temp_c": "temperature", "luft feuchte": "Temperature", "gone": "temperature"})
    assert "one name, 'temperature', to 'temp_c' and 'luft feuchte'" in twice


def test_a_name_that_no_table_has_is_told_with_those_that_there_are():
    assert not_there(SPACED, "luft feuchte", ["luft_feuchte", "temp_c"]) == "in the tables it is called 'luft_feuchte'"
    assert not_there(SPACED, "nix", ["luft_feuchte", "temp_c"]) == "there are: luft_feuchte, temp_c"
