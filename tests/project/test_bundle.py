"""The Asset Bundle of deploy/databricks, judged by the model that Databricks generates from its bundles' schema.

`databricks bundle validate` asks a workspace, which there is none of here; what the files alone tell is checked.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from databricks.bundles.alerts import Alert
from databricks.bundles.jobs import Job
from ruamel.yaml import YAML

from edge_delta.ask import statements

ROOT = Path(__file__).parents[2]
BUNDLE = ROOT / "deploy" / "databricks"
MODELS = {"jobs": Job, "alerts": Alert}


def loaded(path: Path) -> Any:
    return YAML(typ="safe").load(path.read_text(encoding="utf-8"))


TOP = loaded(BUNDLE / "databricks.yml")
FILES = [path for pattern in TOP["include"] for path in sorted(BUNDLE.glob(pattern))]
RESOURCES = [
    (kind, name, definition, file)
    for file in FILES
    for kind, named in loaded(file)["resources"].items()
    for name, definition in named.items()
]
TASKS = [
    pytest.param(definition, task, file, id=f"{name}.{task['task_key']}")
    for kind, name, definition, file in RESOURCES
    if kind == "jobs"
    for task in definition["tasks"]
    if "sql_task" in task
]


def built(kind: str, definition: Any) -> Job | Alert:
    return MODELS[kind].from_dict(definition)


@pytest.mark.parametrize(("kind", "definition", "file"), [pytest.param(k, d, f, id=n) for k, n, d, f in RESOURCES])
def test_jobs_and_alerts_follow_their_schema(kind, definition, file):
    assert file.name == f"{kind}.yml"
    assert built(kind, definition).as_dict()
    for key in ("schedule", "tasks" if kind == "jobs" else "evaluation"):
        wrong = {**definition, key: {"no_such_key": 1}}
        with pytest.raises((ValueError, TypeError)):
            built(kind, wrong)


def test_every_file_of_the_bundle_is_judged():
    assert {*FILES, BUNDLE / "databricks.yml"} == set(BUNDLE.rglob("*.y*ml"))
    assert {kind for kind, *_ in RESOURCES} == set(MODELS)


def test_the_bundle_has_what_its_reference_names():
    """The keys at the top and of a target, as the reference of bundles lists them."""
    assert set(TOP) <= {"bundle", "include", "sync", "variables", "targets"}
    assert set(TOP["bundle"]) == {"name"}
    assert set(TOP["sync"]) == {"paths"}
    for one in TOP["variables"].values():
        assert set(one) <= {"description", "default"}
    assert [name for name, target in TOP["targets"].items() if target.get("default")] == ["dev"]
    for target in TOP["targets"].values():
        assert set(target) <= {"mode", "default", "workspace"}
        assert target["mode"] in {"development", "production"}


def test_every_variable_is_declared_and_used():
    used = {name for file in FILES for name in re.findall(r"\$\{var\.(\w+)\}", file.read_text())}
    assert used == set(TOP["variables"])


@pytest.mark.parametrize(("job", "task", "file"), TASKS)
def test_a_task_runs_a_file_of_sql_with_its_parameters(job, task, file):
    path = (file.parent / task["sql_task"]["file"]["path"]).resolve()
    assert path in [found.resolve() for found in statements.files()]
    assert any(path.is_relative_to((BUNDLE / folder).resolve()) for folder in TOP["sync"]["paths"])
    asked = set(re.findall(r":(\w+)", statements.head(path.read_text()).partition("Parameters: ")[2]))
    assert set(task["sql_task"]["parameters"]) == asked
    given = {one["name"] for one in job["parameters"]}
    assert set(task["sql_task"]["parameters"].values()) <= {f"{{{{job.parameters.{name}}}}}" for name in given}
    assert {one["task_key"] for one in task.get("depends_on", [])} <= {one["task_key"] for one in job["tasks"]}


def test_checks_roll_ups_and_maintenance_are_on_a_schedule_and_tell_of_failures():
    jobs = {name: definition for kind, name, definition, _ in RESOURCES if kind == "jobs"}
    run = {name: [file_of(task).stem for task in job["tasks"]] for name, job in jobs.items()}
    assert run == {
        "edge_delta_fleet": ["fleet_job"],
        "edge_delta_quality": ["04_quality"],
        "edge_delta_rollups": ["10_refresh", "03_views", "09_rollups"],
        "edge_delta_maintenance": ["05_maintenance"],
    }
    for job in jobs.values():
        assert job["email_notifications"]["on_failure"] == ["${var.notify}"]
        assert len(job["schedule"]["quartz_cron_expression"].split()) == 6


def file_of(task: Any) -> Path:
    return Path(task["sql_task"]["file"]["path"] if "sql_task" in task else task["spark_python_task"]["python_file"])


def test_the_fleet_job_is_there_with_all_that_it_imports_and_knows_its_parameters():
    [job] = [job for _, name, job, _ in RESOURCES if name == "edge_delta_fleet"]
    [task] = job["tasks"]
    program = (BUNDLE / "resources" / file_of(task)).resolve()
    text = program.read_text(encoding="utf-8")
    for module in re.findall(r"^from edge_delta\.(\w+)", text, re.MULTILINE):
        assert any((BUNDLE / path).resolve() == ROOT / "edge_delta" / module for path in TOP["sync"]["paths"])
    given = task["spark_python_task"]["parameters"]
    assert all(f'"{flag}"' in text for flag in given[::2])
    assert given[1::2] == [f"{{{{job.parameters.{one['name']}}}}}" for one in job["parameters"]]
    assert job["max_concurrent_runs"] == 1


def test_what_the_fleet_job_imports_of_ours_needs_nothing_but_python(tmp_path):
    shutil.copytree(ROOT / "edge_delta" / "gather", tmp_path / "edge_delta" / "gather")  # as the bundle brings it
    modules = "folder, logs, places, rounds, state, takings"
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from edge_delta.gather import {modules}"
    subprocess.run([sys.executable, "-I", "-S", "-c", code], check=True)


def test_maintenance_is_paused_unless_somebody_says_otherwise():
    """An OPTIMIZE beside live devices is not safe on S3."""
    [schedule] = [job["schedule"] for _, name, job, _ in RESOURCES if name == "edge_delta_maintenance"]
    assert schedule["pause_status"] == "${var.maintenance}"
    assert TOP["variables"]["maintenance"]["default"] == "PAUSED"


def test_the_alerts_are_the_queries_of_sql():
    [file] = [f for f in statements.files() if f.name == "06_alerts.sql"]
    queries = [code for _, code in statements.split(file.read_text()) if code.startswith("SELECT")]
    asked = [alert["query_text"].strip() for kind, _, alert, _ in RESOURCES if kind == "alerts"]
    assert [text.replace("${var.catalog}.${var.schema}.", "") for text in asked] == queries
    assert all("${var.catalog}.${var.schema}." in text for text in asked)


def test_the_role_of_databricks_may_only_read():
    policy = json.loads((BUNDLE / "iam-policy.json").read_text(encoding="utf-8"))
    listed = [one["Action"] for one in policy["Statement"]]
    actions = {action for one in listed for action in ([one] if isinstance(one, str) else one)}
    assert actions == {"s3:ListBucket", "s3:GetBucketLocation", "s3:GetObject", "sts:AssumeRole"}
