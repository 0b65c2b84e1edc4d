# The image of edge-delta. Two stages: the packages are put into a virtual environment with pip, a build backend and a C
# compiler, which stay behind; what is run is that environment alone. `make test-image` builds and tries it.
FROM python:3.11-slim AS build
WORKDIR /build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore PYTHONDONTWRITEBYTECODE=1
RUN python -m venv --without-pip /opt/edge-delta

# The packages change seldom, so they are a layer of their own, before our code. All of them are wheels for amd64 and
# arm64; without one, --only-binary stops the build instead of asking for a compiler.
COPY requirements.lock requirements-build.lock ./
RUN python -m pip --python /opt/edge-delta/bin/python install --no-compile --only-binary=:all: --require-hashes \
      -r requirements.lock \
 && python -m venv backend && backend/bin/python -m pip install --only-binary=:all: --require-hashes -r requirements-build.lock
COPY deploy/slim.py ./
RUN /opt/edge-delta/bin/python slim.py \
 && /opt/edge-delta/bin/python -c "import boto3, deltalake, polars, pyarrow.dataset, pyarrow.fs, pyarrow.parquet"

COPY pyproject.toml hatch_build.py hatch_version.py README.md LICENSE ./
COPY sql sql
COPY edge_delta edge_delta
# The root file system is read-only when it runs and the user may not write there, so what is not compiled now would be
# compiled again at every start. Python 3.11's time zones are the system's; without them [aggregate] time_zone fails.
# There is no repository here: build.sh says the version; without it, it is a hash of what is built.
ARG VERSION=
RUN EDGE_DELTA_VERSION="$VERSION" backend/bin/hatchling build -t wheel \
 && python -m pip --python /opt/edge-delta/bin/python install --no-compile --no-deps --no-index dist/*.whl \
 && /opt/edge-delta/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/edge-delta/lib \
 && /opt/edge-delta/bin/python -c "import zoneinfo; zoneinfo.ZoneInfo('Europe/Berlin')" \
 && du -sm /opt/edge-delta/lib/python*/site-packages


FROM python:3.11-slim
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="edge-delta" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION" \
      org.opencontainers.image.description="SQLite on the edge to Delta Lake, exactly once" \
      org.opencontainers.image.licenses="Apache-2.0"
# A number, so that Kubernetes can tell that it is not root without looking into the image.
RUN mkdir -p /data /state && chown 10001:10001 /state
COPY --from=build /opt/edge-delta /opt/edge-delta
ENV PATH=/opt/edge-delta/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    STATE_DIR=/state
USER 10001:10001
WORKDIR /state
# No shell in between: signals reach the process, and it works where there is none.
ENTRYPOINT ["edge-delta"]
HEALTHCHECK --interval=60s --timeout=15s --start-period=60s --retries=3 CMD ["edge-delta", "health"]
