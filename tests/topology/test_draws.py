"""A start says what a change of the displacement costs, and what of places is in the tables."""

from __future__ import annotations

from edge_delta.modes.privacy.policy import stretched
from tests.modes.privacy.test_gps import GPS, run, stations
from tests.support import modes

__all__ = ["stations"]


def told(done):
    return " ".join(text for event in done.named("places") for text in event["detail"])


def more(stations, folder, **changed):
    modes.add(stations, 2)
    return run(stations, folder, **changed)


def test_the_first_draw_and_the_same_one_again_are_no_news(stations, folder):
    assert told(run(stations, folder)) == ""
    assert told(more(stations, folder)) == ""


def test_another_radius_or_secret_is_told_by_the_number_of_draws(stations, folder):
    run(stations, folder)
    two = told(more(stations, folder, gps={"radius_meters": 900}))
    assert "in 2 draws" in two
    assert "0.43 of the radius off, not 0.65" in two
    assert "in 3 draws" in told(more(stations, folder, secret="a secret that nobody knew before"))
    assert told(more(stations, folder, secret="a secret that nobody knew before")) == ""


def test_a_run_without_rows_stretches_no_secret_and_leaves_what_is_to_be_told_for_the_next(stations, folder):
    run(stations, folder)
    stretched.cache_clear()
    assert told(run(stations, folder, secret="a secret that nobody knew before")) == ""
    assert stretched.cache_info().currsize == 0
    assert "in 2 draws" in told(more(stations, folder, secret="a secret that nobody knew before"))


def test_rows_from_before_the_fuzzing_are_told_as_exact(stations, folder):
    modes.deliver(stations.path, folder, "schematized")
    assert "exact places" in told(more(stations, folder))


def test_old_settings_and_modes_that_stay_exact_are_told_at_every_start(stations, folder):
    for _ in range(2):
        found = told(
            more(stations, folder, mode=["raw", "sanitized"], gps={"strategy": "per_sensor", "cell_meters": 90})
        )
        assert "old name" in found
        assert "cell_meters" in found
        assert "not displaced in the tables of raw" in found


def test_a_radius_that_changes_while_it_runs_is_told_by_the_number_of_draws(stations, folder, command, tmp_path):
    file = tmp_path / "settings.toml"
    settings = {"node_id": "n1", "gps_fuzzing": GPS}
    file.write_text(modes.toml(settings), encoding="utf-8")
    running = command(stations.path, folder, config=file).start(env={"GPS_FUZZING_SECRET": modes.SECRET})
    running.wait_for("batch committed")
    file.write_text(modes.toml(settings | {"gps_fuzzing": GPS | {"radius_meters": 900}}), encoding="utf-8")
    told_of = running.wait_for("places")["detail"]
    assert any("in 2 draws" in text for text in told_of)
    assert running.terminate() == 0
