"""The policies of deploy/, enforced request by request by an S3 server that evaluates them."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.support.command import EdgeDelta
from tests.support.proxy import Answer
from tests.support.sqlite import Sensor
from tests.support.weed import ACCESS_KEY, BUCKET, SECRET_KEY, Weed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.proxy import Proxy
    from tests.support.tables import Place

DEPLOY = Path(__file__).parents[2] / "deploy"
OWN, SHARED, KEEPER = "iam-policy-own-prefix", "iam-policy", "iam-policy-maintenance"
USERS = {"d1": OWN, "d10": OWN, "shared": SHARED, "keeper": KEEPER}


def _identity(name: str, policy: str | None) -> dict[str, Any]:
    keys = [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}] if policy is None else [keys_of(name)]
    rights = {"actions": ["Admin"]} if policy is None else {"policyNames": [name]}
    return {"name": name, "credentials": keys, **rights}


def keys_of(name: str) -> dict[str, str]:
    return {"accessKey": f"key-of-{name}", "secretKey": f"secret-of-{name}-no-secret"}


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Weed]:
    """A server with the users, each with the policy that is attached to it."""
    directory = tmp_path_factory.mktemp("guarded")
    policies = []
    for name, file in USERS.items():
        text = (DEPLOY / f"{file}.json").read_text(encoding="utf-8")
        policies.append({"name": name, "content": text.replace("my-bucket", BUCKET).replace("${aws:username}", name)})
    identities = [_identity("admin", None), *(_identity(name, file) for name, file in USERS.items())]
    config = directory / "identities.json"
    config.write_text(json.dumps({"identities": identities, "policies": policies}), encoding="utf-8")
    server = Weed(directory, config)
    yield server
    server.stop()


def environment(server: Weed, name: str) -> dict[str, str]:
    keys = keys_of(name) if name in USERS else {"accessKey": name, "secretKey": SECRET_KEY}
    return {
        "AWS_ACCESS_KEY_ID": keys["accessKey"],
        "AWS_SECRET_ACCESS_KEY": keys["secretKey"],
        "AWS_ENDPOINT_URL": server.url,
        "AWS_REGION": "us-east-1",
    }


def client(server: Weed, name: str) -> Any:
    keys = environment(server, name)
    return boto3.client(
        "s3",
        endpoint_url=server.url,
        aws_access_key_id=keys["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=keys["AWS_SECRET_ACCESS_KEY"],
        region_name="us-east-1",
        config=Config(retries={"total_max_attempts": 1}),
    )


@pytest.fixture
def filled(tmp_path: Path) -> Iterator[Sensor]:
    (tmp_path / "device").mkdir()
    with Sensor(tmp_path / "device" / "sensor.db") as sensor:
        sensor.create()
        sensor.add(30)
        yield sensor


def device(server: Weed, user: str, sensor: Sensor, base: str, directory: Path, **flags: Any) -> EdgeDelta:
    own = {"sqlite": sensor.path, "table_path": base, "state_dir": directory / "state", "retry_for": 2}
    return EdgeDelta(directory, own | flags, environment(server, user))


def test_a_device_does_all_its_work_within_its_own_prefix(guarded: Weed, filled: Sensor, tmp_path: Path) -> None:
    """A first start, a check, commits beyond a checkpoint, maintenance with deletion, a heartbeat, and `fleet`."""
    one = device(guarded, "d1", filled, f"s3://{BUCKET}/{{node_id}}/readings", tmp_path, node_id="d1")
    config = tmp_path / "config.toml"
    config.write_text("heartbeat = 1\n[maintenance]\nevery_commits = 10\n", encoding="utf-8")
    one.run("check", config=config).succeeded()
    done = one.once(config=config, max_batch_size=1).succeeded()
    assert not done.named("upkeep failed")
    assert done.named("table looked after")
    assert not done.named("heartbeat not written")
    one.run("maintain", config=config).succeeded()
    one.run("verify", config=config).succeeded()
    keys = {o["Key"] for o in client(guarded, ACCESS_KEY).list_objects_v2(Bucket=BUCKET)["Contents"]}
    assert "d1/_edge_delta/heartbeat-d1.json" in keys
    assert all(key.startswith("d1/") for key in keys if "d1" in key)


@pytest.mark.parametrize("user", ["shared", "keeper"])
def test_a_device_of_a_shared_table_delivers_with_its_policy(
    guarded: Weed, filled: Sensor, tmp_path: Path, user: str
) -> None:
    one = device(guarded, user, filled, f"s3://{BUCKET}/readings/of-{user}", tmp_path, node_id=user)
    one.run("check").succeeded()
    one.once(max_batch_size=10).succeeded()
    one.run("verify").succeeded()


def requests(s3: Any, victim: str) -> dict[str, Any]:
    """What a stolen key may try on another device's prefix."""
    there, fresh = f"{victim}/readings_1_schematized/_delta_log/{1:020}.json", f"{victim}/new"
    source = {"Bucket": BUCKET, "Key": there}
    return {
        "read": lambda: s3.get_object(Bucket=BUCKET, Key=there),
        "look": lambda: s3.head_object(Bucket=BUCKET, Key=there),
        "look for what is not there": lambda: s3.get_object(Bucket=BUCKET, Key=fresh),
        "overwrite": lambda: s3.put_object(Bucket=BUCKET, Key=there, Body=b""),
        "make": lambda: s3.put_object(Bucket=BUCKET, Key=fresh, Body=b""),
        "make if absent": lambda: s3.put_object(Bucket=BUCKET, Key=fresh, Body=b"", IfNoneMatch="*"),
        "delete": lambda: s3.delete_object(Bucket=BUCKET, Key=there),
        "delete many": lambda: s3.delete_objects(Bucket=BUCKET, Delete={"Objects": [{"Key": there}]})["Deleted"],
        "begin an upload": lambda: s3.create_multipart_upload(Bucket=BUCKET, Key=fresh),
        "copy out": lambda: s3.copy_object(Bucket=BUCKET, Key="d1/stolen", CopySource=source),
        "list it": lambda: s3.list_objects_v2(Bucket=BUCKET, Prefix=f"{victim}/"),
        "list a part of its name": lambda: s3.list_objects_v2(Bucket=BUCKET, Prefix=victim[:-1]),
        "list everything": lambda: s3.list_objects_v2(Bucket=BUCKET),
        "list everything in the old way": lambda: s3.list_objects(Bucket=BUCKET),
        "change the bucket": lambda: s3.put_bucket_versioning(
            Bucket=BUCKET, VersioningConfiguration={"Status": "Suspended"}
        ),
        "delete the bucket": lambda: s3.delete_bucket(Bucket=BUCKET),
    }


def test_a_stolen_key_reaches_nothing_of_another_device(guarded: Weed) -> None:
    """d10 begins like d1: a prefix without its slash would let one at the other's."""
    place = f"d10/readings_1_schematized/_delta_log/{1:020}.json"
    client(guarded, ACCESS_KEY).put_object(Bucket=BUCKET, Key=place, Body=b"theirs")
    allowed = []
    for what, tried in requests(client(guarded, "d1"), "d10").items():
        try:
            tried()
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] == 403:
                continue
            allowed.append(f"{what}: {error}")
        except KeyError:
            continue  # nothing was deleted
        else:
            allowed.append(what)
    assert not allowed
    assert client(guarded, ACCESS_KEY).get_object(Bucket=BUCKET, Key=place)["Body"].read() == b"theirs"


def test_the_same_requests_reach_what_is_ones_own(guarded: Weed) -> None:
    """Else a server that refuses everything would pass for a guarded one."""
    place = f"d10/readings_1_schematized/_delta_log/{1:020}.json"
    own = client(guarded, "d10")
    own.put_object(Bucket=BUCKET, Key=place, Body=b"own")
    assert own.get_object(Bucket=BUCKET, Key=place)["Body"].read() == b"own"
    assert own.list_objects_v2(Bucket=BUCKET, Prefix="d10/")["KeyCount"] > 0
    with pytest.raises(ClientError, match="NoSuchKey"):
        own.get_object(Bucket=BUCKET, Key="d10/not-there")


def test_a_device_whose_key_was_revoked_goes_on_with_its_new_one(guarded: Weed, filled: Sensor, tmp_path: Path) -> None:
    base = f"s3://{BUCKET}/{{node_id}}/again"
    one = device(guarded, "d1", filled, base, tmp_path, node_id="d1")
    one.once().succeeded()
    filled.add(5, start=30)
    one.environment = environment(guarded, "revoked")
    refused = one.once(retry_for=0)
    assert refused.code == 1
    assert "Check the credentials" in refused.error
    one.environment = environment(guarded, "d1")
    one.once().succeeded()
    one.run("verify").succeeded()


def test_keys_that_a_process_hands_out_are_taken(guarded: Weed, filled: Sensor, tmp_path: Path) -> None:
    """As those of IAM Roles Anywhere or AWS IoT come, whose helper is a credential_process."""
    keys, helper = keys_of("d1"), tmp_path / "helper.py"
    helper.write_text(
        "import datetime, json, pathlib\n"
        f"with pathlib.Path({str(tmp_path / 'asked')!r}).open('a') as asked: asked.write('x')\n"
        "end = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=60)\n"
        f"keys = {{'AccessKeyId': {keys['accessKey']!r}, 'SecretAccessKey': {keys['secretKey']!r}}}\n"
        "print(json.dumps({'Version': 1, 'Expiration': end.strftime('%Y-%m-%dT%H:%M:%SZ'), **keys}))\n",
        encoding="utf-8",
    )
    profile = tmp_path / "aws-config"
    profile.write_text(f"[default]\ncredential_process = {sys.executable} {helper}\n", encoding="utf-8")
    one = device(guarded, "d1", filled, f"s3://{BUCKET}/{{node_id}}/handed", tmp_path, node_id="d1")
    kept = {name: value for name, value in one.environment.items() if "KEY" not in name}
    one.environment = kept | {"AWS_CONFIG_FILE": str(profile)}
    for count in (1, 2):
        one.once().succeeded()
        assert len((tmp_path / "asked").read_text()) >= count
        filled.add(5, start=30 * count)
    one.run("check").succeeded()


def test_who_may_not_list_is_told_what_to_grant_where_a_missing_name_is_refused(
    filled: Sensor, proxy: Proxy, wired_lake: Place, tmp_path: Path
) -> None:
    proxy.plan(Answer(403, "AccessDenied"), method="GET|HEAD", path="_last_checkpoint", times=None)
    one = EdgeDelta(
        tmp_path,
        {"sqlite": filled.path, "table_path": wired_lake.base, "state_dir": tmp_path / "state", "node_id": "d1"},
        wired_lake.environment,
    )
    done = one.once(retry_for=0)
    prefix = wired_lake.base.split("/")[3]
    assert done.code == 1
    assert f"s3:ListBucket on {BUCKET} with s3:prefix {prefix}* is missing" in done.error


def test_the_lifecycle_rules_are_taken_by_a_store(guarded: Weed) -> None:
    rules = json.loads((DEPLOY / "s3-lifecycle.json").read_text(encoding="utf-8"))
    s3 = client(guarded, ACCESS_KEY)
    s3.put_bucket_lifecycle_configuration(Bucket=BUCKET, LifecycleConfiguration=rules)
    taken = s3.get_bucket_lifecycle_configuration(Bucket=BUCKET)["Rules"]
    assert {rule["ID"] for rule in taken} == {rule["ID"] for rule in rules["Rules"]}
