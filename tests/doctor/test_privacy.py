"""What `check --privacy` says of columns, and of what is published."""

from __future__ import annotations

import shutil

import polars as pl

from edge_delta.doctor.check import check, check_privacy
from edge_delta.settings import load as config
from tests.modes.privacy.test_gps import GPS, places, run, stations
from tests.support import modes

__all__ = ["stations"]


def findings(sensor, look=check_privacy, secret=modes.SECRET):
    file = sensor.path.parent / "settings.toml"
    return [*look(lambda: config.load({"config": str(file)}, environment={"GPS_FUZZING_SECRET": secret}))]


def texts(found, level):
    return [f.fact for f in found if f.level.name == level]


def test_each_column_is_listed_with_what_becomes_of_it(stations, folder):
    run(stations, folder)
    facts = [f.fact for f in findings(stations)]
    assert "column latitude: displaced, a coordinate by its name" in facts
    assert "column location: harmless, named in harmless" in facts
    assert "column temperature: delivered" in facts


def test_a_column_that_may_tell_a_place_fails_the_check_in_any_form(stations, folder):
    run(stations, folder)
    stations.run("ALTER TABLE stations ADD COLUMN geohash TEXT")
    for look in (check_privacy, check):
        assert "column geohash: undecided, its name tells a place" in texts(findings(stations, look), "FAILED")


def test_a_table_with_one_draw_has_nothing_to_remove(stations, folder):
    run(stations, folder)
    assert texts(findings(stations), "WARNING") == []


def test_draws_of_other_devices_in_a_shared_table_are_none_of_this_one(stations, folder):
    for node in ("n2", "n3", "n1"):
        shutil.rmtree(stations.path.parent / "state", ignore_errors=True)
        run(stations, folder, node_id=node)
    found = findings(stations)
    assert texts(found, "WARNING") == []
    assert any("2 other devices have draws of their own here" in fact for fact in texts(found, "OK"))
    modes.add(stations, 2)
    done = run(stations, folder, gps={"radius_meters": 900})
    assert "in 2 draws" in str(done.named("places"))
    assert "2 draws of a place can be read" in " ".join(texts(findings(stations), "WARNING"))


def test_exact_rows_and_an_earlier_draw_are_told_with_their_versions(stations, folder):
    modes.deliver(stations.path, folder, "schematized")
    run(stations, folder)
    modes.add(stations, 3)
    run(stations, folder, gps={"radius_meters": 900})
    modes.add(stations, 3)
    run(stations, folder, gps={"radius_meters": 700})
    told = " ".join(texts(findings(stations), "WARNING"))
    assert "3 draws of a place can be read, and exact places" in told
    assert "coordinates have more digits" in told
    exact = folder.read().filter(pl.col("latitude").is_in([y for y, _ in places()])).height
    assert f"{exact} coordinates" in told
    assert "Removing what was published" in " ".join(f.cure for f in findings(stations))


def test_a_mode_that_is_not_fuzzed_is_told(stations, folder):
    run(stations, folder, ["raw", "sanitized"])
    assert "places are not displaced in the tables of raw" in texts(findings(stations), "WARNING")
    assert GPS["enabled"]
