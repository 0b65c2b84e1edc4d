#!/usr/bin/env bash
# Builds the image, for one platform or several.
#
#   ./build.sh                          for this machine, as ORGANIZATION_NAME/IMAGE_NAME:VERSION and :latest
#   ./build.sh --tag 1.2.0 --push       for all PLATFORMS, pushed to --registry
#   ./build.sh --registry local --push  to a registry on this machine, localhost:5000
#
# Flags: --tag TAG (default: the version, with - in the place of +), --push, --registry HOST|local (default: the engine's own)
# Environment: PLATFORMS (linux/amd64,linux/arm64), ORGANIZATION_NAME (edge-delta), IMAGE_NAME (edge-delta),
# ENGINE (docker or buildah, whichever is there), VERSION (from the tags of the repository: python3 hatch_version.py)
set -euo pipefail
cd "$(dirname "$0")"

fail() {
  echo "build.sh: $*" >&2
  exit 2
}

tag=""
registry=""
push=false
while [ $# -gt 0 ]; do
  case $1 in
    --tag) tag=${2:?--tag needs a value}; shift 2 ;;
    --registry) registry=${2:?--registry needs a value}; shift 2 ;;
    --push) push=true; shift ;;
    -h | --help) sed -n '2,10s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) fail "unknown argument $1; see --help" ;;
  esac
done
[ "$registry" = local ] && registry=localhost:5000
version=${VERSION:-$(python3 hatch_version.py)} || fail "python3 tells the version from the tags; without it, set VERSION"
organization=${ORGANIZATION_NAME:-edge-delta}
name=${registry:+$registry/}$organization/${IMAGE_NAME:-edge-delta}
image=$name:${tag:-${version//+/-}} # a tag of an image may have no +
names=(--tag "$image")
$push || [ -n "$tag" ] || names+=(--tag "$name:latest") # the name in deploy/; what devices pull is a version
platforms=${PLATFORMS:-linux/amd64,linux/arm64}

engine=${ENGINE:-}
if [ -z "$engine" ]; then
  if docker info >/dev/null 2>&1; then
    engine=docker
  elif command -v buildah >/dev/null; then
    engine=buildah
  else
    fail "there is neither a running docker nor buildah; install one of them"
  fi
fi

echo "$image for $($push && echo "$platforms" || echo "${PLATFORMS:-this machine}") with $engine"
named=(--build-arg "VERSION=$version" --build-arg "REVISION=$(git rev-parse HEAD 2>/dev/null || echo unknown)")
case $engine in
  docker)
    # Several platforms at once cannot be kept in the engine's own store, only pushed.
    if $push; then
      docker buildx build "${named[@]}" --platform "$platforms" --tag "$image" --push .
    else
      docker build "${named[@]}" ${PLATFORMS:+--platform "$PLATFORMS"} "${names[@]}" .
    fi
    ;;
  buildah)
    # HEALTHCHECK exists in Docker's image format only. What is run while building has no need of a network namespace.
    options=(--format docker "${named[@]}" ${BUILDAH_OPTIONS:-})
    if $push; then
      buildah build "${options[@]}" --platform "$platforms" --manifest "$image" .
      tls=(); [ "${registry%%:*}" = localhost ] && tls=(--tls-verify=false)
      buildah manifest push --all "${tls[@]}" "$image" "docker://$image"
    else
      buildah build "${options[@]}" ${PLATFORMS:+--platform "$PLATFORMS"} "${names[@]}" .
    fi
    ;;
  *) fail "ENGINE=$engine: expected docker or buildah" ;;
esac
