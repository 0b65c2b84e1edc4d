"""Spark as a writer beside a live device: safe in a folder, not on S3."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.conftest import lake_at
from tests.spark.beside import COMMIT, Store, beside, bucket_of, puts_of_commits
from tests.spark.conftest import address, reach_s3
from tests.support.command import eventually
from tests.support.proxy import Hold

BEFORE, MEANWHILE, AFTERWARDS = 300, 50, 50


def race(spark, weed, proxy, sensor, command):
    """Spark's commit is held on the wire while a running device makes the commit of the same number.

    Returns:
        The place, and how often each version was put; Spark goes through the proxy, the device does not.
    """
    bucket = bucket_of(weed)
    reach_s3(spark, proxy.url, bucket)
    place = lake_at(weed.url, bucket)
    sensor.create()
    sensor.add(BEFORE)
    command(sensor.path, place, node_id="n1").once(max_batch_size=100).succeeded()
    device = command(sensor.path, place, node_id="n1").start()
    release = threading.Event()
    proxy.plan(Hold(release), method="PUT", path=COMMIT)
    with ThreadPoolExecutor(1) as pool:
        optimized = pool.submit(spark.sql, f"OPTIMIZE delta.`{address(place)}`")
        try:
            eventually(lambda: proxy.requests("PUT", COMMIT), timeout=240)
            sensor.add(MEANWHILE, start=BEFORE)
            device.wait_for("batch committed")
        finally:
            release.set()
        optimized.result(timeout=240)
    sensor.add(AFTERWARDS, start=BEFORE + MEANWHILE)
    device.wait_for("batch committed", count=2)
    assert device.terminate() == 0
    command(sensor.path, place, node_id="n1").once().succeeded()
    return place, puts_of_commits(proxy)


def test_on_s3_sparks_commit_overwrites_one_that_came_meanwhile(spark, weed, proxy, sensor, command):
    """Why docs/databricks.md says who may write. When a newer Spark makes this fail, the page may say so."""
    place, puts = race(spark, weed, proxy, sensor, command)
    assert sum(puts.values()) == 1
    lost = set(range(1, BEFORE + MEANWHILE + AFTERWARDS + 1)) - set(place.read()["reading_id"])
    assert lost == set(range(BEFORE + 1, BEFORE + MEANWHILE + 1))
    verified = command(sensor.path, place, node_id="n1").run("verify", json=True)
    assert verified.code == 1, verified.stderr
    assert json.loads(verified.stdout)["tables"][0]["counts"] == {"missing": MEANWHILE}


@pytest.mark.parametrize("seconds", [15, pytest.param(120, marks=pytest.mark.slow)])
def test_in_a_folder_optimize_beside_live_devices_loses_nothing(spark, folder, tmp_path, seconds):
    figures = beside(spark, tmp_path / "devices", Store("folder", folder), devices=2, seconds=seconds)
    assert figures.optimized >= 3
    assert (figures.lost, figures.repeated) == (0, 0)
