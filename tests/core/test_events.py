"""Lines of the log where systemd's journal reads them have a priority, and nowhere else."""

from __future__ import annotations

import json
import re

import pytest

from edge_delta.core.events import Event, configure


@pytest.fixture
def stream(tmp_path):
    with (tmp_path / "stderr").open("w+", encoding="utf-8") as file:
        yield file


def lines(stream):
    stream.seek(0)
    return stream.read().splitlines()


def said(stream):
    log = configure(verbose=True, stream=stream)
    for say in (log.debug, log.info, log.warning, log.error):
        say(Event.STOPPED, error="<3> of somebody else")
    return lines(stream)


def test_the_journal_gets_priorities_that_it_takes_off_and_json_behind_them(stream, tmp_path, monkeypatch):
    stat = (tmp_path / "stderr").stat()
    monkeypatch.setenv("JOURNAL_STREAM", f"{stat.st_dev}:{stat.st_ino}")
    found = [re.fullmatch(r"<(\d)>(.*)", line) for line in said(stream)]
    assert [one[1] for one in found] == ["7", "6", "4", "3"]
    assert [json.loads(one[2])["level"] for one in found] == ["debug", "info", "warning", "error"]


@pytest.mark.parametrize("named", [None, "", "8:1"])
def test_a_file_or_a_pipe_gets_json_alone_also_where_a_service_started_what_writes_there(named, stream, monkeypatch):
    monkeypatch.delenv("JOURNAL_STREAM", raising=False)
    if named is not None:
        monkeypatch.setenv("JOURNAL_STREAM", named)
    assert all(json.loads(line)["event"] == "stopped" for line in said(stream))
