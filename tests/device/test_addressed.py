"""Commands that need only the state directory: what names another one, or none, is refused."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from tests.support.ask import ask, ask_unprivileged

COMMANDS = ("health", "status")


@pytest.fixture
def device(sensor, folder, command, tmp_path):
    """Where things of a device are that delivered ten rows."""
    sensor.create()
    sensor.add(10)
    command(sensor.path, folder, node_id="n1").once().succeeded()
    return SimpleNamespace(state=tmp_path / "state", base=folder.base, file=sensor.path, home=tmp_path)


@pytest.mark.parametrize("command_name", COMMANDS)
def test_a_settings_file_that_is_not_there_is_refused(command_name, tmp_path):
    for flags, env in ((["--config", "nix.toml"], {}), ([], {"EDGE_DELTA_CONFIG": "nix.toml"})):
        done = ask(command_name, *flags, env=env, cwd=tmp_path)
        assert done.returncode == 2
        assert "there is no settings file at nix.toml. Check --config" in done.stderr


@pytest.mark.parametrize("command_name", COMMANDS)
def test_a_settings_file_that_would_say_which_directory_it_is_has_to_be_whole(command_name, device):
    (device.home / "config.toml").write_text("state_dir = ")
    done = ask(command_name, cwd=device.home)
    assert done.returncode == 2
    assert "is not valid TOML" in done.stderr
    assert ask(command_name, "--state-dir", device.state, cwd=device.home).returncode == 0


@pytest.mark.parametrize("words", [["health"], ["status"], ["status", "--settled"], ["maintain"]])
@pytest.mark.parametrize("flag", ["--sqlite=nix.db", "--table=nix", "--table-path=nix/readings"])
def test_another_source_than_the_one_that_is_named_is_not_shown(words, flag, device):
    place = [] if flag.startswith("--table-path") else [f"--table-path={device.base}"]
    done = ask(*words, "--state-dir", device.state, *place, flag, cwd=device.home)
    assert done.returncode == 2, done.stdout
    assert "nix" in done.stderr
    assert f"Check {flag.partition('=')[0]}" in done.stderr


@pytest.mark.parametrize("words", [["health"], ["status"], ["maintain"]])
def test_the_source_itself_may_be_named_in_any_way(words, device):
    names = ("--sqlite", device.file.name, "--table", "READINGS", "--table-path", device.base, "--node-id", "n1")
    done = ask(*words, "--state-dir", device.state, *names, cwd=device.file.parent)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("command_name", COMMANDS)
def test_a_single_source_has_no_name(command_name, device):
    done = ask(command_name, "--state-dir", device.state, "--source", "nix")
    assert done.returncode == 2
    assert "Leave --source out" in done.stderr


@pytest.mark.parametrize("command_name", COMMANDS)
def test_a_state_directory_of_another_user_does_not_look_as_if_nothing_ever_ran(command_name, device):
    device.state.chmod(0)
    done = ask_unprivileged(command_name, "--state-dir", device.state, cwd=device.home)
    device.state.chmod(0o700)
    assert done.returncode == 2
    assert f"the state directory {device.state} cannot be read: Permission denied. Run this as the user" in done.stderr


def test_rows_that_wait_before_the_first_start_are_no_good_health(sensor, tmp_path):
    sensor.create()
    (tmp_path / "config.toml").write_text(f'sqlite = "{sensor.path}"\ntable_path = "lake/readings"\n')
    assert ask("health", cwd=tmp_path).stdout == "never started; nothing waits\n"
    sensor.add(10)
    done = ask("health", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "never started; 10 rows wait\n")
    assert not (tmp_path / "state").exists()
    sensor.close()
    sensor.path.unlink()
    done = ask("health", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stdout.startswith("never started; there is no database at")


def test_of_several_sources_each_waits_for_the_first_start(sensor, tmp_path):
    sensor.create("hall")
    sensor.create("yard")
    sensor.add(3, table="yard")
    (tmp_path / "config.toml").write_text(
        f'table_path = "lake/{{table}}"\n[[sources]]\nsqlite = "{sensor.path}"\ntables = ["hall", "yard"]\n'
    )
    done = ask("health", cwd=tmp_path)
    assert done.returncode == 1
    assert "yard: never started; 3 rows wait" in done.stdout
    assert "hall: never started; nothing waits" in done.stdout
