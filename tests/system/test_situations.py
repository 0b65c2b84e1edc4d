"""Four situations that look alike from far away: a deaf store, a stopped writer, a growing backlog, a full disk.

Each is brought about with real parts. `status` and `health` call each by another name, and `check` names its cure.
"""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from tests.support.ask import ask, health, status
from tests.support.command import eventually
from tests.support.sqlite import LiveWriter
from tests.support.tables import Place

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@dataclass(frozen=True)
class Told:
    """What has to be said of a situation."""

    verdict: str
    healthy: bool
    line: str
    cure: str
    rows_wait: bool


SITUATIONS = {
    "a deaf store": Told("storage unavailable", False, "cannot be reached", "address and the network", True),
    "a stopped writer": Told("no new rows", True, "the last came", "whether the sensor's process runs", False),
    "a growing backlog": Told("backlog grows", True, "more each second than", "Raise --max-batch-size", True),
    "a full disk": Told("disk full", False, "no space left", "Free some space", True),
    "a full device": Told("disk full", True, "disk full at", "rows up to the id", False),
}


@dataclass
class Scene:
    """A device with its command; what has to be undone is kept until the end."""

    sensor: object
    command: object
    folder: Place
    lake: Place
    directory: Path
    place: Place | None = None
    environment: dict[str, str] = field(default_factory=dict)
    flags: dict[str, object] = field(default_factory=dict)
    until: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    def start(self, place: Place, **flags: object) -> None:
        self.place, self.flags = place, flags
        self.running = self.command(self.sensor.path, place, node_id="n1", **flags).start(env=self.environment)


@contextlib.contextmanager
def deaf() -> Iterator[str]:
    """The address of a server that takes every connection and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        kept = []

        def take() -> None:
            with contextlib.suppress(OSError):
                while True:
                    kept.append(server.accept()[0])

        threading.Thread(target=take, daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)
        for connection in kept:
            connection.close()


def small_disk(scene: Scene, name: str, size: str) -> Path:
    """A file system of its own."""
    directory = scene.directory / name
    directory.mkdir(exist_ok=True)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(directory)], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip("mounting is not allowed here")
    scene.until.callback(subprocess.run, ["umount", "-l", str(directory)], check=True)
    return directory


def fill(directory: Path) -> None:
    """Write until there is no room left."""
    with contextlib.suppress(OSError), (directory / "filler").open("wb", buffering=0) as file:
        while True:
            file.write(b"x" * 4096)


def a_deaf_store(scene: Scene) -> None:
    scene.sensor.add(10)
    (scene.directory / "config.toml").write_text("[storage]\nrequest_timeout = 0.2\n")
    address = scene.until.enter_context(deaf())
    scene.environment = {"AWS_ENDPOINT_URL": address}
    scene.start(scene.lake)


def a_stopped_writer(scene: Scene) -> None:
    scene.sensor.add(10)
    scene.environment = {"HEALTH_AFTER": "1"}
    scene.start(scene.folder)
    scene.running.wait_for("batch committed")


def a_growing_backlog(scene: Scene) -> None:
    scene.until.enter_context(LiveWriter(scene.sensor.path, rate=5000))
    scene.start(scene.folder, max_batch_size=5)
    scene.running.wait_for("batch committed", count=3)


def a_full_disk(scene: Scene) -> None:
    lake = small_disk(scene, "lake", "256k")
    scene.sensor.add(10)
    scene.start(Place(str(lake / "readings")))
    scene.running.wait_for("batch committed")
    fill(lake)
    scene.sensor.add(10, start=10)


def a_full_device(scene: Scene) -> None:
    """The disk of the state directory, as where the database is on the same."""
    state = small_disk(scene, "state", "128k")
    scene.sensor.add(10)
    scene.start(scene.folder)
    scene.running.wait_for("cycle finished", count=2)
    fill(state)


@pytest.fixture
def scene(sensor, command, folder, lake, tmp_path):
    sensor.create()
    made = Scene(sensor, command, folder, lake, tmp_path)
    with made.until:
        yield made
        made.running.kill()


@pytest.mark.parametrize("name", SITUATIONS)
def test_each_situation_has_its_name_and_its_cure(name, scene, tmp_path):
    told, state = SITUATIONS[name], tmp_path / "state"
    globals()[name.replace(" ", "_")](scene)
    # delta-rs tries ten times before it says that a store is deaf, with pauses of its own.
    eventually(lambda: status(state)["verdict"] == told.verdict, what=told.verdict, pause=0.2, timeout=150)

    about = status(state)
    assert bool(about["rows_waiting"]) == told.rows_wait
    text = ask("status", "--state-dir", state).stdout
    assert told.verdict in text.splitlines()[0]

    code, line = health(state, *([] if told.healthy else ["--health-after", "0.001"]))
    assert (code == 0) == told.healthy
    assert line.startswith(told.verdict)
    assert told.line in line

    findings = checked(scene, state)
    told_of = [f for f in findings if f["level"] != "ok"]
    assert told.cure in " ".join(f["cure"] + f["fact"] for f in told_of), findings
    assert all(f["cure"] for f in told_of)


def checked(scene: Scene, state: Path) -> list[dict[str, object]]:
    done = ask(
        *("check", "--json", "--sqlite", scene.sensor.path, "--table-path", scene.place.base, "--state-dir", state),
        *("--node-id", "n1"),
        cwd=scene.directory,
        env={**scene.place.environment, **scene.environment},
    )
    assert "Traceback" not in done.stderr
    return json.loads(done.stdout)


def test_all_is_well_has_another_name_than_any_of_them(sensor, folder, command, tmp_path):
    sensor.create()
    sensor.add(10)
    running = command(sensor.path, folder, node_id="n1").start()
    running.wait_for("cycle finished", count=2)
    assert status(tmp_path / "state")["verdict"] == "up to date"
    assert "up to date" not in {told.verdict for told in SITUATIONS.values()}
