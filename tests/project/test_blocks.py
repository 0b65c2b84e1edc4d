"""Each code block of docs/ runs, for somebody who began with docs/first-device.md.

Blocks that say ``no-run`` behind their language (which no reader sees) need what is not here; the reason stands there.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
import tomli

from tests.conftest import lake_at
from tests.support.blocks import Shell, blocks
from tests.support.command import clean_environment
from tests.support.sqlite import Sensor

DOCS = Path(__file__).parents[2] / "docs"
FIRST = DOCS / "first-device.md"
PAGES = sorted(path for path in DOCS.rglob("*.md") if path != FIRST and any(b.runs for b in blocks(path)))
ROWS = 250


@pytest.fixture(scope="module")
def reader(weed, tmp_path_factory):
    """Has a device with rows, a bucket, and has followed the first page."""
    place = tmp_path_factory.mktemp("reader")
    for folder in ("device", "work", "notes"):
        (place / folder).mkdir()
    lake = lake_at(weed.url)
    (place / "config.toml").write_text(
        f'sqlite = "{place}/device/sensor.db"\ntable_path = "{lake.base}"\nnode_id = "device-0001"\n'
    )
    environment = clean_environment() | lake.environment
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    environment["TABLE_PATH"] = lake.base
    placeholders = {
        "/var/lib/sensor/sensor.db": f"{place}/device/sensor.db",
        "/path/to/your.db": f"{place}/device/sensor.db",
        "/etc/edge-delta": str(place),
        "/var/lib/edge-delta": f"{place}/work/state",
        "/tmp/lake": f"{place}/lake",
        "s3://my-bucket/readings": lake.base,
        "s3://lake/{node_id}/readings": lake.base,  # in the bucket are other tests' devices, too
    }
    shell = Shell(place / "work", place / "notes", environment, placeholders)
    with Sensor(place / "device" / "sensor.db") as sensor:
        sensor.create()
        sensor.add(ROWS)
        shell.said = follow(shell, FIRST)
        yield shell


def follow(shell, page):
    return "\n".join(shell.run(block) for block in blocks(page) if block.runs and block.language in ("sh", "sql"))


def test_the_first_device_delivers_all_rows_once(reader):
    assert f'"rows_written": {ROWS}' in reader.said
    assert '"rows_written": 0' in reader.said


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_the_blocks_of_a_page_run(reader, page):
    follow(reader, page)


@pytest.mark.parametrize("page", [FIRST, *PAGES], ids=lambda path: path.name)
def test_blocks_are_of_a_language_that_is_run_here(page):
    for block in blocks(page):
        # What another test runs may be of another language; its remark names the test.
        assert block.language in ("sh", "sql", "mermaid", "toml") or "tests/" in block.remark, block
        if block.language == "toml":
            tomli.loads(block.text)
        assert block.runs or block.remark.partition(": ")[2], f"{block} does not say why it cannot run"
