"""The status page: what `status --watch` shows, as HTML that needs nothing else, in a real browser too."""

from __future__ import annotations

import http.server
import re
import shutil
import subprocess
import threading
import urllib.request
from html.parser import HTMLParser

import pytest

from tests.device.test_metrics import get, served

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
needs_browser = pytest.mark.skipif(BROWSER is None, reason="there is no chromium here")


class Outline(HTMLParser):
    """Tags that are open, addresses that are asked for, and the text."""

    EMPTY = ("meta", "link", "br")

    def __init__(self, text):
        super().__init__()
        self.open, self.addresses, self.text = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.addresses += [value for name, value in attrs if name in ("src", "href", "action", "srcset")]
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


@pytest.fixture
def running(sensor, folder, command, port):
    sensor.create()
    sensor.add(30)
    process = command(sensor.path, folder, node_id="hall <7> & co", metrics_port=port).start()
    process.wait_for("cycle finished", count=2)
    served(process, port)
    return process


@pytest.mark.usefixtures("running")
def test_the_page_says_what_status_says_and_asks_nobody_else(port, sensor):
    text = get(port, "/")
    page = Outline(text)
    assert page.open == []
    assert page.addresses == ["data:,"]
    assert "://" not in text
    shown = " ".join(page.text)
    for part in ("up to date", "hall <7> & co", str(sensor.path), "up to id 30", "30 rows written", "backlog", "none"):
        assert part in shown
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as answer:
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        assert answer.headers["Cache-Control"] == "no-store"
    part = get(port, "/?part")
    assert "up to id 30" in part
    assert "<html" not in part


def test_several_sources_are_a_card_each(sensor, folder, command, port):
    sensor.create("readings")
    sensor.create("events")
    table_path = folder.base + "/{table}"
    edge = command(sensor.path, folder, node_id="n1", all_tables=True, table_path=table_path, metrics_port=port)
    process = edge.start()
    process.wait_for("cycle finished", count=4)
    text = get(port, "/")
    assert "2 sources, 0 in trouble" in text
    assert re.findall(r"<h2>(.*?)</h2>", text) == ["sensor/events", "sensor/readings"]


def test_a_source_that_cannot_be_read_is_red(sensor, folder, command, port):
    sensor.create()
    process = command(sensor.path, folder, node_id="n1", metrics_port=port).start()
    process.wait_for("cycle finished")
    sensor.path.unlink()
    process.wait_until(lambda: 'class="verdict bad"' in get(port, "/?part"), what="what is bad")


def browsed(url, *how):
    words = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=6000", *how, url]
    return subprocess.run(words, capture_output=True, text=True, timeout=60, check=True).stdout


@needs_browser
@pytest.mark.usefixtures("running")
@pytest.mark.parametrize("size", ["360,740", "1280,900"], ids=["phone", "desktop"])
def test_a_browser_shows_it_without_a_complaint_and_without_scrolling_sideways(size, port, tmp_path):
    """What the page asks of itself is put into its title by the browser, after it has refreshed."""
    probe = "<script>setTimeout(() => document.title = document.body.scrollWidth - innerWidth, 3000)</script>"

    class Between(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            body = get(port, self.path).replace("</body>", probe + "</body>").encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Between) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/"
        shown = browsed(url, f"--window-size={size}", f"--user-data-dir={tmp_path}", "--dump-dom")
        server.shutdown()
    assert int(re.search(r"<title>(-?\d+)</title>", shown)[1]) <= 0
    assert '<body class="lost">' not in shown
    assert "up to id 30" in shown


@needs_browser
def test_a_page_whose_process_is_gone_says_so_in_red(running, port, tmp_path):
    page = get(port, "/").encode()
    running.terminate()

    class Once(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            if self.path != "/":
                self.close_connection = True
                return
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(page)))
            self.end_headers()
            self.wfile.write(page)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Once) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        shown = browsed(f"http://127.0.0.1:{server.server_port}/", f"--user-data-dir={tmp_path}", "--dump-dom")
        server.shutdown()
    assert '<body class="lost">' in shown
    assert "No answer since" in shown
