"""``make screens``: draws deploy/grafana-dashboard.json over what Prometheus has scraped from three real devices.

The panels are drawn by Grafana's own components (@grafana/ui) in a headless browser, not by Grafana's server:
queries, titles, units, thresholds and the grid are those of the file; what the server adds around them is not there.
Needs Prometheus, Node.js and Chromium.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
CACHE = ROOT / ".cache" / "dashboard"
BOARD = ROOT / "deploy" / "grafana-dashboard.json"
PICTURE = ROOT / "docs" / "screens" / "dashboard.png"
SECONDS = 150
ROW, GAP = 38, 8  # as in page.jsx
PROMETHEUS = "127.0.0.1:19090"
NOWHERE = "http://127.0.0.1:9"
DEVICES = {"hall-1": 19101, "hall-2": 19102, "hall-3": 19103}

PAGE = """<meta charset="utf-8"><link rel="stylesheet" href="page.css"><body style="margin: 0"><div id="root"></div>
<script src="page.js"></script>
"""
SETTINGS = """
sqlite = "{place}/sensor.db"
table_path = "{table_path}"
state_dir = "{place}/state"
node_id = "{device}"
interval = 2
health_after = 60
max_batch_size = {batch}
processing_mode = ["schematized", "sanitized"]
metrics_port = {port}

[sanitize.ranges]
temperature = {{ min = -40, max = 40 }}
"""


@contextlib.contextmanager
def running(*words: str, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process, until the context ends."""
    with subprocess.Popen(
        words, env=os.environ | environment, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def start(device: str, port: int, folder: Path, stack: contextlib.ExitStack) -> None:
    """A sensor and its job: hall-2 has a backlog, hall-3 a store that does not answer."""
    place = folder / device
    place.mkdir()
    rows, batch = ("600000", 1000) if device == "hall-2" else ("2000", 20_000)
    store = "s3://lake/readings" if device == "hall-3" else f"{folder}/lake/readings"
    settings = place / "config.toml"
    settings.write_text(SETTINGS.format(place=place, device=device, table_path=store, batch=batch, port=port))
    stack.enter_context(
        running(sys.executable, "-m", "edge_delta.demo.sample", f"{place}/sensor.db", f"--rows={rows}", "--rate=50")
    )
    time.sleep(15 if device == "hall-2" else 2)
    keys = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_REGION": "r", "AWS_ENDPOINT_URL": NOWHERE}
    stack.enter_context(running(sys.executable, "-m", "edge_delta", "run", "--config", str(settings), **keys))


def scrape(folder: Path, stack: contextlib.ExitStack) -> None:
    """Prometheus, asking each device every second."""
    targets = [{"targets": [f"127.0.0.1:{port}"], "labels": {"instance": name}} for name, port in DEVICES.items()]
    jobs = [{"job_name": "edge-delta", "static_configs": targets}]
    file = folder / "prometheus.json"
    rules = [str(ROOT / "deploy" / "prometheus-rules.yml")]
    every = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    file.write_text(json.dumps({"global": every, "rule_files": rules, "scrape_configs": jobs}))
    stack.enter_context(
        running(
            "prometheus",
            f"--config.file={file}",
            f"--storage.tsdb.path={folder}/tsdb",
            f"--web.listen-address={PROMETHEUS}",
        )
    )


def ask(what: str, **parameters: str) -> list[dict[str, Any]]:
    """A query's result."""
    address = f"http://{PROMETHEUS}/api/v1/{what}?{urllib.parse.urlencode(parameters)}"
    with urllib.request.urlopen(address, timeout=30) as answer:
        result: list[dict[str, Any]] = json.load(answer)["data"]["result"]
    return result


def answers(panel: dict[str, Any], begin: float, end: float) -> list[dict[str, Any]]:
    """Each target of the panel with what Prometheus says to it; every panel gets a range, as Grafana asks for."""
    span = {"start": str(begin), "end": str(end), "step": "1"}
    return [
        {
            "legend": target.get("legendFormat", ""),
            "result": ask("query_range", query=target["expr"].replace("$instance", ".*"), **span),
        }
        for target in panel["targets"]
    ]


def draw(board: dict[str, Any], folder: Path) -> None:
    """The page with these data, and its picture."""
    components()
    (folder / "board.json").write_text(json.dumps(board))
    (folder / "page.html").write_text(PAGE)
    bundle = [
        "npx",
        "esbuild",
        "page.jsx",
        "--bundle",
        "--loader:.ttf=dataurl",
        f"--alias:board={folder}/board.json",
        "--log-level=error",
    ]
    define = '--define:process.env.NODE_ENV="production"'
    subprocess.run([*bundle, define, f"--outfile={folder}/page.js"], cwd=CACHE, check=True)
    height = ROW * max(p["gridPos"]["y"] + p["gridPos"]["h"] for p in board["panels"]) + GAP
    browser = shutil.which("chromium") or shutil.which("google-chrome") or "chromium"
    how = [
        "--headless",
        "--no-sandbox",
        "--hide-scrollbars",
        f"--window-size=1600,{height}",
        "--virtual-time-budget=9000",
    ]
    PICTURE.parent.mkdir(exist_ok=True)
    words = [browser, *how, f"--screenshot={PICTURE}", f"file://{folder}/page.html"]
    subprocess.run(words, check=True, capture_output=True)


def components() -> None:
    """Install what package-lock.json names, outside of docs/."""
    CACHE.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "package-lock.json", "page.jsx"):
        shutil.copy(HERE / name, CACHE)
    installed = CACHE / "node_modules" / ".package-lock.json"
    if not installed.exists() or installed.stat().st_mtime < (HERE / "package-lock.json").stat().st_mtime:
        how = ["--legacy-peer-deps", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"]
        subprocess.run(["npm", "ci", *how], cwd=CACHE, check=True)


def main() -> None:
    """Run the devices, ask, and draw."""
    board = json.loads(BOARD.read_text())
    with tempfile.TemporaryDirectory(prefix="edge-delta-") as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        scrape(folder, stack)
        begin = time.time()
        for device, port in DEVICES.items():
            start(device, port, folder, stack)
        time.sleep(SECONDS)
        end = time.time()
        for panel in board["panels"]:
            panel["answers"] = answers(panel, begin, end)
        draw(board | {"begin": begin * 1000, "end": end * 1000}, folder)


if __name__ == "__main__":
    main()
