from __future__ import annotations

import contextlib
import io
import json
import shutil
import subprocess
from pathlib import Path

import jsonschema
import pytest
import tomli

from edge_delta.cli.main import main
from edge_delta.cli.parser import COMMANDS, chosen, parser_of
from edge_delta.settings.schema import json_schema

ROOT = Path(__file__).parents[2]
DEVICE = ("--config", "--sqlite", "--table", "--table-path", "--state-dir", "--node-id")
NEEDED = {"reset": ["--to-beginning"], "gather": ["--into=x"]}


def refused(words, capsys):
    name, rest = chosen(words)
    with pytest.raises(SystemExit) as stop:
        parser_of(name).parsed(rest)
    assert stop.value.code == 2
    [line] = capsys.readouterr().err.splitlines()
    return line


@pytest.mark.parametrize("name", sorted(set(COMMANDS) - {"demo", "completion", "init"}))
def test_every_command_takes_the_flags_that_say_which_device_and_tables_it_is_about(name):
    words = [word for flag in DEVICE for word in (flag, "x")]
    options = parser_of(name).parsed([*words, *NEEDED.get(name, [])])
    assert (options.config, options.sqlite, options.sqlite_table_name) == ("x", "x", ["x"])
    assert (options.table_path, options.state_dir, options.node_id) == ("x", "x", "x")


def test_other_spellings_mean_the_same():
    options = parser_of("run").parsed(["-c", "a.toml", "--timestamp-col", "ts", "-v"])
    assert (options.config, options.timestamp_col, options.verbose) == ("a.toml", "ts", True)


@pytest.mark.parametrize(("columns", "width"), [("60", 60), ("120", 120), ("0", 80), ("many", 80)])
def test_help_is_as_wide_as_the_terminal(columns, width, monkeypatch):
    monkeypatch.setenv("COLUMNS", columns)
    lines = parser_of("run").format_help().splitlines()
    assert width - 20 < max(map(len, lines)) <= width


def test_a_wrong_flag_names_the_nearest_one_and_its_commands_usage(capsys):
    line = refused(["status", "--sqllite", "x"], capsys)
    assert "no flag --sqllite, did you mean --sqlite?" in line
    assert "edge-delta status --help" in line


def test_a_wrong_command_names_the_nearest_one(capsys):
    with pytest.raises(SystemExit) as stop:
        chosen(["stauts"])
    assert stop.value.code == 2
    assert "did you mean status?" in capsys.readouterr().err


def test_a_flag_of_the_original_uploader_points_to_its_page(capsys):
    assert "docs/from-the-uploader.md" in refused(["--databricks-table", "x"], capsys)


def test_without_a_command_it_is_run_or_query_where_there_is_sql():
    assert chosen(["--once"]) == ("run", ["--once"])
    assert chosen(["--run-query", "SELECT 1"]) == ("query", ["--run-query", "SELECT 1"])


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash_completes_commands_and_flags(tmp_path):
    script = tmp_path / "completion.bash"
    with contextlib.redirect_stdout(io.StringIO()) as out:
        assert main(["completion", "bash"]) == 0
    script.write_text(out.getvalue())
    ask = """
    source {script}
    COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); COMP_LINE="${{COMP_WORDS[*]}}"
    _shtab_edge_delta edge-delta "${{COMP_WORDS[-1]}}" ""
    printf "%s\n" "${{COMPREPLY[@]}}"
    """

    def completed(words):
        done = subprocess.run(
            ["bash", "-c", ask.format(script=script, words=words)], capture_output=True, text=True, check=True
        )
        return done.stdout.split()

    assert completed("edge-delta ver") == ["verify"]
    assert "--to-time" in completed("edge-delta reset --to")


def test_the_schema_takes_the_example_with_every_key_and_refuses_a_slip():
    text = (ROOT / "config.toml.example").read_text(encoding="utf-8")
    lines = [
        line[1:] if line.startswith("#") and not line.startswith(("# ", "#:")) else line for line in text.splitlines()
    ]
    check = jsonschema.Draft202012Validator(json_schema())
    assert list(check.iter_errors(tomli.loads("\n".join(lines)))) == []
    assert [error.validator for error in check.iter_errors({"intervall": 5})] == ["additionalProperties"]
    assert [error.validator for error in check.iter_errors({"gps_fuzzing": {"radius_meters": -1}})] != []
    assert "gps_fuzzing_secret" not in json.dumps(json_schema())


def test_a_command_goes_first(capsys):
    assert "the command goes first, as in edge-delta check --config FILE" in refused(["-c", "x", "check"], capsys)


def test_what_is_no_time_to_go_back_to_is_told_with_what_is(capsys):
    assert "write it as 2026-03-01T12" in refused(["reset", "--to-time=gestern", "--yes"], capsys)
