"""Dead, hung, idle and slow devices over three days, by their port and by a file of node_exporter: who raises what."""

from __future__ import annotations

import json
import subprocess

from tests.project.test_deploy import DEPLOY, tool

STEP = 5  # minutes
LENGTH = 3 * 24 * 60 // STEP
NOON = 12 * 60 // STEP
"""When things happen on the first day, in steps."""
HEARTBEAT, PROGRESS, LOOKED = (f"edge_delta_{name}_timestamp_seconds" for name in ("heartbeat", "progress", "looked"))
GOES_ON = f"0+{STEP * 60}x{LENGTH}"
UNTIL_NOON = f"0+{STEP * 60}x{NOON} {NOON * STEP * 60}x{LENGTH - NOON - 1}"


def cut(values):
    """Nothing is scraped any more since noon."""
    return f"{values} _x{LENGTH - NOON}"


ALIVE = {HEARTBEAT: GOES_ON, PROGRESS: GOES_ON, LOOKED: GOES_ON, "edge_delta_done": f"0x{LENGTH}"}
IDLE = ALIVE | {
    "edge_delta_healthy": f"1x{LENGTH}",
    "edge_delta_lag_seconds": f"0x{LENGTH}",
    "edge_delta_rows_waiting": f"0x{LENGTH}",
}
HUNG = {
    PROGRESS: UNTIL_NOON,
    "edge_delta_healthy": f"1x{NOON} 0x{LENGTH - NOON - 1}",
    "edge_delta_rows_waiting": f"0x{NOON} 3000x{LENGTH - NOON - 1}",
}
DEVICES = {
    "idle-port": IDLE,
    "idle-file": IDLE,
    # Its engine waits for an answer that does not come; rows wait, too few for the alert of a backlog.
    "hung-port": IDLE | HUNG,
    "hung-file": IDLE | HUNG,
    # It cannot even look at the database, and what it said of the rows stands.
    "blind-port": IDLE | {LOOKED: UNTIL_NOON},
    # Commits are made, and more comes than they carry.
    "slow-port": IDLE | {"edge_delta_rows_waiting": f"0+500x{LENGTH}", "edge_delta_lag_seconds": f"0+30x{LENGTH}"},
    "slow-file": IDLE | {"edge_delta_rows_waiting": f"0+500x{LENGTH}", "edge_delta_lag_seconds": f"0+30x{LENGTH}"},
    # The power is cut at noon.
    "dead-port": {name: cut(f"{start}x{NOON - 1}") for name, start in
                  {HEARTBEAT: "0+300", PROGRESS: "0+300", "edge_delta_healthy": "1", "edge_delta_done": "0"}.items()},
    # kill -9 at noon: node_exporter goes on and serves what stands there, two hours behind and healthy.
    "dead-file": IDLE | {HEARTBEAT: UNTIL_NOON, PROGRESS: UNTIL_NOON, LOOKED: UNTIL_NOON,
                         "edge_delta_lag_seconds": f"7200x{LENGTH}", "edge_delta_healthy": f"0x2 1x{LENGTH - 3}"},
    "stopped-file": IDLE | {HEARTBEAT: UNTIL_NOON, PROGRESS: UNTIL_NOON, LOOKED: UNTIL_NOON,
                            "edge_delta_done": f"0x{NOON} 1x{LENGTH - NOON - 1}"},
    # A job of cron with --once, every two hours.
    "hourly-file": IDLE | {HEARTBEAT: " ".join(f"{at}x23" for at in range(0, 3 * 86400, 7200)),
                           PROGRESS: " ".join(f"{at}x23" for at in range(0, 3 * 86400, 7200)),
                           "edge_delta_done": f"1x{LENGTH}"},
}  # fmt: skip
FIRING = 'count by (alertname, instance) (ALERTS{alertstate="firing"})'
SINCE_NOON = {
    ("EdgeDeltaGone", "dead-port"),
    ("EdgeDeltaGone", "dead-file"),
    ("EdgeDeltaHangs", "hung-port"),
    ("EdgeDeltaHangs", "hung-file"),
    ("EdgeDeltaHangs", "blind-port"),
    ("EdgeDeltaNotDelivering", "hung-port"),
    ("EdgeDeltaNotDelivering", "hung-file"),
}
SLOW = {("EdgeDeltaBehind", "slow-port"), ("EdgeDeltaBehind", "slow-file")}
GROWING = SLOW | {("EdgeDeltaBacklogGrows", "slow-port"), ("EdgeDeltaBacklogGrows", "slow-file")}
NOT_STARTED = {("EdgeDeltaStopped", "stopped-file")}
EXPECTED = {
    "9h": {("EdgeDeltaBehind", "dead-file")},  # it was behind while it lived
    "13h": SINCE_NOON | SLOW,
    "25h": SINCE_NOON | GROWING,
    "37h": SINCE_NOON | GROWING | NOT_STARTED,
    "71h": SINCE_NOON | GROWING | NOT_STARTED,
}
UNHEALTHY = {
    "expr": "count(edge_delta:healthy == 0)",
    "eval_time": "71h",
    "exp_samples": [{"labels": "{}", "value": 4}],
}


# Of before there was a heartbeat, until noon; from then on it says who it is.
UPGRADED = {
    'edge_delta_healthy{instance="upgraded-port"}': cut(f"1x{NOON}"),
    'edge_delta_healthy{instance="upgraded-port", node_id="u", source="s", table="t"}': f"_x{NOON} 1x{LENGTH - NOON}",
    f'{HEARTBEAT}{{instance="upgraded-port", node_id="u"}}': f"_x{NOON} {NOON * 300}+300x{LENGTH - NOON}",
    f'{PROGRESS}{{instance="upgraded-port", node_id="u"}}': f"_x{NOON} {NOON * 300}+300x{LENGTH - NOON}",
}


def labels(name, device):
    source = "" if "timestamp" in name or name.endswith("done") else ', source="s", table="t", mode="raw"'
    return f'{name}{{instance="{device}", node_id="{device}-1"{source}}}'


def samples(firing):
    return [{"labels": f'{{alertname="{alert}", instance="{device}"}}', "value": 1} for alert, device in sorted(firing)]


def test_dead_hung_idle_and_slow_devices_are_told_apart_for_three_days_by_port_and_by_file(tmp_path):
    promtool = tool("promtool", "Debian's package prometheus")
    series = [
        {"series": labels(name, device), "values": values}
        for device, metrics in DEVICES.items()
        for name, values in metrics.items()
    ]
    series += [{"series": name, "values": values} for name, values in UPGRADED.items()]
    cases = [{"expr": FIRING, "eval_time": at, "exp_samples": samples(firing)} for at, firing in EXPECTED.items()]
    cases.append(UNHEALTHY)
    test = {"interval": f"{STEP}m", "input_series": series, "promql_expr_test": cases}
    file = tmp_path / "days.yml"
    whole = {"rule_files": [str(DEPLOY / "prometheus-rules.yml")], "evaluation_interval": f"{STEP}m", "tests": [test]}
    file.write_text(json.dumps(whole))
    done = subprocess.run([promtool, "test", "rules", file], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
