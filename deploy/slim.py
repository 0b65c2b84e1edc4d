"""Takes out of the image's packages what edge-delta never opens; run once while the image is built.

Nothing that reads or writes tables is touched: tests, headers for C++, Arrow Flight (remote procedure calls, 33 MB),
and the descriptions of the some 400 services of AWS that are neither S3 nor a way to get credentials for it.
"""

from __future__ import annotations

import shutil
import sysconfig
from pathlib import Path

SERVICES = {"s3", "sts", "sso", "sso-oidc", "signin"}


def superfluous(packages: Path) -> list[Path]:
    """Files and directories that can go."""
    found = [p for p in packages.glob("*/**/tests") if p.is_dir()]
    found += [packages / "pyarrow" / name for name in ("include", "src", "includes")]
    found += packages.glob("pyarrow/*.pxd")
    found += packages.glob("pyarrow/*.pxi")
    found += [*packages.glob("pyarrow/*flight*.so*"), packages / "pyarrow" / "flight.py"]
    services = packages / "botocore" / "data"
    if services.is_dir():
        found += [p for p in services.iterdir() if p.is_dir() and p.name not in SERVICES]
    return [p for p in found if p.exists()]


def main() -> None:
    """Remove it."""
    for path in superfluous(Path(sysconfig.get_path("purelib"))):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
