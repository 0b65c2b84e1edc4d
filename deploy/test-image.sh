#!/usr/bin/env bash
# Builds the image and tries it as it is meant to run: read-only data, a state mount, another user than root.
# Needs a running docker, or buildah with the base image; says so and ends with 0 where there is neither, unless REQUIRE_IMAGE is set.
set -euo pipefail
cd "$(dirname "$0")/.."
image=localhost/edge-delta/edge-delta:test
limit=520 # megabytes of site-packages

if docker info >/dev/null 2>&1; then
  engine=docker
elif command -v buildah >/dev/null && buildah pull --policy missing docker.io/library/python:3.11-slim >/dev/null 2>&1; then
  engine=buildah
  export BUILDAH_ISOLATION=${BUILDAH_ISOLATION:-chroot}
else
  echo "test-image: skipped, because there is no running docker, and no buildah that has or can pull the base image"
  [ -z "${REQUIRE_IMAGE:-}" ]
  exit
fi

place=$(mktemp -d)
container=
cleanup() {
  [ -z "$container" ] || buildah rm "$container" >/dev/null
  rm -rf "$place"
}
trap cleanup EXIT
mkdir "$place/data" "$place/state" "$place/lake"
chmod 777 "$place/state" "$place/lake"
python3 - "$place/data/sensor.db" <<'PYTHON'
import sqlite3, sys
db = sqlite3.connect(sys.argv[1])
db.execute("PRAGMA journal_mode = WAL")
db.execute("CREATE TABLE sensor_readings (id INTEGER PRIMARY KEY, timestamp TEXT, temperature REAL)")
db.executemany("INSERT INTO sensor_readings VALUES (?, '2026-11-22T01:41:34+00:00', 20.5)", [(i,) for i in range(1, 1001)])
db.commit()
db.close()
PYTHON

ENGINE=$engine ORGANIZATION_NAME=edge-delta IMAGE_NAME=edge-delta ./build.sh --registry localhost --tag test

# run ENTRYPOINT ARGUMENTS…: in the image, with its own user; "-" is the image's own entrypoint.
run() {
  local entry=$1
  shift
  if [ "$engine" = docker ]; then
    local how=()
    [ "$entry" = - ] || how=(--entrypoint "$entry")
    docker run --rm --read-only --tmpfs /tmp "${how[@]}" -v "$place/data:/data:ro" -v "$place/state:/state" \
      -v "$place/lake:/lake" "$image" "$@"
  else
    [ -n "$container" ] || container=$(buildah from --pull-never "$image")
    [ "$entry" = - ] && entry=edge-delta
    buildah run ${BUILDAH_OPTIONS:-} -v "$place/data:/data:ro" -v "$place/state:/state" -v "$place/lake:/lake" \
      "$container" -- "$entry" "$@"
  fi
}

flags=(--sqlite /data/sensor.db --table sensor_readings --timestamp-field timestamp --table-path /lake/readings)
run - --once "${flags[@]}" --state-dir /state
run - --once "${flags[@]}" --state-dir /state
run python -c '
import os, sys
from deltalake import DeltaTable
assert os.getuid() != 0, "the image runs as root"
rows = sum(DeltaTable("/lake/readings_1_schematized").get_add_actions()["num_records"].to_pylist())
assert rows == 1000, rows
print(f"1000 rows arrived, as user {os.getuid()}")'
run - health
size=$(run python -c '
import sysconfig
from pathlib import Path
files = {(p.lstat().st_dev, p.lstat().st_ino): p.lstat().st_size for p in Path(sysconfig.get_path("purelib")).rglob("*") if p.is_file()}
print(sum(files.values()) // 1_000_000)')
echo "site-packages: $size MB (at most $limit)"
[ "$size" -le "$limit" ]
echo "test-image: passed"
