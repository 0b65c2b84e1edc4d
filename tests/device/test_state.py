"""The state directory: who this device is, one process at a time, and a mirror for people."""

from __future__ import annotations

import json
import shutil
import stat
import threading
import time
from datetime import UTC, datetime

import pytest

from edge_delta.core.errors import AlreadyRunning, ConfigurationError, NodeUnknown
from edge_delta.device.state import StateDirectory
from tests.support.inprocess import deliver
from tests.support.tables import Place, assert_both_readers_agree


@pytest.fixture
def state(tmp_path):
    return StateDirectory(tmp_path / "state")


def there():
    return True


def not_there():
    return False


def test_the_setting_wins(state):
    assert state.node_id("mine", new_node=False, target_exists=there) == "mine"


def test_an_id_made_at_the_first_start_is_kept(state):
    made = state.node_id(None, new_node=False, target_exists=not_there)
    assert made == StateDirectory(state.path).node_id(None, new_node=False, target_exists=there)


def test_two_devices_never_get_the_same_id(tmp_path):
    ids = {StateDirectory(tmp_path / str(i)).node_id(None, new_node=False, target_exists=not_there) for i in range(50)}
    assert len(ids) == 50


def test_no_id_is_made_where_a_table_exists_unless_asked(state):
    with pytest.raises(NodeUnknown, match="NODE_ID"):
        state.node_id(None, new_node=False, target_exists=there)
    assert state.node_id(None, new_node=True, target_exists=there).startswith("node-")


def test_a_directory_is_for_one_process_and_says_which(state):
    with state.locked(), pytest.raises(AlreadyRunning, match=r"process \d+"), StateDirectory(state.path).locked():
        pass
    with state.locked():
        pass


def test_a_directory_that_cannot_be_made_is_a_wrong_setting(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="cannot be made"):
        StateDirectory(tmp_path / "file" / "state")


def test_the_mirror_is_never_seen_half_written(state):
    torn, stop = [], threading.Event()

    def look():
        while not stop.is_set():
            text = (state.path / "last_upload.json").read_text()
            try:
                json.loads(text)
            except ValueError:
                torn.append(text)

    state.write_mirror({"n": 0})
    reader = threading.Thread(target=look)
    reader.start()
    for n in range(200):
        state.write_mirror({"n": n, "filler": "x" * 50_000})
    stop.set()
    reader.join()
    assert not torn
    assert state.mirror()["n"] == 199
    assert [p.name for p in state.path.iterdir()] == ["last_upload.json"]


def test_a_torn_or_missing_mirror_says_nothing(state):
    assert state.mirror() == {}
    for text in ("", "{", "[1]", "\x00"):
        (state.path / "last_upload.json").write_text(text)
        assert state.mirror() == {}


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_after_a_run_the_directory_is_readable_by_its_owner_only(sensor, folder, command, tmp_path):
    sensor.create()
    sensor.add(20)
    command(sensor.path, folder).once().succeeded()
    state = tmp_path / "state"
    assert mode(state) == 0o700
    assert {p.name for p in state.iterdir()} == {"last_upload.json", "node_id", "lock", "sweep.json", "witness.key"}
    assert {mode(p) for p in state.iterdir()} == {0o600}


def test_the_mirror_says_where_it_stands(sensor, folder, command, tmp_path):
    sensor.create()
    sensor.add(20)
    sensor.run("INSERT INTO readings (timestamp) VALUES ('2026-06-01T12:00:00+02:00'), ('2026-01-01T00:00:00Z')")
    command(sensor.path, folder, node_id="n1", max_batch_size=10).once().succeeded()
    mirror = json.loads((tmp_path / "state" / "last_upload.json").read_text())
    assert datetime.fromisoformat(mirror["last_upload"]) == datetime(2026, 6, 1, 10, tzinfo=UTC)
    assert mirror["last_upload"].endswith("+00:00")
    assert mirror["node_id"] == "n1"
    own = mirror["tables"]["schematized"]
    assert (own["last_id"], own["rows_written"], own["rows_waiting"]) == (22, 22, 0)
    assert own["version"] == folder.table().version()


def test_a_backlog_is_mirrored_twice_a_second_and_at_its_end(sensor, folder, tmp_path, monkeypatch):
    writings = []
    write = StateDirectory.write_mirror

    def counted(self, content, **how):
        writings.append(content["tables"].get("schematized", {}).get("rows_written"))
        write(self, content, **how)

    monkeypatch.setattr(StateDirectory, "write_mirror", counted)
    sensor.create()
    sensor.add(2_000)
    started = time.monotonic()
    deliver(sensor.path, folder, state_dir=str(tmp_path / "state"), max_batch_size=20)
    seconds = time.monotonic() - started
    assert writings[0] == 20
    assert len(writings) <= seconds / 0.5 + 3
    assert StateDirectory(tmp_path / "state").mirror()["tables"]["schematized"]["rows_written"] == 2_000


def test_nothing_depends_on_the_mirror(sensor, folder, command, tmp_path):
    sensor.create()
    sensor.add(20)
    edge = command(sensor.path, folder, node_id="n1")
    edge.once().succeeded()
    for content in ("torn {", json.dumps({"last_upload": "2020-01-01T00:00:00Z"}), json.dumps({"last_id": 3})):
        (tmp_path / "state" / "last_upload.json").write_text(content)
        sensor.add(1)
        edge.once().succeeded()
    assert folder.read()["reading_id"].sort().to_list() == list(range(1, 24))


def test_without_node_id_and_state_the_second_start_stops_and_says_what_to_set(sensor, folder, command, tmp_path):
    sensor.create()
    sensor.add(20)
    edge = command(sensor.path, folder)
    edge.once().succeeded()
    before = folder.table().version()
    shutil.rmtree(tmp_path / "state")
    done = edge.once()
    assert done.code == 3
    assert "NODE_ID" in done.error
    assert "--new-node" in done.error
    assert folder.table().version() == before
    [node] = set(folder.read()["node_id"])
    edge.once(node_id=node).succeeded()
    assert folder.read().height == 20


def test_a_lost_state_directory_stops_the_device_also_where_each_one_has_a_folder_of_its_own(
    sensor, folder, command, tmp_path
):
    sensor.create()
    sensor.add(20)
    edge = command(sensor.path, folder, table_path=folder.base + "/{node_id}/readings")
    edge.once().succeeded()
    shutil.rmtree(tmp_path / "state")
    done = edge.once()
    assert done.code == 3
    assert "--new-node" in done.error


def test_a_device_that_really_is_new_delivers_with_new_node(sensor, folder, command, tmp_path):
    sensor.create()
    sensor.add(20)
    edge = command(sensor.path, folder)
    edge.once().succeeded()
    shutil.rmtree(tmp_path / "state")
    edge.once(new_node=True).succeeded()
    assert folder.read()["node_id"].n_unique() == 2


def test_a_second_process_with_the_same_state_directory_ends_with_3(sensor, folder, command):
    sensor.create()
    sensor.add(20)
    edge = command(sensor.path, folder, node_id="n1")
    running = edge.start()
    running.wait_for("cycle finished")
    done = edge.once()
    assert done.code == 3
    assert f"process {running.process.pid}" in done.error
    assert running.terminate() == 0


@pytest.mark.parametrize(
    "last_upload",
    ["2026-01-01T00:01:39+00:00", "2026-01-01T01:01:39+01:00", "2026-01-01T00:01:39", "2026-01-01 00:01:39"],
)
def test_a_legacy_last_upload_is_taken_over(last_upload, sensor, folder, command, tmp_path):
    sensor.create()
    sensor.add(150)  # times 0 to 149 seconds after midnight
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "last_upload.json").write_text(json.dumps({"last_upload": last_upload}))
    edge = command(sensor.path, folder, node_id="n1", max_batch_size=40)
    assert edge.once().succeeded().named("upload taken over")
    assert folder.read()["reading_id"].sort().to_list() == list(range(101, 151))
    # From now on rows count by their id: late ones too.
    sensor.add(5, start=0, seed=1)
    edge.once().succeeded()
    assert not edge.once().succeeded().named("upload taken over")
    table = assert_both_readers_agree(folder, "_1_schematized", "reading_id")
    assert table["reading_id"].to_list() == list(range(101, 156))


def test_a_kill_during_a_takeover_neither_loses_nor_repeats(sensor, folder, command, tmp_path):
    sensor.create()
    sensor.add(3000)
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "last_upload.json").write_text(json.dumps({"last_upload": "2026-01-01T00:16:39Z"}))
    edge = command(sensor.path, folder, node_id="n1", max_batch_size=25)
    running = edge.start()
    running.wait_for("batch committed", count=5)
    running.kill()
    edge.once(max_batch_size=5000).succeeded()
    assert folder.read()["reading_id"].sort().to_list() == list(range(1001, 3001))


def test_a_last_upload_that_is_no_time_is_refused_in_one_line(sensor, folder, command, tmp_path):
    sensor.create()
    sensor.add(5)
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "last_upload.json").write_text(json.dumps({"last_upload": "yesterday"}))
    done = command(sensor.path, folder, node_id="n1").once()
    assert done.code == 2
    assert "yesterday" in done.error
    assert not folder.exists("_1_schematized")


def test_a_directory_that_others_may_write_is_closed_to_them(tmp_path):
    place = tmp_path / "state"
    place.mkdir()
    place.chmod(0o777)
    StateDirectory(place)
    assert place.stat().st_mode & 0o777 == 0o700


def test_a_link_that_someone_put_into_the_directory_is_not_followed(tmp_path):
    state, victim = StateDirectory(tmp_path / "state"), tmp_path / "victim"
    victim.write_text("mine")
    for name in (".last_upload.json.new", "last_upload.json"):
        (state.path / name).symlink_to(victim)
    state.write_mirror({"a": 1})
    assert victim.read_text() == "mine"
    assert state.mirror() == {"a": 1}
    (state.path / "lock").symlink_to(tmp_path / "other")
    with pytest.raises(ConfigurationError), state.locked():
        pass
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    "template", ["lake/{node_id}/readings", "lake/dev-{node_id}-x/a/readings", "lake/{node_id}_readings"]
)
def test_a_device_with_a_folder_of_its_own_that_forgot_its_id_stops_and_delivers_nothing_again(
    template, sensor, command, tmp_path
):
    sensor.create()
    sensor.add(20)
    edge = command(sensor.path, Place(str(tmp_path / template)))
    edge.once().succeeded()
    shutil.rmtree(tmp_path / "state")
    done = edge.once()
    assert done.code == 3
    assert "NODE_ID" in done.error
    assert "--new-node" in done.error
    assert len(list((tmp_path / "lake").iterdir())) == 1
    edge.once(new_node=True).succeeded()
    assert len(list((tmp_path / "lake").iterdir())) == 2


def test_folders_of_something_else_beside_it_are_no_reason_to_stop(sensor, command, tmp_path):
    (tmp_path / "lake" / "photos").mkdir(parents=True)
    sensor.create()
    sensor.add(20)
    command(sensor.path, Place(str(tmp_path / "lake/{node_id}/readings"))).once().succeeded()


def test_a_device_with_a_prefix_of_its_own_that_forgot_its_id_stops_too(sensor, lake, command, tmp_path):
    sensor.create()
    sensor.add(20)
    own = Place(lake.base + "/{node_id}/readings", lake.environment, lake.url)
    command(sensor.path, own).once().succeeded()
    shutil.rmtree(tmp_path / "state")
    done = command(sensor.path, own).once()
    assert done.code == 3
    assert "--new-node" in done.error


@pytest.mark.parametrize("damaged", [lambda file: file.mkdir(), lambda file: file.write_bytes(b"\xff\xfe")])
def test_an_id_that_cannot_be_read_is_a_wrong_setting_and_not_made_again(damaged, state):
    damaged(state.path / "node_id")
    with pytest.raises(ConfigurationError, match=r"node_id cannot be read: .*Set NODE_ID"):
        state.node_id(None, new_node=False, target_exists=not_there)
