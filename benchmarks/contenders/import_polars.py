"""What `import polars` costs: the measure for a run that has nothing to do."""

from __future__ import annotations

import polars as pl

if __name__ == "__main__":
    print(f'{{"rows": 0, "seconds": 0, "version": "{pl.__version__}"}}')
