"""The contract of a Delta table as a sink, the same for a folder and for S3."""

from __future__ import annotations

import itertools
import json
import re
import threading
import time
import uuid
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
from deltalake import CommitProperties, DeltaTable, Field, Schema, Transaction, write_deltalake
from pyarrow import parquet

from edge_delta.core.errors import CommitConflict, ProtocolUnsupported, SchemaMismatch, StorageUnavailable, TableCrowded
from edge_delta.core.model import Cursor
from edge_delta.sinks.delta.cursors import application_id
from edge_delta.sinks.delta.sink import DeltaSink
from tests.support.tables import assert_plain_protocol

APP = application_id("n1", "readings")
SUFFIX = "_t"


def frame(*ids, **more):
    columns = {
        "id": pl.Series(ids, dtype=pl.Int64),
        "value": pl.Series([i / 2 for i in ids], dtype=pl.Float64),
        "at": pl.Series([datetime(2026, 1, 1, tzinfo=UTC)] * len(ids), dtype=pl.Datetime("us", "UTC")),
    }
    return pl.DataFrame(columns | more)


def at(rowid, generation=0, fingerprint=None):
    return Cursor(generation=generation, rowid=rowid, fingerprint=fingerprint)


@pytest.fixture
def sink(place):
    return make(place)


def make(place, app=APP):
    options = place.options | ({"aws_force_credential_load": "false"} if place.url else {})
    return DeltaSink(place.uri(SUFFIX), options, app)


def ids(place):
    return sorted(place.read(SUFFIX)["id"].to_list())


def test_a_table_that_is_not_there_has_no_cursor_and_no_schema(sink):
    assert not sink.exists()
    assert sink.committed() is None
    assert sink.schema() is None


def test_rows_and_cursor_are_in_one_commit(sink, place):
    commit = sink.append(frame(1, 2, 3), at(3, fingerprint=77))
    assert (commit.rows, commit.cursor) == (3, at(3, fingerprint=77))
    assert ids(place) == [1, 2, 3]
    assert place.table(SUFFIX).version() == commit.version == 1  # version 0 made the table
    assert make(place).committed() == at(3, fingerprint=77)


def test_the_table_is_made_with_versions_that_everything_can_read(sink, place):
    sink.append(frame(1), at(1))
    assert_plain_protocol(place, SUFFIX)
    configuration = place.table(SUFFIX).metadata().configuration
    assert configuration["delta.appendOnly"] == "true"
    assert "delta.setTransactionRetentionDuration" not in configuration


def test_the_log_has_the_limits_of_ids_and_times_by_which_readers_leave_files_out(sink, place):
    sink.append(frame(1, 2, 3, name=["c", "a", "b"], sensor_id=["s1", "s2", "s1"]), at(3))
    [added] = pl.DataFrame(place.table(SUFFIX).get_add_actions(flatten=True)).rows(named=True)
    limits = {name: (added[f"min.{name}"], added[f"max.{name}"]) for name in ("id", "sensor_id")}
    assert limits == {"id": (1, 3), "sensor_id": ("s1", "s2")}
    assert added["min.at"] == datetime(2026, 1, 1, tzinfo=UTC)
    assert not {"min.value", "min.name"} & set(added)


def test_the_limits_of_other_columns_are_kept_where_a_setting_names_them(folder):
    sink = DeltaSink(folder.uri(SUFFIX), folder.options, APP, statistics=["VALUE"])
    sink.append(frame(1, 2, 3, name=["c", "a", "b"]), at(3))
    [added] = pl.DataFrame(folder.table(SUFFIX).get_add_actions(flatten=True)).rows(named=True)
    assert (added["min.value"], added["max.value"]) == (0.5, 1.5)


def test_a_wide_table_has_limits_of_its_bookkeeping_columns(folder):
    wide = frame(1, **{f"c{i:02}": [1.0] for i in range(60)}, node_id=["n1"])
    make(folder).append(wide, at(1))
    [added] = pl.DataFrame(folder.table(SUFFIX).get_add_actions(flatten=True)).rows(named=True)
    assert (added["min.node_id"], added["min.id"]) == ("n1", 1)


def test_a_lower_or_equal_cursor_is_never_written(sink, place):
    sink.append(frame(1, 2), at(2))
    for rowid in (1, 2):
        with pytest.raises(CommitConflict):
            sink.append(frame(9), at(rowid))
    assert ids(place) == [1, 2]


def test_a_new_generation_starts_below_the_old_cursor(sink, place):
    sink.append(frame(1, 2), at(2, fingerprint=5))
    sink.append(frame(1), at(1, generation=1))
    assert make(place).committed() == at(1, generation=1)
    with pytest.raises(CommitConflict):
        sink.append(frame(7), at(7, generation=0))


@pytest.mark.parametrize("marks", [{}, {"since": 7, "since_rowid": 3}, {"begins": 2}, {"replayed": 1, "begins": 0}])
def test_marks_come_back_as_they_were_whichever_there_are(marks, sink, place):
    sink.append(frame(1), at(1).marked(**marks))
    assert make(place).committed() == at(1).marked(**marks)
    sink.append(frame(2), at(2).marked(**marks | {"begins": 9}))
    assert make(place).committed() == at(2).marked(**marks | {"begins": 9})
    sink.append(frame(1), at(1, generation=1))
    assert make(place).committed() == at(1, generation=1)


def test_marks_of_a_log_that_does_not_say_which_there_are_are_all_asked_for(folder):
    numbers = {"generation": 0, "0": 4, "0/since": 5}
    write_deltalake(
        folder.uri(SUFFIX),
        frame(1),
        commit_properties=CommitProperties(app_transactions=[Transaction(f"{APP}/{k}", n) for k, n in numbers.items()]),
    )
    assert make(folder).committed() == at(4).marked(since=5)


def test_a_rival_with_the_same_id_cannot_repeat_a_batch(sink, place):
    rival = make(place)
    sink.append(frame(1), at(1))
    assert rival.committed() == at(1)
    sink.append(frame(2), at(2))
    with pytest.raises(CommitConflict):
        rival.append(frame(2), at(2))
    assert rival.committed() == at(2)
    rival.append(frame(3), at(3))
    assert ids(place) == [1, 2, 3]


def test_rivals_with_the_same_id_that_make_the_table_at_once_write_each_batch_once(place):
    rivals = [make(place) for _ in range(4)]
    assert [r.committed() for r in rivals] == [None] * 4
    gate, outcomes = threading.Barrier(4), []

    def race(one):
        gate.wait()
        try:
            one.append(frame(1, 2), at(2))
            outcomes.append("written")
        except CommitConflict:
            outcomes.append("refused")

    run_all(race, rivals)
    assert sorted(outcomes) == ["refused"] * 3 + ["written"]
    assert ids(place) == [1, 2]


def test_a_table_that_two_devices_made_at_once_is_one_table(folder):
    """As delta-rs leaves it: the second CREATE TABLE is a commit of its own, behind the first."""
    one = make(folder)
    one.append(frame(1), at(1))
    log = Path(folder.uri(SUFFIX)) / "_delta_log"
    made = (log / f"{0:020}.json").read_text(encoding="utf-8")
    [first] = {json.loads(line)["metaData"]["id"] for line in made.splitlines() if "metaData" in line}
    (log / f"{2:020}.json").write_text(made.replace(first, str(uuid.uuid4())), encoding="utf-8")
    one.forget()
    one.append(frame(2), at(2))
    assert ids(folder) == [1, 2]


def test_different_devices_that_make_the_table_at_once_all_get_through(place):
    devices = [make(place, application_id(f"n{i}", "readings")) for i in range(4)]
    gate, failures = threading.Barrier(4), []

    def race(numbered):
        i, one = numbered
        gate.wait()
        for step in range(1, 4):
            for _ in range(10):
                try:
                    if (one.committed() or at(0)).rowid < step:
                        one.append(frame(i * 10 + step), at(step))
                    break
                except (CommitConflict, StorageUnavailable):
                    one.forget()
            else:
                failures.append(i)

    run_all(race, list(enumerate(devices)))
    assert not failures
    assert ids(place) == [i * 10 + step for i in range(4) for step in range(1, 4)]
    assert [d.committed().rowid for d in devices] == [3] * 4


def run_all(function, arguments):
    threads = [threading.Thread(target=function, args=(a,)) for a in arguments]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)


def test_devices_and_source_tables_do_not_see_each_others_cursors(sink, place):
    sink.append(frame(1), at(41))
    for app in (
        application_id("n2", "readings"),
        application_id("n1", "other"),
        application_id("n1", "readings", "raw"),
    ):
        assert make(place, app).committed() is None


def test_ids_with_slashes_cannot_be_mixed_up():
    assert application_id("a/b", "c") != application_id("a", "b/c")
    assert application_id("a", "b", "c") != application_id("a", "b/c")


def test_a_new_column_is_added_and_older_rows_have_none_of_it(sink, place):
    sink.append(frame(1), at(1))
    sink.append(frame(2, rain=pl.Series([0.5])), at(2))
    assert place.read(SUFFIX).sort("id")["rain"].to_list() == [None, 0.5]
    sink.append(frame(3), at(3))
    assert place.read(SUFFIX).sort("id")["rain"].to_list() == [None, 0.5, None]
    assert_plain_protocol(place, SUFFIX)


def test_columns_that_differ_in_case_only_are_one_column(sink, place):
    sink.append(frame(1), at(1))
    sink.append(frame(2).rename({"value": "VALUE"}), at(2))
    assert place.read(SUFFIX).columns == ["id", "value", "at"]


def test_columns_in_another_order_reach_their_places(sink, place):
    sink.append(frame(1), at(1))
    sink.append(frame(2).select("at", "value", "id"), at(2))
    assert place.read(SUFFIX).sort("id").select("id", "value").rows() == [(1, 0.5), (2, 1.0)]


@pytest.mark.parametrize("other", [pl.Series(["1"]), pl.Series([1], dtype=pl.Int32), pl.Series([True])])
def test_a_column_of_another_type_is_refused_with_both_types_named(other, sink, place):
    sink.append(frame(1), at(1))
    with pytest.raises(SchemaMismatch, match=r"value is \w+, expected DOUBLE"):
        sink.append(frame(2).with_columns(value=other), at(2))
    assert ids(place) == [1]
    assert sink.committed() == at(1)


def test_a_column_that_the_table_demands_and_the_source_lacks_is_refused(place):
    DeltaTable.create(
        place.uri(SUFFIX),
        pl_schema_with_required(),
        storage_options=place.options or None,
    )
    with pytest.raises(SchemaMismatch, match="must is required"):
        make(place).append(frame(1), at(1))


def pl_schema_with_required():
    return Schema([Field("id", "long"), Field("must", "string", nullable=False)])


def test_an_empty_frame_carries_the_cursor_alone(sink, place):
    sink.append(frame(1), at(1))
    commit = sink.append(frame(), at(5))
    assert commit.rows == 0
    assert make(place).committed() == at(5)
    assert ids(place) == [1]


def test_the_cursor_survives_checkpoints_and_a_handle_that_is_opened_anew(folder):
    sink = make(folder)
    for i in range(1, 131):
        sink.append(frame(i), at(i, fingerprint=i))
    assert make(folder).committed() == at(130, fingerprint=130)
    assert ids(folder) == list(range(1, 131))
    assert sorted(p.name for p in folder_log(folder).glob("*.checkpoint.parquet"))


def folder_log(folder):
    return Path(folder.uri(SUFFIX)) / "_delta_log"


def test_integers_decimals_text_and_bytes_come_back_as_they_were(sink, place):
    more = {
        "big": pl.Series([2**63 - 1, -(2**63)]),
        "real": pl.Series([float("inf"), -0.0]),
        "text": pl.Series(["", "ü\x00\n日本"]),
        "raw": pl.Series([b"", b"\x00\xff"]),
        "flag": pl.Series([True, None]),
    }
    sink.append(frame(1, 2, **more), at(2))
    found = place.read(SUFFIX).sort("id")
    for name, column in more.items():
        assert found[name].to_list() == column.to_list()
    theirs = place.read_by_duckdb(SUFFIX).sort("id")
    assert theirs["big"].to_list() == more["big"].to_list()
    assert theirs["text"].to_list() == more["text"].to_list()


def test_a_feature_that_only_databricks_can_write_is_named_with_the_way_out(folder):
    sink = make(folder)
    sink.append(frame(1), at(1))
    add_feature(folder, "clustering")
    with pytest.raises(ProtocolUnsupported, match="cannot be dropped"):
        make(folder).append(frame(2), at(2))


def add_feature(folder, feature):
    """What ``ALTER TABLE … CLUSTER BY`` in Databricks leaves in the log."""
    log = folder_log(folder)
    last = max(int(p.stem) for p in log.glob("*.json"))
    protocol = {
        "minReaderVersion": 1,
        "minWriterVersion": 7,
        "writerFeatures": [feature, "domainMetadata", "appendOnly"],
    }
    (log / f"{last + 1:020}.json").write_text(json.dumps({"protocol": protocol}) + "\n")


def test_a_bucket_that_is_not_there_or_refuses_says_so(lake):
    wrong = lake.options | {"aws_secret_access_key": "wrong"}
    with pytest.raises(StorageUnavailable, match="refused"):
        DeltaSink(lake.uri(SUFFIX), wrong, APP).append(frame(1), at(1))


def test_delta_rs_still_takes_a_txn_version_twice(folder):
    """Why cursors are compared before a commit: an upgrade that changes this should show."""
    uri = folder.uri(SUFFIX)
    for _ in range(2):
        write_deltalake(
            uri, frame(1), mode="append", commit_properties=CommitProperties(app_transactions=[Transaction("a", 1)])
        )
    assert ids(folder) == [1, 1]


# -- a table that many write

COMMIT = r"_delta_log/\d{20}\.json$"


class Crowd:
    """Rivals who commit in front of so many of a sink's tries, and the pauses that it makes."""

    def __init__(self, proxy, place):
        direct = place.options | {"aws_endpoint_url": "http://{}:{}".format(*proxy.target)}
        self.rival = DeltaSink(place.uri(SUFFIX), direct, "rival")
        self.sink = DeltaSink(place.uri(SUFFIX), place.options, APP, wait=self.wait)
        self.tries = lambda: len(proxy.requests("PUT", COMMIT))
        self.left, self.told_to_stop, self.pauses = 0, False, []
        self.rows = itertools.count(1000)
        self.sink.append(frame(1), at(1))
        proxy.chaos = self.before

    def wait(self, seconds):
        self.pauses.append(seconds)
        return self.told_to_stop

    def before(self, method, path):
        if self.left and method == "PUT" and re.search(COMMIT, path):
            self.left -= 1
            row = next(self.rows)
            self.rival.append(frame(row), at(row))


@pytest.fixture
def crowd(proxy, wired_lake):
    return Crowd(proxy, wired_lake)


def ours(place):
    return [row for row in ids(place) if row < 1000]


def test_a_commit_that_others_get_in_front_of_is_tried_again_after_growing_pauses(crowd, wired_lake):
    crowd.left, before = 18, crowd.tries()
    crowd.sink.append(frame(2), at(2))
    assert ours(wired_lake) == [1, 2]
    assert crowd.tries() - before == 19
    lost = len(crowd.pauses)
    assert 3 <= lost <= 5
    assert all(0 <= pause <= 2**turn for turn, pause in enumerate(crowd.pauses))
    crowd.sink.append(frame(3), at(3))
    assert len(crowd.pauses) == lost + 1, "a table that was crowded a moment ago still is"


def test_a_table_that_stays_crowded_is_a_transient_error_and_the_batch_is_written_later_once(crowd, wired_lake):
    crowd.left = 10_000
    with pytest.raises(TableCrowded, match="came first at every try"):
        crowd.sink.append(frame(2), at(2))
    assert len(crowd.pauses) == 7
    crowd.left = 0
    crowd.sink.append(frame(2), at(2))
    assert ours(wired_lake) == [1, 2]


def test_a_pause_in_front_of_a_crowded_table_ends_when_the_process_is_told_to_stop(crowd, wired_lake):
    crowd.left, crowd.told_to_stop = 10_000, True
    with pytest.raises(TableCrowded):
        crowd.sink.append(frame(2), at(2))
    assert len(crowd.pauses) == 1
    assert ours(wired_lake) == [1]


def test_the_table_is_opened_anew_after_a_hundred_commits_and_not_before(proxy, wired_lake):
    sink = make(wired_lake)
    sink.append(frame(1), at(1))
    opened, before = [], {}
    for rowid in range(2, 103):
        asked = {method: len(proxy.requests(method, "_last_checkpoint")) for method in ("GET", "PUT")}
        # Who writes a checkpoint reads the last one, too.
        if before and asked["GET"] > before["GET"] and asked["PUT"] == before["PUT"]:
            opened.append(rowid - 1)
        before = asked
        sink.append(frame(rowid), at(rowid))
    assert opened == [101]
    assert ids(wired_lake) == list(range(1, 103))


def test_long_texts_are_cut_in_the_statistics_so_that_the_log_stays_small(sink, place):
    long = "x" * 100_000
    for rowid in range(1, 6):
        sink.append(frame(rowid, text_id=[long]), at(rowid))
    [added, *_] = pl.DataFrame(place.table(SUFFIX).get_add_actions(flatten=True)).rows(named=True)
    assert len(added["min.text_id"]) <= 65
    assert len(added["max.text_id"] or "") <= 65
    if place.url is None:
        log = Path(place.uri(SUFFIX)) / "_delta_log"
        assert sum(path.stat().st_size for path in log.iterdir()) < 30_000


def test_files_have_plain_texts_in_their_arrow_schema_so_that_older_readers_open_them(folder):
    here = make(folder)
    here.append(frame(1, name=["a"], raw=pl.Series([b"x"], dtype=pl.Binary)), at(1))
    here.append(frame(2, 3, name=["b", None], raw=pl.Series([None, b""], dtype=pl.Binary)), at(3))
    here.append(frame(name=pl.Series([], dtype=pl.String), raw=pl.Series([], dtype=pl.Binary)), at(4))
    for uri in folder.table(SUFFIX).file_uris():
        names = {str(field.type) for field in parquet.read_schema(uri)}
        assert not names & {"string_view", "binary_view"}
        assert "large_string" in names
    assert folder.read(SUFFIX).sort("id")["name"].to_list() == ["a", "b", None]


def test_the_cursor_s_transactions_say_when_so_that_spark_keeps_them(folder):
    """With `delta.setTransactionRetentionDuration`, Spark's checkpoint drops those that are older or do not say it."""
    began = int(time.time() * 1000)
    for rowid in (1, 2):  # a device that was started twice, so the second commit has all of them again
        make(folder).append(frame(rowid), at(rowid, fingerprint=7).marked(since=5))
    log = Path(folder.uri(SUFFIX)) / "_delta_log"
    lines = [json.loads(line) for line in (log / f"{2:020}.json").read_text().splitlines()]
    said = {line["txn"]["appId"]: line["txn"]["lastUpdated"] for line in lines if "txn" in line}
    assert set(said) == {f"{APP}/{part}" for part in ("generation", "0", "0/row", "0/since", "0/marks")}
    assert all(began <= moment <= time.time() * 1000 for moment in said.values())
