"""The short version of `make forty`."""

from __future__ import annotations

from tools.forty import Forty, Size


def test_what_is_damaged_locked_or_behind_holds_up_nothing_but_itself(weed, tmp_path):
    size = Size(rowid=2, keyed=1, views=1, locked=1, backlog=15_000, again=6_000, kills=1)
    told = Forty(tmp_path, weed, 20261127, size).run()
    assert "each row is there once after 1 kills" in told
