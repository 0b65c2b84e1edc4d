"""`edge-delta fleet`: who is behind, dead or idle, told by logs and heartbeats alone."""

from __future__ import annotations

import json
import os
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from edge_delta.ask.fleet.devices import Device, DeviceLane, Verdict, ordered
from edge_delta.ask.fleet.finding import layout_of
from edge_delta.device.heartbeat import place_of
from edge_delta.device.vitals import counted, within
from edge_delta.sinks.delta.tail import lanes_in, tail_of
from edge_delta.sinks.objects import objects_at, put
from edge_delta.sinks.store_listing import StoreObjects
from tests.support.command import EdgeDelta, finished
from tests.support.sqlite import Sensor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.tables import Place

NOW = 1_800_000_000.0


def said(waiting: int | None = 0, **more: Any) -> dict[str, Any]:
    return {"version": "1", "allowed": 960, "waiting": waiting, "recent": counted(None, NOW - 60, rows=5), **more}


def device(age: float, waiting: int | None = 0, beat: dict[str, Any] | None = None, **more: Any) -> Device:
    lane = DeviceLane("d/readings_1_schematized", "schematized", "readings", 0, 100, NOW - age, said(waiting, **more))
    return Device("d", [lane], beat=beat, now=NOW)


def beat(age: float, *, heard: float | None = None, waiting: int = 0, **more: Any) -> dict[str, Any]:
    source = {"table": "readings", "allowed": 960, "error": None, "modes": {"schematized": {"waiting": waiting}}}
    own = {"at": NOW - age, "heard": NOW - (age if heard is None else heard), "every": 300, "stopped": None}
    return own | {"version": "1", "sources": {"": source}} | more


@pytest.mark.parametrize(
    ("found", "verdict"),
    [
        (device(60), Verdict.UP_TO_DATE),
        (device(60, waiting=3), Verdict.DELIVERING),
        (device(2_000), Verdict.SILENT),
        (device(2_000, waiting=3), Verdict.BEHIND),
        (device(2_000, beat=beat(30)), Verdict.QUIET),
        (device(2_000, beat=beat(30, waiting=9)), Verdict.BEHIND),
        (device(2_000, beat=beat(30, heard=1_500)), Verdict.BEHIND),
        (device(2_000, beat=beat(1_900)), Verdict.DEAD),
        (device(60, beat=beat(1_900)), Verdict.UP_TO_DATE),
        (device(2_000, beat=beat(1_900, stopped=0)), Verdict.STOPPED),
        (device(60, beat=beat(10, stopped=3)), Verdict.STOPPED),
        (device(60, beat=beat(10, stopped=0)), Verdict.UP_TO_DATE),
        (Device("d", error="refused", now=NOW), Verdict.UNREADABLE),
        (Device("d", beat=beat(30), now=NOW), Verdict.QUIET),
    ],
)
def test_a_heartbeat_tells_an_idle_device_from_a_dead_one(found: Device, verdict: Verdict) -> None:
    assert found.verdict is verdict
    assert found.ok == (verdict in {Verdict.UP_TO_DATE, Verdict.DELIVERING, Verdict.QUIET})


def test_who_delivered_longest_ago_stands_first_among_those_with_the_same_verdict() -> None:
    devices = [device(10), device(3_000, waiting=1), device(9_000, waiting=1), device(5_000, beat=beat(4_000))]
    found = ordered(replace(d, node=str(n)) for n, d in enumerate(devices))
    assert [d.node for d in found] == ["3", "2", "1", "0"]


def test_rows_are_counted_by_hour_and_by_five_minutes_whatever_the_clock_does() -> None:
    recent = None
    for age, rows in ((100_000, 7), (80_000, 50), (3_000, 20), (30, 1)):
        recent = counted(recent, NOW - age, rows=rows)
    assert recent is not None
    assert within(recent, "rows", "hours", after=NOW - 86_400) == 71
    assert within(recent, "rows", "parts", after=NOW - 3_600) == 21
    assert within(recent, "rejected", "hours", after=NOW - 86_400) == 0
    set_back = counted(recent, NOW - 900_000, rows=4)
    assert within(set_back, "rows", "hours", after=NOW - 903_600) == 4
    assert within(recent, "rows", "parts", after=NOW + 50_000) == 0
    assert all(len(series) <= 26 for series in recent["rows"].values())


def test_modes_hold_the_same_rows_and_sources_add_up() -> None:
    lanes = [
        DeviceLane("a_0_raw", "raw", "a", 0, 10, NOW, said(settled=10)),
        DeviceLane("a_1_schematized", "schematized", "a", 0, 8, NOW, said(settled=8)),
        DeviceLane("b_0_raw", "raw", "b", 1, 3, NOW, said(settled=2)),
    ]
    found = Device("d", lanes, now=NOW)
    assert found.rows("rows", 3_600) == 10
    assert found.settled == {"a": 8, "b": 2}
    old = Device("d", [*lanes[:2], replace(lanes[2], said={})], now=NOW)
    assert old.rows("rows", 3_600) is None, "an earlier version says nothing, and nothing is made up for it"


@pytest.mark.parametrize(
    ("table_path", "root", "parts", "shared"),
    [
        ("s3://lake/{node_id}/readings", "s3://lake", ("{node_id}", "readings"), False),
        ("s3://lake/all/readings-{node_id}", "s3://lake/all", ("readings-{node_id}",), False),
        ("s3://lake/all/readings", "s3://lake/all", ("readings",), True),
        ("s3://lake/{table}/x/{node_id}", "s3://lake", ("{table}", "x", "{node_id}"), False),
        ("/lake/{node_id}/{table}/", "/lake", ("{node_id}", "{table}"), False),
    ],
)
def test_the_folders_of_every_layout_are_found(
    table_path: str, root: str, parts: tuple[str, ...], shared: bool
) -> None:
    layout = layout_of(table_path)
    assert (layout.root, layout.parts, layout.shared) == (root, parts, shared)


def test_a_heartbeat_lies_beside_the_tables_and_two_ids_never_share_one() -> None:
    assert place_of("s3://lake/{node_id}/readings", "d1") == "s3://lake/d1/_edge_delta/heartbeat-d1.json"
    assert place_of("s3://lake/{node_id}/{table}", "d1") == "s3://lake/d1/_edge_delta/heartbeat-d1.json"
    assert place_of("s3://lake/readings", "d1") == "s3://lake/_edge_delta/heartbeat-d1.json"
    assert place_of("s3://lake/readings", "a/b") != place_of("s3://lake/readings", "a_b")


def test_a_torn_commit_is_passed_over() -> None:
    whole = b'{"txn":{"appId":"edge-delta/d%201/t/0","version":7,"lastUpdated":5000}}\n'
    found = lanes_in(b'{"commitInfo":{"timest\n' + whole + b'{"txn":{"appId":"edge-delta/compactor","version":1}}')
    assert [(lane.node, lane.source, lane.rowid, lane.at) for lane in found] == [("d 1", "t", 7, 5.0)]


# -- with the real command


@pytest.fixture
def sensors() -> Iterator[dict[str, Sensor]]:
    """The sensors of the devices."""
    found: dict[str, Sensor] = {}
    yield found
    for sensor in found.values():
        sensor.close()


@pytest.fixture
def devices(tmp_path: Path, sensors: dict[str, Sensor]) -> Iterator[Callable[..., EdgeDelta]]:
    """Makes devices, each with a database of its own; their processes end with the test."""
    made: list[EdgeDelta] = []

    def make(node: str, place: Place, path: str, **flags: Any) -> EdgeDelta:
        directory = tmp_path / f"device-{len(made)}"
        directory.mkdir()
        sensors[node] = sensor = Sensor(directory / "sensor.db")
        sensor.create()
        sensor.add(20)
        own = {"sqlite": sensor.path, "table_path": path, "state_dir": directory / "state", "node_id": node}
        made.append(EdgeDelta(directory, own | flags, place.environment))
        return made[-1]

    yield make
    for one in made:
        one.end()


def fleet(place: Place, path: str, *words: str) -> tuple[int, Any]:
    env = {"PATH": os.environ["PATH"], **place.environment}
    done = finished(["fleet", "--table-path", path, "--json", *words], cwd=Path("/"), env=env, timeout=60)
    assert not done.stderr, done.stderr
    return done.code, json.loads(done.stdout)


def of(answer: Any, node: str) -> Any:
    [one] = [d for d in answer["devices"] if d["node_id"] == node]
    return one


@pytest.mark.parametrize("layout", ["{node_id}/readings", "readings-{node_id}", "readings"])
def test_every_device_is_seen_by_its_log_alone(devices: Callable[..., EdgeDelta], place: Place, layout: str) -> None:
    path = f"{place.base.rpartition('/')[0]}/{layout}"
    for node in ("a", "b"):
        devices(node, place, path).once(max_batch_size=7, processing_mode="raw,schematized").succeeded()
    code, answer = fleet(place, path)
    assert code == 0
    assert answer["devices_by_verdict"] == {"up to date": 2}
    for node in ("a", "b"):
        one = of(answer, node)
        assert (one["rows_last_hour"], one["rows_last_day"], one["rejected_last_day"]) == (20, 20, 0)
        assert (one["settled"], one["generation"], one["rows_waiting"]) == ({"readings": 20}, 0, 0)
        assert {t["mode"] for t in one["tables"]} == {"raw", "schematized"}
        assert all(t["last_id"] == 20 for t in one["tables"])
    assert [d["node_id"] for d in fleet(place, path, "--without", "a*")[1]["devices"]] == ["b"]


def test_a_device_that_rejects_every_row_is_told_as_such(
    devices: Callable[..., EdgeDelta], sensors: dict[str, Sensor], folder: Place
) -> None:
    """No commit of the mode's own table comes then while the process runs, which looks like an idle one."""
    path = f"{Path(folder.base).parent}/{{node_id}}/readings"
    running = devices("a", folder, path, interval=0.3).start()
    running.wait_for("batch committed")
    [log] = Path(folder.base).parent.glob("a/readings_1_*/_delta_log")
    last = max(log.glob("*.json"))
    last.write_text(re.sub(r'"timestamp":\d+', '"timestamp":1000', last.read_text(), count=1))
    assert of(fleet(folder, path)[1], "a")["verdict"] == "silent"
    for batch in (1, 2):
        sensors["a"].many("INSERT INTO readings (timestamp, temperature) VALUES ('2026-01-02', ?)", [("warm",)] * 12)
        running.wait_for("every row of a batch rejected", count=batch)
    code, answer = fleet(folder, path)
    one = of(answer, "a")
    assert (code, one["verdict"], one["rejected_last_day"]) == (1, "every row is rejected", 24)
    assert one["settled"] == {"readings": 20}


def test_a_device_far_back_in_a_shared_log_is_found_in_the_checkpoint(
    devices: Callable[..., EdgeDelta], folder: Place
) -> None:
    first, second = devices("a", folder, folder.base), devices("b", folder, folder.base)
    first.once().succeeded()
    second.once(max_batch_size=1).succeeded()
    log = Path(folder.base + "_1_schematized") / "_delta_log"
    objects = objects_at(str(log.parents[1]), {})
    found = tail_of(objects, log.parent.name, most=3, every=True)
    assert {lane.node: lane.rowid for lane in found.lanes.values()} == {"a": 20, "b": 20}
    assert {lane.node: lane.note is not None for lane in found.lanes.values()} == {"a": False, "b": True}
    assert all(abs(lane.at - time.time()) < 120 for lane in found.lanes.values())


def test_a_heartbeat_is_written_at_most_as_often_as_it_is_set(devices: Callable[..., EdgeDelta], place: Place) -> None:
    path = f"{place.base.rpartition('/')[0]}/{{node_id}}/readings"
    one = devices("a", place, path)
    config = one.directory / "config.toml"
    config.write_text("heartbeat = 3600\n")
    one.once(config=config).succeeded()
    objects = objects_at(place.base.rpartition("/")[0], place.options)
    written = objects.read("a/_edge_delta/heartbeat-a.json")
    assert written is not None
    said = json.loads(written)
    assert (said["node_id"], said["every"], said["stopped"]) == ("a", 3600, 0)
    assert said["sources"][""]["modes"]["schematized"]["settled"] == 20
    one.once(config=config).succeeded()
    assert objects.read("a/_edge_delta/heartbeat-a.json") == written
    assert of(fleet(place, path)[1], "a")["last_heartbeat"] is not None


def test_a_device_with_several_tables_is_one_device(
    devices: Callable[..., EdgeDelta], sensors: dict[str, Sensor], folder: Place
) -> None:
    path = f"{Path(folder.base).parent}/{{node_id}}/{{table}}"
    one = devices("a", folder, path, all_tables=True)
    sensors["a"].create("events")
    sensors["a"].add(7, "events")
    config = one.directory / "config.toml"
    config.write_text("heartbeat = 60\n")
    one.once(config=config).succeeded()
    beats = json.loads((Path(folder.base).parent / "a" / "_edge_delta" / "heartbeat-a.json").read_text())
    assert len(beats["sources"]) == 2
    assert beats["stopped"] == 0
    found = of(fleet(folder, path)[1], "a")
    assert found["rows_last_day"] == 27
    assert sorted(found["settled"].values()) == [7, 20]
    assert found["last_heartbeat"] is not None


def test_sources_with_addresses_of_their_own_are_one_device(
    devices: Callable[..., EdgeDelta], sensors: dict[str, Sensor], folder: Place, tmp_path: Path
) -> None:
    root = Path(folder.base).parent
    one = devices("a", folder, "", sqlite=None, table_path=None)
    sensors["a"].create("events")
    sensors["a"].add(7, "events")
    config = tmp_path / "config.toml"
    config.write_text(f"""heartbeat = 60
[[sources]]
sqlite = "{sensors["a"].path}"
tables = ["readings"]
table_path = "{root}/live/{{node_id}}/readings"
[[sources]]
sqlite = "{sensors["a"].path}"
tables = ["events"]
table_path = "{root}/archive/{{node_id}}/events"
""")
    one.once(config=config).succeeded()
    done = finished(["fleet", "--config", str(config), "--json"], cwd=tmp_path, env=dict(os.environ), timeout=60)
    [found] = json.loads(done.stdout)["devices"]
    assert (done.code, found["rows_last_day"], found["settled"]) == (0, 27, {"readings": 20, "events": 7})
    assert found["last_heartbeat"] is not None
    assert len(found["tables"]) == 2


def test_a_device_that_never_delivered_is_seen_by_its_heartbeat(
    devices: Callable[..., EdgeDelta], sensors: dict[str, Sensor], folder: Place
) -> None:
    """The other folders beside those of devices are none."""
    path = f"{Path(folder.base).parent}/{{node_id}}/readings"
    one = devices("a", folder, path)
    sensors["a"].run("DELETE FROM readings")
    config = one.directory / "config.toml"
    config.write_text("heartbeat = 60\n")
    one.once(config=config).succeeded()
    (Path(folder.base).parent / "stray").mkdir()
    code, answer = fleet(folder, path)
    assert code == 0
    assert [(d["node_id"], d["verdict"], d["last_commit"]) for d in answer["devices"]] == [("a", "no new rows", None)]


def test_without_the_setting_nothing_is_written_beside_the_tables(
    devices: Callable[..., EdgeDelta], folder: Place
) -> None:
    path = f"{Path(folder.base).parent}/{{node_id}}/readings"
    devices("a", folder, path).once().succeeded()
    assert {p.name for p in (Path(folder.base).parent / "a").iterdir()} == {"readings_1_schematized"}


def test_a_heartbeat_that_cannot_be_written_stops_no_delivery(devices: Callable[..., EdgeDelta], folder: Place) -> None:
    path = f"{Path(folder.base).parent}/{{node_id}}/readings"
    one = devices("a", folder, path)
    (Path(folder.base).parent / "a").mkdir(parents=True)
    (Path(folder.base).parent / "a" / "_edge_delta").write_text("in the way")
    config = one.directory / "config.toml"
    config.write_text("heartbeat = 1\n")
    done = one.once(config=config).succeeded()
    assert len(done.named("heartbeat not written")) == 1
    assert of(fleet(folder, path)[1], "a")["settled"] == {"readings": 20}


def test_a_running_device_beats_while_it_is_idle_and_says_that_it_ended(
    devices: Callable[..., EdgeDelta], folder: Place
) -> None:
    path = f"{Path(folder.base).parent}/{{node_id}}/readings"
    one = devices("a", folder, path, interval=60)
    config = one.directory / "config.toml"
    config.write_text("heartbeat = 1\n")
    running = one.start(config=config)
    file = Path(folder.base).parent / "a" / "_edge_delta" / "heartbeat-a.json"
    running.wait_until(file.exists, what="a heartbeat")
    first = json.loads(file.read_text())
    assert first["stopped"] is None
    running.wait_until(lambda: json.loads(file.read_text())["heard"] > first["heard"], what="another one")
    running.terminate()
    assert json.loads(file.read_text())["stopped"] == 0


def test_a_page_needs_nothing_from_elsewhere_and_shows_odd_names_as_they_are(
    devices: Callable[..., EdgeDelta], folder: Place, tmp_path: Path
) -> None:
    devices("<b>x", folder, folder.base).once().succeeded()
    page = tmp_path / "fleet.html"
    env = {"PATH": os.environ["PATH"]}
    done = finished(["fleet", "--table-path", folder.base, "--html", str(page)], cwd=tmp_path, env=env, timeout=60)
    assert (done.code, done.stdout) == (0, "1 device: 1 up to date\n")
    text = page.read_text(encoding="utf-8")
    assert "&lt;b&gt;x" in text
    assert not re.findall(r"""(?:src|href|url\(|@import|//)""", text)


@pytest.mark.parametrize("path", ["{node_id}/readings", "readings"])
def test_no_table_at_all_is_an_error_and_no_green_light(folder: Place, tmp_path: Path, path: str) -> None:
    words = ["fleet", "--table-path", f"{Path(folder.base).parent}/{path}"]
    done = finished(words, cwd=tmp_path, env={"PATH": os.environ["PATH"]}, timeout=60)
    assert done.code == 2
    assert "no device's table is there" in done.error


def test_each_way_to_a_store_gives_the_same_names_and_bytes(lake: Place) -> None:
    root = lake.base.rpartition("/")[0]
    names = [f"t/_delta_log/{n:020}.json" for n in (1, 2, 3)] + ["t/ä ö+&.txt", "u/x"]
    for name in names[:3] + names[4:]:
        put(f"{root}/{name}", lake.options, name.encode())
    own, other = objects_at(root, lake.options), StoreObjects(root, lake.options)
    for objects in (own, other):
        assert sorted(objects.folders("")) == ["t", "u"]
        assert objects.folders("none") == []
        assert sorted(objects.after("t/_delta_log", f"{1:020}.json")) == [f"{n:020}.json" for n in (2, 3)]
        assert objects.read(names[0]) == names[0].encode()
        assert objects.read("t/_delta_log/none") is None
