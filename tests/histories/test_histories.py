"""Random histories of databases: every row that was there at a delivery is in the tables once, and `verify` agrees.

Here the beginnings of the same ones each time; `make histories` tries 10,000. See `plans` for what happens in them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.histories import world
from tests.histories.plans import Plan, Step, plan, shrunk, told
from tests.histories.run import Noted
from tests.histories.states import States
from tests.histories.world import happens

if TYPE_CHECKING:
    from collections.abc import Callable

PORTION = 20
PORTIONS = 15
JUDGED = 4
"""Of so many histories, ``verify`` judges one."""


@pytest.mark.parametrize("portion", range(PORTIONS))
def test_every_row_that_was_there_at_a_delivery_is_in_the_tables_once(portion, sensor):
    for seed in range(portion * PORTION, (portion + 1) * PORTION):
        one = plan(seed).short()
        wrong = happens(sensor, one, judged=not seed % JUDGED)
        assert wrong is None, told(one, wrong or "")


def made(*steps, kind="integer primary key", modes=("schematized",), **more):
    values = {"time": "iso", "once": True, "swept": True, "databases": 1, "batch": 1000, "by_group": True}
    some = [("insert many", 20), ("deliver", 0), *steps]
    return Plan(-1, kind, modes=modes, steps=tuple(Step(name, much) for name, much in some), **values | more)


@pytest.mark.parametrize("mode", ["raw", "schematized", "sanitized", "aggregated", "emergency"])
@pytest.mark.parametrize("step", ["delete some", "delete oldest", "delete newest", "empty"])
def test_verify_is_content_where_the_application_deleted_what_was_delivered(step, mode, sensor):
    one = made(
        ("restart", 0), ("insert", 1), ("deliver", 0), (step, 3), ("insert", 2), kind="autoincrement", modes=(mode,)
    )
    wrong = happens(sensor, one)
    assert wrong is None, wrong


@pytest.mark.parametrize("mode", ["raw", "aggregated", "emergency"])
@pytest.mark.parametrize("once", [True, False])
def test_verify_is_content_where_a_table_was_made_again_and_emptied_before_a_row_was_read(once, mode, sensor):
    steps = (("recreate the file", 18), ("insert", 21), ("delete oldest", 8))
    wrong = happens(sensor, made(*steps, kind="autoincrement", modes=(mode,), once=once, swept=False))
    assert wrong is None, wrong


@pytest.mark.parametrize("step", ["replace", "replace in its time", "insert or replace", "reuse ids"])
def test_verify_is_content_where_ids_were_used_again(step, sensor):
    wrong = happens(sensor, made((step, 3), ("deliver", 0), (step, 4)))
    assert wrong is None, wrong


def test_verify_does_not_call_a_row_under_a_used_id_delivered_where_a_generation_began_behind_it(sensor):
    """Nobody looked below the cursor, and the id of the row is in the table."""
    kind = {"kind": "key without rowid", "time": "milliseconds", "modes": ("sanitized",)}
    wrong = happens(sensor, made(("replace", 18), ("reuse ids", 4), once=False, swept=False, **kind))
    assert wrong is None, wrong


def test_a_history_that_loses_a_row_is_found_and_made_short(sensor, monkeypatch):
    """The judge is judged: a table that hides a row from the one who reads it is a finding."""
    read: Callable[[world.World, str], list[str]] = world.World._tags
    monkeypatch.setattr(world.World, "_tags", lambda self, mode: [t for t in read(self, mode) if t != "a3"])
    one = made(("update old", 3), ("vacuum", 0), ("insert", 2))
    assert "never delivered: ['a3']" in (happens(sensor, one) or "")
    short = shrunk(one, lambda other: happens(sensor, other) is not None)
    assert [step.name for step in short.steps] == ["insert many"]


def test_the_judge_wants_no_second_row_under_a_key_and_time_of_one_that_a_backup_took_back(sensor):
    """Nothing tells it from that one, changed: records are filled in at other times than those of any row before."""
    steps = (("back up", 42), ("fill in", 50), ("insert", 23), ("deliver", 0), ("restore", 0), ("fill in", 50))
    wrong = happens(sensor, made(*steps, kind="time as key", time="seconds", once=False))
    assert wrong is None, wrong


def test_a_seed_makes_the_same_history_each_time():
    assert plan(7) == plan(7)
    assert len({plan(seed).steps for seed in range(50)}) == 50


def test_a_run_that_was_stopped_goes_on_behind_what_it_tried(tmp_path):
    note = tmp_path / "build" / "histories.jsonl"
    Noted(note, anew=False).add(range(10), {3: "wrong"})
    again = Noted(note, anew=False)
    assert (again.tried, again.failed) == (set(range(10)), {3: "wrong"})
    assert not Noted(note, anew=True).tried


@pytest.mark.parametrize("step", ["replace", "replace in its time", "reuse ids", "insert or replace"])
def test_a_row_under_a_used_id_is_told_where_its_window_has_as_many_rows_as_before(step, sensor):
    """Its window is the one of the row that had the id: counting finds no row too many."""
    wrong = happens(sensor, made((step, 12), modes=("aggregated",), once=False, batch=3, by_group=False))
    assert wrong is None, wrong


@pytest.mark.parametrize("mode", ["raw", "schematized", "sanitized", "aggregated", "emergency"])
def test_newest_rows_that_were_deleted_and_come_back_with_a_backup_are_not_repeated(mode, sensor):
    steps = (("back up", 1), ("delete newest", 1), ("deliver", 0), ("restore", 0), ("deliver", 0))
    wrong = happens(sensor, made(*steps, kind="text key", modes=(mode,), once=False))
    assert wrong is None, wrong


@pytest.mark.parametrize("mode", ["raw", "schematized", "sanitized", "aggregated", "emergency"])
def test_newest_rows_that_are_deleted_again_and_again_repeat_nothing(mode, sensor):
    """Nothing was read between two sources that took each other's place, so that no table knows the first of them."""
    steps = (
        ("delete newest", 0),
        ("deliver", 0),
        ("delete newest", 1),
        ("deliver", 0),
        ("delete oldest", 3),
        ("insert", 1),
    )
    wrong = happens(sensor, made(*steps, kind="plain", modes=(mode,), once=False))
    assert wrong is None, wrong


@pytest.mark.parametrize("once", [True, False])
@pytest.mark.parametrize("mode", ["raw", "aggregated", "emergency"])
def test_newest_rows_that_were_deleted_twice_and_come_back_with_a_backup_are_not_repeated(mode, once, sensor):
    """Nothing was read in the generation between, and it does not know the rows that went before it."""
    gone = (("back up", 1), ("delete newest", 0), ("deliver", 0), ("delete newest", 1), ("deliver", 0))
    one = made(*gone, ("restore", 0), ("deliver", 0), ("insert", 2), kind="plain", modes=(mode,), once=once)
    wrong = happens(sensor, one)
    assert wrong is None, wrong


@pytest.mark.parametrize(
    "steps",
    [
        [("delete newest", 0), ("delete oldest", 1), ("fill in", 0)],
        [("replace", 19), ("replace", 28), ("fill in", 7)],
    ],
)
def test_a_row_filled_in_before_all_others_does_not_hide_what_is_known_of_a_source(steps, sensor):
    wrong = happens(sensor, made(*steps, kind="time as key", time="seconds", modes=("raw",), batch=3, once=False))
    assert wrong is None, wrong


def test_windows_that_a_kill_left_behind_go_on_where_the_readings_beside_them_do(sensor):
    one = plan(31288)
    assert one.modes == ("schematized", "aggregated")
    wrong = happens(sensor, one)
    assert wrong is None, wrong


@pytest.mark.parametrize("kind", ["plain", "text key"])
@pytest.mark.parametrize("mode", ["raw", "schematized", "sanitized", "aggregated", "emergency"])
def test_rows_filled_in_before_vacuum_gives_all_rows_new_ids_repeat_nothing(mode, kind, sensor):
    """The first row is new, and so are some between those that were delivered under other ids."""
    steps = (("fill in", 25), ("deliver", 0), ("fill in", 37), ("vacuum", 0), ("deliver", 0), ("insert", 2))
    wrong = happens(sensor, made(*steps, kind=kind, modes=(mode,)))
    assert wrong is None, wrong
    one = made(*steps, kind=kind, modes=(mode,), once=False)
    wrong = happens(sensor, replace(one, steps=one.steps[2:]))
    assert wrong is None, wrong


@pytest.mark.parametrize("modes", [("emergency", "raw"), ("aggregated", "raw"), ("emergency",), ("aggregated",)])
def test_a_row_under_a_used_id_is_known_behind_two_generations_of_which_nothing_was_read(modes, sensor):
    """Alerts that are none leave nothing in their table, so the first generation's end has to be told to it."""
    steps = (("delete newest", 26), ("deliver", 0), ("reuse ids", 34), ("insert or replace", 38))
    one = made(*steps, modes=modes, time="offset", once=False)
    wrong = happens(sensor, replace(one, steps=(Step("insert many", 10), *one.steps[1:])))
    assert wrong is None, wrong


@pytest.mark.parametrize(
    ("found", "wrong"),
    [
        ([(1,), (2,), (4,)], False),
        ([(1,), (2,), (3,), (4,)], False),
        ([(1,), (4,)], True),
        ([(1,), (2,), (2,), (4,)], True),
        ([(1,), (2,), (4,), (2,)], True),
        ([(1,), (2,), (5,), (4,)], True),
    ],
)
def test_each_state_that_was_there_at_a_delivery_is_wanted_once_and_one_at_a_kill_may_be_there(found, wrong):
    states = States()
    for value in (1, 2, 3, 4):
        states.delivered({"a": (value,)}, sure=value != 3)
    assert (states.wrong("a", found, appends=True, twice=False) is not None) == wrong


def test_a_history_without_new_states_is_found_where_they_are_wanted(sensor, monkeypatch):
    """The judge is judged: an update that is not delivered is a finding."""
    one = made(("update old", 3), ("deliver", 0), appends=True)
    assert happens(sensor, one) is None
    monkeypatch.setattr(world.World, "_updates", lambda _self: 'on_update = "append"\nupdate_window = 1\n')
    assert "has the states" in (happens(sensor, one) or "")


def test_a_history_whose_rows_do_not_wait_is_found_where_they_have_to(sensor, monkeypatch):
    one = made(("insert", 3), ("deliver", 0), ("deliver", 15), ("deliver", 15), ("deliver", 15), settle=30)
    assert happens(sensor, one) is None
    monkeypatch.setattr(world.World, "_settle", lambda _self: 0)
    assert "before they were settled" in (happens(sensor, one) or "")
    monkeypatch.setattr(world.World, "_settle", lambda _self: 10_000)
    monkeypatch.setattr(world.World, "_finish", lambda *_: None)
    assert "never delivered" in (happens(sensor, one) or "")


@pytest.mark.parametrize("swept", [True, False])
@pytest.mark.parametrize("kind", ["integer primary key", "key without rowid"])
@pytest.mark.parametrize("mode", ["raw", "schematized"])
def test_a_row_whose_id_was_used_again_comes_back_with_a_backup_and_is_not_repeated(mode, kind, swept, sensor):
    """Its id was another row's in the generation between, so the table has two rows under it."""
    steps = (("back up", 1), ("replace", 11), ("insert", 2), ("deliver", 0), ("insert many", 9), ("restore", 0))
    one = made(*steps, ("insert", 1), kind=kind, modes=(mode,), once=False, swept=swept)
    wrong = happens(sensor, replace(one, steps=(Step("insert many", 7), *one.steps[1:])))
    assert wrong is None, wrong


def test_verify_does_not_take_rows_that_no_table_has_for_those_of_the_other_mode(sensor):
    """Both tables began a generation behind the rows whose ids were used again, and nobody looked there."""
    steps = ("insert or replace", 40), ("reuse ids", 9)
    one = made(*steps, modes=("sanitized", "raw"), batch=3, once=False, swept=False)
    wrong = happens(sensor, replace(one, steps=(Step("insert many", 22), *one.steps[1:])))
    assert wrong is None, wrong


def test_a_backup_that_comes_while_rows_are_delivered_that_had_its_ids_repeats_nothing(sensor):
    """In one cycle rows are read that it does not have, and others behind them that were delivered long ago."""
    steps = (("fill in", 14), ("deliver", 0), ("back up", 13), ("delete newest", 43), ("insert", 29), ("restore", 20))
    one = made(*steps, ("deliver", 39), kind="text key", modes=("sanitized",), batch=3, once=False)
    wrong = happens(sensor, replace(one, steps=(Step("insert many", 6), *one.steps[1:])))
    assert wrong is None, wrong


def test_late_rows_of_a_window_that_stays_are_each_told(sensor):
    """An earlier generation wrote it, and the row that it was made of is gone with the newest ones."""
    steps = (("insert many", 28), ("killed after a commit", 30), ("replace", 35), ("delete newest", 38))
    one = made(kind="plain", modes=("aggregated",), once=False, swept=False, by_group=False)
    one = replace(one, steps=tuple(Step(*step) for step in (*steps, ("replace", 48))), time="text of seconds")
    wrong = happens(sensor, one)
    assert wrong is None, wrong


@pytest.mark.parametrize("late", [48, 10])
def test_a_row_of_an_open_window_is_missed_where_late_ones_make_up_for_its_number(late, sensor):
    """The state directory is gone, and with it what was known of each row."""
    steps = (("insert or replace", late), ("lose state", 40), ("insert", 25), ("replace", 49))
    one = made(*steps, modes=("raw", "aggregated"), batch=10, appends=True)
    wrong = happens(sensor, replace(one, steps=(Step("insert many", 19), *one.steps[1:])))
    assert wrong is None, wrong


@pytest.mark.parametrize("mode", ["raw", "schematized", "sanitized"])
def test_newest_rows_that_are_deleted_after_all_got_other_ids_repeat_nothing(mode, sensor):
    """The table has the ids that they had, and its cursor those that they have."""
    steps = (("delete some", 4), ("deliver", 0), ("vacuum", 0), ("deliver", 0), ("delete newest", 39))
    one = made(*steps, kind="plain", modes=(mode,))
    wrong = happens(sensor, replace(one, steps=(Step("insert many", 28), *one.steps[1:])))
    assert wrong is None, wrong


@pytest.mark.parametrize("modes", [("raw", "emergency"), ("emergency", "schematized", "aggregated")])
def test_rows_under_used_ids_raise_their_alerts_though_the_process_was_killed_ahead_of_the_readings(modes, sensor):
    """The table of readings got them in order, and cannot say that the alerts have seen those which had the ids."""
    steps = (("killed after a commit", 42), ("kill", 5), ("killed after a commit", 41), ("insert or replace", 13))
    one = made(*steps, kind="autoincrement", modes=modes, batch=10, once=False, swept=False, settle=30)
    wrong = happens(sensor, replace(one, steps=(Step("insert many", 17), *one.steps[1:])))
    assert wrong is None, wrong


@pytest.mark.parametrize("modes", [("aggregated",), ("aggregated", "schematized")], ids=["alone", "beside readings"])
@pytest.mark.parametrize("steps", [(), (("killed before a commit", 27),)], ids=["", "killed"])
def test_late_rows_of_open_windows_that_are_later_than_those_before_are_not_told_as_left(steps, modes, sensor):
    """A range whose latest time is another one may have used ids: these have none."""
    steps = (("fill in", 15), ("deliver", 49), ("fill in", 7), *steps)
    wrong = happens(sensor, made(*steps, modes=modes, time="offset"))
    assert wrong is None, wrong


def test_a_row_under_a_used_id_raises_its_alert_though_its_table_of_readings_has_it_as_a_new_state(sensor):
    modes = ("schematized", "emergency", "raw")
    steps = (("lose state", 16), ("insert", 37), ("replace", 5))
    wrong = happens(sensor, made(*steps, modes=modes, time="seconds", batch=10, appends=True))
    assert wrong is None, wrong


def test_newest_rows_come_back_with_a_backup_that_lacks_a_column_and_are_not_repeated(sensor):
    steps = (
        ("back up", 27),
        ("add column", 33),
        ("deliver", 45),
        ("delete newest", 47),
        ("deliver", 23),
        ("restore", 33),
    )
    wrong = happens(
        sensor,
        replace(made(kind="plain", time="milliseconds"), steps=tuple(Step(*s) for s in (("insert many", 18), *steps))),
    )
    assert wrong is None, wrong
