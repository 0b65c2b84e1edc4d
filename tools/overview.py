"""`edge-delta fleet` over very many devices, in a folder and on S3: seconds, memory and requests.

One device is made by the real command, with 23 commits and a checkpoint; its log is then copied for the others with
another node id. Three are dead and ten are behind, which has to be what stands on top.

    python -m tools.overview [DEVICES]
"""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_delta.demo.local_s3 import BUCKET, local_s3
from edge_delta.device.heartbeat import place_of
from edge_delta.sinks.objects import put
from tests.support.command import EdgeDelta
from tests.support.sqlite import Sensor

if TYPE_CHECKING:
    from collections.abc import Mapping

DEAD, BEHIND = 3, 10
_COMMITS = 23


def model(directory: Path) -> Path:
    """A device by the real command; the folder of its tables."""
    with Sensor(directory / "sensor.db") as sensor:
        sensor.create()
        sensor.add(_COMMITS * 10)
        base = directory / "lake" / "model" / "readings"
        flags = {"sqlite": sensor.path, "table_path": base, "state_dir": directory / "state", "node_id": "model"}
        EdgeDelta(directory, flags | {"max_batch_size": 10}).once().succeeded()
    return base.parent


def log_of(folder: Path) -> dict[str, bytes]:
    """The log of a device's table, by name."""
    [log] = folder.glob("readings_1_*/_delta_log")
    return {f"{log.parent.name}/_delta_log/{file.name}": file.read_bytes() for file in log.iterdir() if file.is_file()}


def _behind_checkpoint(name: str) -> bool:
    """What a cleaned log still has: on S3, putting the others would take minutes."""
    number = name.rpartition("/")[2][:20]
    return not number.isdigit() or int(number) >= _COMMITS - 3


def of_device(log: Mapping[str, bytes], node: str, *, age: float, waiting: int) -> dict[str, bytes]:
    """The same log as if another device had written it, its last commit so many seconds ago, with rows waiting."""
    at = round((time.time() - age) * 1000)
    last = max(name for name in log if name.endswith(".json"))

    def renamed(name: str, content: bytes) -> bytes:
        content = content.replace(b"edge-delta/model/", f"edge-delta/{node}/".encode())
        if name == last:
            content = re.sub(rb'"timestamp":\d+', f'"timestamp":{at}'.encode(), content, count=1)
            content = content.replace(rb"\"waiting\":0", rf"\"waiting\":{waiting}".encode())
        return content

    return {name: renamed(name, content) for name, content in log.items()}


def heartbeat(node: str, *, age: float, waiting: int) -> bytes:
    """A heartbeat of so many seconds ago, with rows waiting."""
    at = time.time() - age
    beat: dict[str, Any] = {"node_id": node, "version": "1", "at": at, "heard": at, "every": 300, "stopped": None}
    modes = {"schematized": {"generation": 0, "settled": 230, "waiting": waiting, "committed_at": None}}
    source = {"table": "readings", "allowed": 960.0, "error": None, "modes": modes}
    return json.dumps(beat | {"sources": {"": source}}).encode()


def made(root: str, options: Mapping[str, str], log: Mapping[str, bytes], devices: int) -> None:
    """All devices under an address."""

    def one(number: int) -> None:
        node = f"device-{number:04}"
        dead, behind = number < DEAD, DEAD <= number < DEAD + BEHIND
        idle = number % 5 == 4
        age = 90_000 if dead else 20_000 if behind or idle else number % 600
        waiting = number if behind else 0
        for name, content in of_device(log, node, age=age, waiting=waiting).items():
            put(f"{root}/{node}/{name}", options, content)
        place = place_of(f"{root}/{{node_id}}/readings", node)
        put(place, options, heartbeat(node, age=90_000 if dead else number % 300, waiting=waiting))

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(one, range(devices)))


def looked(root: str, environment: Mapping[str, str]) -> tuple[float, float, float, list[dict[str, Any]]]:
    """One look by the real command: seconds, CPU seconds, peak in MB, and the devices."""
    started = time.perf_counter()
    with tempfile.TemporaryFile("w+") as out:
        command = ["edge-delta", "fleet", "--json", "--table-path", f"{root}/{{node_id}}/readings"]
        program = str(Path(sys.executable).with_name("edge-delta"))
        child = os.posix_spawn(
            program, command, {**os.environ, **environment}, file_actions=[(os.POSIX_SPAWN_DUP2, out.fileno(), 1)]
        )
        _, status, used = os.wait4(child, 0)
        seconds = time.perf_counter() - started
        out.seek(0)
        answer = json.load(out)
    if os.waitstatus_to_exitcode(status) != 1:
        raise RuntimeError(f"exit code {os.waitstatus_to_exitcode(status)}, where devices are dead")
    return seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / 1000, answer["devices"]


def judged(devices: list[dict[str, Any]], expected: int) -> None:
    """Those that are dead are on top, then those that are behind, and nobody else is told of."""
    verdicts = [device["verdict"] for device in devices]
    if len(devices) != expected or verdicts[: DEAD + BEHIND] != ["dead"] * DEAD + ["behind"] * BEHIND:
        raise RuntimeError(f"{len(devices)} devices, of which the first are {verdicts[: DEAD + BEHIND + 2]}")
    if {*verdicts[DEAD + BEHIND :]} - {"up to date", "no new rows"}:
        raise RuntimeError(f"the others are {set(verdicts[DEAD + BEHIND :])}")


def main() -> None:
    """Measure it."""
    devices = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000
    with tempfile.TemporaryDirectory() as name, ExitStack() as until:
        directory = Path(name)
        log = log_of(model(directory))
        environment = until.enter_context(local_s3(directory / "s3"))
        options = {
            "aws_access_key_id": environment["AWS_ACCESS_KEY_ID"],
            "aws_secret_access_key": environment["AWS_SECRET_ACCESS_KEY"],
            "aws_endpoint_url": environment["AWS_ENDPOINT_URL"],
            "aws_region": environment["AWS_REGION"],
            "aws_allow_http": "true",
        }
        for place, root, how in (("folder", str(directory / "all"), {}), ("S3", f"s3://{BUCKET}/all", options)):
            kept = {name: content for name, content in log.items() if not how or _behind_checkpoint(name)}
            made(root, how, kept, devices)
            seconds, cpu, peak, found = looked(root, environment)
            judged(found, devices)
            sys.stdout.write(f"{place}: {devices} devices in {seconds:.1f} s, {cpu:.1f} s of CPU, {peak:.0f} MB\n")


if __name__ == "__main__":
    main()
