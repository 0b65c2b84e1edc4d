"""Stores that do not keep the promise of the conditional put."""

from __future__ import annotations

import pytest

from edge_delta.core.errors import StorageUnavailable
from edge_delta.sinks import conditional_put
from tests.conftest import lake_at
from tests.support.proxy import Answer

TRIED = r"/_edge_delta_check$"


def test_a_store_that_ignores_if_none_match_is_refused_before_the_first_row(sensor, proxy, wired_lake, command):
    """On such a store the first version of edge-delta lost 8,000 of 20,000 rows and said nothing."""
    sensor.create()
    sensor.add(10)
    proxy.careless = True
    done = command(sensor.path, wired_lake, node_id="n1").once()
    assert done.code == 3
    assert "ignores If-None-Match" in done.error
    assert "Use a store that honours conditional puts" in done.error
    assert "Traceback" not in done.error
    written = {e.path.split("/")[-1] for e in proxy.requests("PUT|POST")}
    assert written == {"_edge_delta_check"}
    # The same bucket without that proxy's carelessness takes the rows.
    proxy.careless = False
    command(sensor.path, wired_lake, node_id="n1").once().succeeded()
    assert wired_lake.read().height == 10


def test_each_table_is_tried_once_a_start_and_not_by_an_idle_one(sensor, proxy, wired_lake, command):
    sensor.create()
    sensor.add(30)
    sensor.run("UPDATE readings SET temperature = 'broken' WHERE id % 10 = 0")
    edge = command(sensor.path, wired_lake, node_id="n1", processing_mode="raw,schematized", max_batch_size=5)
    for requests in (2, 1):  # the first one makes the object
        before = len(proxy.requests("PUT", TRIED))
        edge.once().succeeded()
        tried = [e.path.split("/")[-2] for e in proxy.requests("PUT", TRIED)[before:]]
        tables = ("readings_0_raw", "readings_1_schematized", "readings_rejected")
        assert {table: tried.count(table) for table in tables} == dict.fromkeys(tables, requests)
        sensor.add(20)
        sensor.run("UPDATE readings SET temperature = 'broken' WHERE id % 10 = 0")
    edge.once().succeeded()
    before = len(proxy.requests("PUT"))
    edge.once().succeeded()
    assert len(proxy.requests("PUT")) == before


def test_a_store_that_does_not_know_the_condition_is_refused_too(sensor, proxy, wired_lake, command):
    sensor.create()
    sensor.add(3)
    proxy.plan(Answer(501, "NotImplemented"), method="PUT", path=TRIED, times=None)
    assert command(sensor.path, wired_lake, node_id="n1").once().code == 3


def test_a_store_in_trouble_is_not_taken_for_a_careless_one(sensor, proxy, wired_lake, command):
    sensor.create()
    sensor.add(3)
    rule = proxy.plan(Answer(503, "SlowDown"), method="PUT", path=TRIED, times=2)
    command(sensor.path, wired_lake, node_id="n1").once().succeeded()
    assert rule.hits == 2
    assert wired_lake.read().height == 3


@pytest.mark.parametrize("name", ["a b=ü", "n~1+2"])
def test_odd_names_in_addresses_are_signed_rightly(name, weed, monkeypatch):
    place = lake_at(weed.url)
    for key, value in place.environment.items():
        monkeypatch.setenv(key, value)
    options = {"aws_endpoint_url": weed.url, "aws_region": "us-east-1", "timeout": "5s"}
    conditional_put.require(f"{place.base}/{name}", options)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another")
    with pytest.raises(StorageUnavailable, match="refused"):
        conditional_put.require(f"{place.base}/{name}/other", options)
