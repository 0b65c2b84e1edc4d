#!/usr/bin/env bash
# The ARM64 wheel under qemu, in a root of Debian 12 that holds Python, the locked packages and nothing else: 20,000 rows in
# every mode, `verify`, and each table compared with what this machine's wheel makes of the same database.
# As root, with apt-get; installs debootstrap and qemu-user-static where they are missing. Some ten minutes. Says so and ends
# with 0 where there is no mirror of Debian.
set -euo pipefail
cd "$(dirname "$0")/.."
python=$PWD/.venv/bin/python
modes=raw,schematized,sanitized,aggregated,emergency

if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
  echo "arm64: NOT TRIED, because only root can, with apt-get"
  exit
fi
if ! command -v debootstrap >/dev/null || ! command -v qemu-aarch64-static >/dev/null; then
  apt-get update -q >/dev/null
  DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends debootstrap qemu-user-static >/dev/null
fi
mirror=$(apt-get indextargets --format '$(SITE) $(RELEASE)' 'Created-By: Packages' | awk '$2 == "bookworm" { print $1; exit }')
if [ -z "$mirror" ]; then
  echo "arm64: NOT TRIED, because apt has no mirror of Debian 12"
  exit
fi

place=$(mktemp -d)
root=$place/root
cleanup() {
  for mounted in proc dev; do umount "$root/$mounted" 2>/dev/null || true; done
  mountpoint -q "$root/proc" || mountpoint -q "$root/dev" || rm -rf "$place"
}
trap cleanup EXIT

echo "-- a root with Python (unpacked only: nothing is run to set it up)"
debootstrap --arch=arm64 --foreign --variant=minbase --include=python3,ca-certificates bookworm "$root" "$mirror" >"$place/log" ||
  { tail -n 20 "$place/log"; exit 1; }
for package in "$root"/var/cache/apt/archives/*.deb; do dpkg --extract "$package" "$root"; done
cp "$(command -v qemu-aarch64-static)" "$root/usr/bin/"

echo "-- the wheel and the locked packages"
EDGE_DELTA_PLATFORM=linux-aarch64 "$python" -m hatchling build -t wheel -d "$place/wheel" >/dev/null
mapfile -t fits < <("$python" -c 'from tools.wheels import fits; print(*fits("manylinux_2_28_aarch64"), sep="\n")')
install=("$python" -m pip install --quiet --disable-pip-version-check --no-compile --only-binary=:all: --target "$root/opt/site"
  --implementation cp --python-version 3.11 --abi cp311 --abi abi3 --abi none "${fits[@]/#/--platform=}")
"${install[@]}" --require-hashes -r requirements.lock
"${install[@]}" --no-deps --no-index "$place"/wheel/*.whl

mkdir "$root/work"
mount --bind /proc "$root/proc"
mount --bind /dev "$root/dev"
"$python" -c 'import sys; from pathlib import Path; from tools.pythons import database; database(Path(sys.argv[1]))' "$root/work/sensor.db"
cp "$root/work/sensor.db" "$place/"
inside() {
  env -i PATH=/usr/bin:/bin HOME=/tmp LANG=C.UTF-8 PYTHONPATH=/opt/site PYTHONDONTWRITEBYTECODE=1 \
    "$(command -v chroot)" "$root" /usr/bin/qemu-aarch64-static /usr/bin/python3.11 -m edge_delta "$@"
}
device=(--processing-mode "$modes" --node-id device)

echo "-- 20,000 rows in every mode, there and here"
inside --version
inside --once --flush --sqlite /work/sensor.db --table-path /work/lake/readings --state-dir /work/state "${device[@]}" 2>"$place/log" ||
  { cat "$place/log"; exit 1; }
inside verify --sqlite /work/sensor.db --table-path /work/lake/readings --state-dir /work/state "${device[@]}"
.venv/bin/edge-delta --once --flush --sqlite "$place/sensor.db" --table-path "$place/lake/readings" --state-dir "$place/state" \
  "${device[@]}" 2>"$place/log" || { cat "$place/log"; exit 1; }
"$python" - "$root/work/lake" "$place/lake" <<'PYTHON'
import sys
from pathlib import Path

import polars as pl

there, here = (Path(name) for name in sys.argv[1:])
names = sorted(path.name for path in here.iterdir())
assert names == sorted(path.name for path in there.iterdir())
for name in names:
    tables = [pl.read_delta(str(place / name)).drop("databricks_inserted_at") for place in (there, here)]
    key = [column for column, kind in tables[0].schema.items() if not kind.is_nested()]
    one, other = (table.sort(key) for table in tables)
    assert one.equals(other), name
    print(f"{name}: {one.height:,} rows of {one.width + 1} columns, equal")
PYTHON
echo "arm64: passed"
