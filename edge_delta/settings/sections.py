"""What can be set, what each setting may be, and its default. `edge_delta.settings.load` reads them."""

from pathlib import Path
from typing import Annotated, Literal

from msgspec.structs import replace

from edge_delta.core.machine import cores
from edge_delta.core.memory import DEFAULT, LEAST, Budget
from edge_delta.settings.catalog import UnityCatalogSettings
from edge_delta.settings.declaration import Secret, Section, about
from edge_delta.settings.maintenance import MaintenanceSettings, PurgeSettings
from edge_delta.settings.modes import (
    AggregateSettings,
    EmergencySettings,
    GpsSettings,
    ModeName,
    SanitizeSettings,
    SchematizeSettings,
)
from edge_delta.settings.source import SourceSettings, as_bytes, as_path, listed, refuse


def _path(value: object) -> object:
    return Path(value).expanduser() if isinstance(value, str) else value


class StorageSettings(Section, frozen=True, kw_only=True):
    """Where the object store is. Credentials come from the environment or the SDK's own chain, never from here."""

    endpoint_url: Annotated[
        str | None,
        about("an S3-compatible server, for example http://127.0.0.1:8333", example='"http://127.0.0.1:8333"'),
    ] = None
    region: Annotated[str | None, about("the bucket's region", example='"us-east-1"')] = None
    ca_bundle: Annotated[
        Path | None,
        about(
            "a PEM file with the certificate authorities to trust; default: the system's",
            example='"/etc/ssl/certs/company.pem"',
            prepare=_path,
        ),
    ] = None
    proxy_url: Annotated[
        str | None, about("a proxy that requests go through", example='"http://proxy.example.com:3128"')
    ] = None
    virtual_hosted_style: Annotated[bool, about("bucket in the host name instead of the path")] = False
    request_timeout: Annotated[float, about("seconds that one request may take", gt=0)] = 30.0
    connect_timeout: Annotated[float, about("seconds to connect", gt=0)] = 5.0
    durability: Annotated[
        Literal["full", "off"],
        about("in a folder: sync each commit to the disk before it is reported (full), or leave that to the kernel"),
    ] = "full"

    def __post_init__(self) -> None:
        for name in ("endpoint_url", "proxy_url"):
            url = getattr(self, name)
            if url is not None and not url.startswith(("http://", "https://")):
                msg = f"{name} {url!r} does not begin with http:// or https://"
                raise ValueError(msg)
        if self.proxy_url is not None and "@" in self.proxy_url:
            msg = "proxy_url has a password: set HTTPS_PROXY in the environment instead"
            raise ValueError(msg)


def _host(value: object) -> object:
    return value.removeprefix("https://").rstrip("/") if isinstance(value, str) else value


class DatabricksSettings(Section, frozen=True, kw_only=True):
    """A SQL warehouse that answers queries, and the names in Unity Catalog. The token is DATABRICKS_TOKEN."""

    server_hostname: (
        Annotated[
            str,
            about(
                "host of the workspace whose SQL warehouse answers queries; default: none",
                example='"dbc-a1b2c3d4-e5f6.cloud.databricks.com"',
                pattern=r"^[A-Za-z0-9][A-Za-z0-9.-]*$",
                prepare=_host,
            ),
        ]
        | None
    ) = None
    http_path: (
        Annotated[
            str,
            about(
                "the warehouse's path, from its connection details",
                example='"/sql/1.0/warehouses/1234567890abcdef"',
                min_length=1,
            ),
        ]
        | None
    ) = None
    catalog: Annotated[str, about("Unity Catalog's catalog", min_length=1)] = "main"
    schema: Annotated[str, about("the schema in it", min_length=1)] = "sensor_data"

    def __post_init__(self) -> None:
        if (self.server_hostname is None) != (self.http_path is None):
            msg = "server_hostname and http_path go together: set both or none"
            raise ValueError(msg)


OF_THE_PROCESS = frozenset(
    {"state_dir", "node_id", "once", "retry_for", "max_memory", "metrics_port", "metrics_address", "metrics_file"}
    | {"sources", "gps_fuzzing_secret", "witness_key", "storage", "databricks", "unity_catalog", "heartbeat"}
    | {"otlp_endpoint"}
)
"""What is the same for all sources of a process, and so stands in no entry of ``[[sources]]``."""


def _yes_or_no(value: object) -> object:
    words = {"yes": True, "on": True, "no": False, "off": False}
    return words.get(value.lower(), value) if isinstance(value, str) else value


class Settings(SourceSettings, frozen=True, kw_only=True):
    """All settings of one process."""

    table_path: Annotated[
        str,
        about(
            "base of the tables: a folder, s3://, abfss:// or uc://; {node_id}, {table} and {source} are replaced",
            flag="--table-path",
            metavar="ADDRESS",
            env="TABLE_PATH",
            fixed=True,
            example='"s3://my-bucket/readings"',
            min_length=1,
        ),
    ]
    processing_mode: Annotated[
        tuple[ModeName, ...],
        about(
            "the mode, or several: which tables are written",
            flag="--processing-mode",
            metavar="MODE",
            env="PROCESSING_MODE",
            example='"schematized"',
            min_length=1,
            prepare=listed,
        ),
    ] = ("schematized",)
    on_mode_change: Annotated[
        Literal["continue", "backfill"],
        about(
            "a mode set while running continues where the old one stands, or starts from its own cursor",
            flag="--on-mode-change",
            metavar="HOW",
            env="ON_MODE_CHANGE",
        ),
    ] = "continue"
    state_dir: Annotated[
        Path,
        about(
            "directory of the node id, the lock and last_upload.json",
            flag="--state-dir",
            metavar="DIR",
            env="STATE_DIR",
            fixed=True,
            prepare=as_path,
        ),
    ] = Path("state")
    interval: Annotated[
        float, about("seconds between cycles", flag="--interval", metavar="SECONDS", env="UPLOAD_INTERVAL", gt=0)
    ] = 300.0
    fuzz_factor: Annotated[
        float,
        about(
            "share of the interval by which it varies at random",
            flag="--fuzz-factor",
            metavar="SHARE",
            env="FUZZ_FACTOR",
            ge=0,
            le=1,
        ),
    ] = 0.1
    max_batch_size: Annotated[
        int, about("rows per commit", flag="--max-batch-size", metavar="ROWS", env="MAX_BATCH_SIZE", ge=1)
    ] = 131_072
    max_memory: Annotated[
        int,
        about(
            "memory of the process, by which batches, reading ahead and the sorting of windows are sized; from 128 MiB",
            flag="--max-memory",
            metavar="SIZE",
            env="MAX_MEMORY",
            fixed=True,
            example='"256 MiB"',
            ge=LEAST,
            prepare=as_bytes,
        ),
    ] = DEFAULT
    node_id: (
        Annotated[
            str,
            about(
                "this device's name; default: kept in the state directory",
                flag="--node-id",
                metavar="NAME",
                env="NODE_ID",
                fixed=True,
                example='"device-0001"',
                min_length=1,
            ),
        ]
        | None
    ) = None
    once: Annotated[
        bool, about("deliver what is there, then exit", flag="--once", env="ONCE", fixed=True, prepare=_yes_or_no)
    ] = False
    retry_for: Annotated[
        float,
        about(
            "seconds that --once retries when something is unavailable",
            flag="--retry-for",
            metavar="SECONDS",
            env="RETRY_FOR",
            ge=0,
        ),
    ] = 60.0
    health_after: (
        Annotated[
            float,
            about(
                "seconds rows may wait before health fails; default: 3 intervals + 60",
                env="HEALTH_AFTER",
                example="960",
                gt=0,
            ),
        ]
        | None
    ) = None
    metrics_port: Annotated[
        int,
        about(
            "port that serves /metrics, /health and a status page at /; 0: off",
            flag="--metrics-port",
            metavar="PORT",
            env="METRICS_PORT",
            fixed=True,
            ge=0,
            le=65535,
        ),
    ] = 0
    metrics_address: Annotated[
        str, about("where metrics_port listens", env="METRICS_ADDRESS", fixed=True, min_length=1)
    ] = "127.0.0.1"
    metrics_file: (
        Annotated[
            Path,
            about(
                "a .prom file for node_exporter's textfile collector",
                env="METRICS_FILE",
                fixed=True,
                example='"/var/lib/node_exporter/textfile/edge-delta.prom"',
                prepare=as_path,
            ),
        ]
        | None
    ) = None
    otlp_endpoint: (
        Annotated[
            str,
            about(
                "an OpenTelemetry collector that metrics are sent to (OTLP over HTTP); takes edge-delta[otlp]",
                env="OTEL_EXPORTER_OTLP_ENDPOINT",
                fixed=True,
                example='"http://127.0.0.1:4318"',
            ),
        ]
        | None
    ) = None
    heartbeat: Annotated[
        float,
        about(
            "seconds between heartbeats beside the tables, by which edge-delta fleet tells idle from dead; 0: none",
            env="HEARTBEAT",
            fixed=True,
            ge=0,
        ),
    ] = 0.0
    sweep: Annotated[
        float,
        about("seconds between looks for rows below the cursor; 0: each cycle", env="SWEEP", fixed=True, ge=0),
    ] = 3600.0
    on_source_reset: Annotated[
        Literal["new_generation", "stop"],
        about("what to do when the source was replaced", env="ON_SOURCE_RESET"),
    ] = "new_generation"
    schematize: SchematizeSettings = SchematizeSettings()
    sanitize: Annotated[SanitizeSettings, about("clean readings", env="SANITIZE_CONFIG")] = SanitizeSettings()
    aggregate: Annotated[AggregateSettings, about("windows", env="AGGREGATE_CONFIG")] = AggregateSettings()
    emergency: Annotated[EmergencySettings, about("alerts", env="EMERGENCY_CONFIG")] = EmergencySettings()
    gps_fuzzing: Annotated[GpsSettings, about("displaced places", env="GPS_FUZZING_CONFIG")] = GpsSettings()
    gps_fuzzing_secret: Annotated[Secret | None, about("key of the displacements", env="GPS_FUZZING_SECRET")] = None
    witness_key: Annotated[
        Secret | None,
        about("key that rows are told again by; default: kept", env="EDGE_DELTA_WITNESS_KEY", fixed=True),
    ] = None
    maintenance: MaintenanceSettings = MaintenanceSettings()
    purge: PurgeSettings = PurgeSettings()
    storage: Annotated[StorageSettings, about("the object store", fixed=True)] = StorageSettings()
    databricks: DatabricksSettings = DatabricksSettings()
    unity_catalog: UnityCatalogSettings = UnityCatalogSettings()

    sources: Annotated[
        tuple["Settings", ...],
        about("several sources, each with what is another for it than for all", fixed=True),
    ] = ()

    @property
    def several(self) -> bool:
        """Whether these are the settings of several tables, each of which has its own then."""
        return bool(self.sources or self.tables)

    @property
    def with_metrics(self) -> bool:
        """Whether anybody is told metrics."""
        return bool(self.metrics_port or self.metrics_file or self.otlp_endpoint)

    @property
    def budget(self) -> Budget:
        """What `max_memory` allows; a `max_row_bytes` that was set is kept to."""
        budget = Budget.of(self.max_memory).on(cores())
        return budget if self.max_row_bytes is None else replace(budget, row_bytes=self.max_row_bytes)

    def __post_init__(self) -> None:
        if self.otlp_endpoint is not None and "@" in self.otlp_endpoint:
            msg = "otlp_endpoint has a password: set OTEL_EXPORTER_OTLP_HEADERS in the environment instead"
            raise ValueError(msg)
        if self.otlp_endpoint is not None and not self.otlp_endpoint.startswith(("http://", "https://")):
            msg = "otlp_endpoint does not begin with http:// or https://"
            raise ValueError(msg)
        if (self.timestamp_format, self.source_time_zone) != ("auto", "UTC"):
            refuse(self.timestamp_format, self.source_time_zone, ("timestamp_format", "source_time_zone"))
        self.refuse_no_updates()
        if self.heartbeat and self.table_path.startswith("uc:"):
            msg = "heartbeat needs a place beside the tables, and credentials of Unity Catalog are for one table alone"
            raise ValueError(msg)
        gps = self.gps_fuzzing
        if not gps.enabled:
            return
        if self.gps_fuzzing_secret is None:
            msg = f"gps_fuzzing with strategy {gps.strategy!r} needs a secret: set GPS_FUZZING_SECRET"
            raise ValueError(msg)
        if gps.strategy == "planar_laplace" and gps.epsilon is None:
            msg = "gps_fuzzing with strategy 'planar_laplace' needs gps_fuzzing.epsilon"
            raise ValueError(msg)
