"""Region, certificate authorities and proxy are named once, under [storage], for all that talks to the store."""

from __future__ import annotations

import json
import shutil
import ssl
import subprocess

import pytest

from edge_delta.core.errors import ConfigurationError
from edge_delta.settings.load import load
from edge_delta.settings.network import put_in_place
from tests.conftest import lake_at
from tests.support.metadata import Metadata
from tests.support.proxy import Answer, Proxy


def settings(tmp_path, **storage):
    """A settings file with these keys under [storage]."""
    lines = [f"{key} = {json.dumps(str(value))}" for key, value in storage.items()]
    (tmp_path / "config.toml").write_text("[storage]\n" + "\n".join(lines) + "\n")
    return tmp_path / "config.toml"


def without(environment, *names):
    return {name: value for name, value in environment.items() if name not in names}


@pytest.fixture
def three_rows(sensor):
    sensor.create()
    sensor.add(3)
    return sensor.path


def test_with_a_region_in_the_settings_the_metadata_service_is_not_asked(three_rows, lake, command, tmp_path):
    file = settings(tmp_path, region="us-east-1")
    with Metadata() as service:
        edge = command(three_rows, lake, config=file)
        edge.environment = without(lake.environment, "AWS_REGION") | service.environment
        edge.once().succeeded()
        edge.once().succeeded()
    assert service.asked == []


def test_a_store_of_ones_own_needs_no_region_and_no_metadata_service(three_rows, lake, command):
    with Metadata() as service:
        edge = command(three_rows, lake)
        edge.environment = without(lake.environment, "AWS_REGION") | service.environment
        edge.once().succeeded()
    assert service.asked == []


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    """A private certificate authority, and the certificate of a server on loopback: (PEM, context)."""
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl")
    place = tmp_path_factory.mktemp("tls")

    def openssl(*words):
        subprocess.run(["openssl", *words], cwd=place, check=True, capture_output=True)

    new = ("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2")
    openssl(*new, "-subj", "/CN=Tests", "-keyout", "ca.key", "-out", "ca.pem")
    server = ("-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1")
    plain = ("-addext", "basicConstraints=CA:FALSE", "-CA", "ca.pem", "-CAkey", "ca.key")
    openssl(*new, *server, *plain, "-keyout", "s.key", "-out", "s.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(place / "s.pem", place / "s.key")
    return place / "ca.pem", context


@pytest.fixture
def secure(weed, authority):
    """The store behind TLS, with a certificate of that authority."""
    with Proxy(weed.port, tls=authority[1]) as between:
        yield between


def delivered_checked_and_asked(edge):
    """By delta-rs and our own request, by boto3, by the engine that queries."""
    edge.once().succeeded()
    edge.run("check").succeeded()
    edge.run("verify").succeeded()


def test_one_setting_names_the_authorities_for_all(three_rows, secure, authority, command, tmp_path):
    lake = lake_at(secure.url)
    delivered_checked_and_asked(command(three_rows, lake, config=settings(tmp_path, ca_bundle=authority[0])))


@pytest.mark.parametrize(("name", "does"), [("SSL_CERT_FILE", "check"), ("AWS_CA_BUNDLE", "run")])
def test_either_variable_names_the_authorities_for_all(three_rows, secure, authority, command, *, name, does):
    edge = command(three_rows, lake_at(secure.url), once=True if does == "run" else None)
    edge.environment = {**edge.environment, name: str(authority[0])}
    edge.run(does).succeeded()


def test_an_unknown_authority_is_told(three_rows, secure, command):
    edge = command(three_rows, lake_at(secure.url), retry_for=0)
    code, [failure, *_] = found(edge)
    assert (code, failure["fact"][-14:]) == (1, "is not trusted")
    assert "ca_bundle in [storage]" in failure["cure"]
    assert "ca_bundle in [storage]" in edge.once().error


def test_authorities_that_are_not_there_are_told(three_rows, lake, command, tmp_path):
    done = command(three_rows, lake, config=settings(tmp_path, ca_bundle="/nowhere.pem")).once()
    assert done.code == 2
    assert "storage.ca_bundle is /nowhere.pem" in done.error


def test_one_setting_names_the_proxy_for_all(three_rows, proxy, command, tmp_path):
    lake = lake_at("http://store.invalid:8333")
    delivered_checked_and_asked(command(three_rows, lake, config=settings(tmp_path, proxy_url=proxy.url)))
    assert all(one.path.startswith("http://store.invalid:8333/") for one in proxy.exchanges)


@pytest.mark.parametrize(
    ("storage", "said"),
    [
        ({"proxy_url": "http://me:secret-word@proxy:3128"}, "has a password: set HTTPS_PROXY"),
        ({"proxy_url": "proxy:3128"}, "does not begin with http:// or https://"),
        ({"endpoint_url": "127.0.0.1:8333"}, "does not begin with http:// or https://"),
    ],
)
def test_addresses_that_cannot_be_used_are_told_at_the_start(storage, said, tmp_path):
    with pytest.raises(ConfigurationError) as told:
        load({"config": settings(tmp_path, **storage), "sqlite": "s.db", "table_path": "s3://a/b"}, environment={})
    assert said in str(told.value)
    assert "secret-word" not in str(told.value)


def test_the_way_to_the_metadata_service_is_never_through_a_proxy(tmp_path):
    file = settings(tmp_path, proxy_url="http://proxy:3128")
    environment = {"NO_PROXY": "intern.example"}
    put_in_place(load({"config": file, "sqlite": "s.db", "table_path": "s3://a/b"}, environment={}), environment)
    assert environment["no_proxy"].split(",") == ["intern.example", "169.254.169.254", "169.254.170.2"]


def test_a_folder_changes_nothing_in_the_environment(tmp_path):
    environment: dict[str, str] = {}
    file = settings(tmp_path, region="eu-central-1", proxy_url="http://proxy:3128")
    put_in_place(load({"config": file, "sqlite": "s.db", "table_path": "/lake"}, environment={}), environment)
    assert environment == {}


# -- check does not end in a traceback


def found(edge, **flags):
    """The failures of the storage that `check` finds."""
    done = edge.run("check", json=True, **flags)
    assert "Traceback" not in done.stderr
    return done.code, [f for f in json.loads(done.stdout) if f["level"] == "failed"]


def test_check_tells_of_an_endpoint_without_its_scheme(three_rows, lake, command):
    edge = command(three_rows, lake)
    edge.environment = {**lake.environment, "AWS_ENDPOINT_URL": lake.url.removeprefix("http://")}
    code, [failure, *_] = found(edge)
    assert code == 2
    assert "does not begin with http:// or https://" in failure["fact"]
    done = edge.once()
    assert done.code == 2
    assert "does not begin with http:// or https://" in done.error


def test_check_and_run_tell_of_an_unknown_profile(three_rows, lake, command):
    edge = command(three_rows, lake)
    edge.environment = without(lake.environment, "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY") | {
        "AWS_PROFILE": "nobody"
    }
    code, [failure, *_] = found(edge)
    assert code == 2
    assert "nobody" in failure["fact"]
    assert "~/.aws/config" in failure["cure"]
    assert edge.once(retry_for=0).code in (1, 2)


def test_check_leaves_nothing_foreign_behind_where_nothing_may_be_deleted(three_rows, proxy, wired_lake, command):
    """With deploy/iam-policy.json a device may put objects and break uploads off, but not delete."""
    proxy.plan(Answer(403, "AccessDenied"), method="DELETE", path=r"^[^?]*$|\?(?!.*uploadId)", times=None)
    command(three_rows, wired_lake).run("check").succeeded()
    bucket, _, prefix = wired_lake.base.removeprefix("s3://").partition("/")
    kept = {one.path.partition("?")[0] for one in proxy.requests("PUT")}
    assert kept == {f"/{bucket}/{prefix}_1_schematized/_edge_delta_check"}
