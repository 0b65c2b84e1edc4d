#!/usr/bin/env bash
# Builds the image and tries it as it is meant to run: a read-only root file system without a shell, read-only data, a state mount,
# another user than root; into a folder, and into an S3 server if there is one in .venv.
# Needs a running docker, or root and buildah with the base image; says so and ends with 0 where there is neither, unless
# REQUIRE_IMAGE is set.
set -euo pipefail
cd "$(dirname "$0")/.."
image=localhost/edge-delta/edge-delta:test
limit=520 # megabytes of site-packages

if docker info >/dev/null 2>&1; then
  engine=docker
elif [ "$(id -u)" = 0 ] && command -v buildah >/dev/null &&
  buildah pull --policy missing python:3.11-slim >/dev/null 2>&1; then
  engine=buildah
  export BUILDAH_ISOLATION=${BUILDAH_ISOLATION:-chroot}
else
  echo "test-image: skipped, because there is no running docker, and no buildah that has or can pull the base image"
  [ -z "${REQUIRE_IMAGE:-}" ]
  exit
fi

place=$(mktemp -d)
container=""
weed=""
cleanup() {
  [ -z "$weed" ] || kill -9 "$weed"
  [ -z "$container" ] || buildah rm "$container" >/dev/null
  rm -rf "$place"
}
trap cleanup EXIT
mkdir "$place/data" "$place/state" "$place/lake" "$place/s3"
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
if [ "$engine" = buildah ]; then
  container=$(buildah from --pull-never "$image")
  root=$(buildah mount "$container")
  mkdir "$root/lake"
  mapfile -t variables < <(buildah inspect --format '{{range .OCIv1.Config.Env}}{{println .}}{{end}}' "$container" | sed '/^$/d')
  user=$(buildah inspect --format '{{.OCIv1.Config.User}}' "$container")
  directory=$(buildah inspect --format '{{.OCIv1.Config.WorkingDir}}' "$container")
  label=$(buildah inspect --format '{{index .OCIv1.Config.Labels "org.opencontainers.image.version"}}' "$container")
else
  label=$(docker inspect --format '{{index .Config.Labels "org.opencontainers.image.version"}}' "$image")
fi

# inside COMMAND…: this process becomes the command in the image, with its user and environment and what is in settings.
settings=()
inside() {
  if [ "$engine" = docker ]; then
    local command=$1
    shift
    exec docker run --rm --read-only --tmpfs /tmp --network host --entrypoint "$command" "${settings[@]/#/-e}" \
      -v /dev/null:/bin/sh:ro -v "$place/data:/data:ro" -v "$place/state:/state" -v "$place/lake:/lake" "$image" "$@"
  fi
  place=$place root=$root exec unshare --mount --propagation private bash -ec '
    mount --bind "$root" "$root"
    for pair in data:ro state:rw lake:rw; do
      mount --bind "$place/${pair%:*}" "$root/${pair%:*}"
      mount -o "remount,bind,${pair#*:}" "$root/${pair%:*}"
    done
    mount -t tmpfs tmpfs "$root/tmp"
    mount -t proc proc "$root/proc"
    mount --rbind /dev "$root/dev"
    for shell in bash dash; do [ ! -e "$root/bin/$shell" ] || mount --bind /dev/null "$root/bin/$shell"; done
    mount -o remount,bind,ro "$root"
    exec chroot --userspec="$1" "$root" env -i -C "$2" "${@:3}"' - "$user" "$directory" "${variables[@]}" "${settings[@]}" "$@"
}
run() { (inside "$@"); }

source=(--sqlite /data/sensor.db --table sensor_readings --timestamp-field timestamp)
count="SELECT count(*) AS found FROM readings_1_schematized"

echo "-- one version in the repository, the label and the command"
run edge-delta --version | grep -xF "edge-delta $label"
[ "$label" = "$(python3 hatch_version.py)" ]

echo "-- into a folder, twice"
run edge-delta --once "${source[@]}" --table-path /lake/readings --state-dir /state
run edge-delta --once "${source[@]}" --table-path /lake/readings --state-dir /state
run edge-delta query "$count" --table-path /lake/readings | grep -x ' *1000'
run edge-delta health

echo "-- who it is, and what it may"
run python -c '
import errno, os
from pathlib import Path
assert os.getuid() != 0, "it runs as root"
for place in ("/", "/data", "/opt/edge-delta", "/etc"):
    try:
        Path(place, "written").touch()
    except OSError as error:
        assert error.errno == errno.EROFS, error
    else:
        raise AssertionError(f"{place} can be written")
try:
    os.execv("/bin/sh", ["/bin/sh", "-c", "exit 0"])
except OSError:
    print(f"user {os.getuid()}; its root file system and /data are read-only, and there is no shell")'

echo "-- the line of the documents, until it is stopped"
address=/lake/daemon
if [ -x .venv/bin/weed ]; then
  # On free ports: whoever follows README.md at the same time has the usual ones.
  readarray -t server < <(.venv/bin/python -c 'if True:
    import sys
    from pathlib import Path
    from edge_delta.demo import local_s3
    port, words = local_s3.command(Path(sys.argv[1]), "bucket")
    print(port, *words, sep="\n")' "$place/s3")
  settings=(AWS_ACCESS_KEY_ID=me AWS_SECRET_ACCESS_KEY=secret AWS_REGION=us-east-1)
  settings+=("AWS_ENDPOINT_URL=http://127.0.0.1:${server[0]}")
  env "${settings[@]}" "${server[@]:1}" >"$place/weed.log" 2>&1 &
  weed=$!
  disown "$weed"
  timeout 60 bash -c "until grep -q 'running and ready' '$place/weed.log'; do sleep 0.2; done"
  address=s3://bucket/table
fi
settings+=(UPLOAD_INTERVAL=300 NODE_ID=device-0001)
(inside edge-delta "${source[@]}" --table-path "$address" --state-dir /state) 2>"$place/log" &
process=$!
timeout 60 bash -c "until grep -q 'cycle finished' '$place/log'; do sleep 0.2; done" || { cat "$place/log"; exit 1; }
run edge-delta health
kill -TERM "$process"
wait "$process"
grep -c '"event": "stopped"' "$place/log" | grep -qx 1
echo "SIGTERM reached it: it stopped with exit code 0"
run edge-delta query "${count/readings_1/${address##*/}_1}" --table-path "$address" | grep -x ' *1000'

size=$(run python -c '
import sysconfig
from pathlib import Path
packages = Path(sysconfig.get_path("purelib"))
def weight(path):
    files = {(p.lstat().st_dev, p.lstat().st_ino): p.lstat().st_size for p in [path, *path.rglob("*")] if p.is_file()}
    return sum(files.values()) / 1e6
parts = sorted(((weight(p), p.name) for p in packages.iterdir()), reverse=True)
print("\n".join(f"{megabytes:6.1f} MB  {name}" for megabytes, name in parts[:8]))
print(f"{weight(packages):.0f}")')
echo "${size%$'\n'*}"
size=${size##*$'\n'}
echo "site-packages: $size MB (at most $limit)"
[ "$size" -le "$limit" ]
echo "test-image: passed"
