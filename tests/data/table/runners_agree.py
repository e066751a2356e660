"""Synthetic clips through every runner: prints clips a second, and fails unless all tables are the same bytes.

python -m tests.data.table.runners_agree 10000
"""

import sys
import tempfile
import time
from pathlib import Path

from data_pipelines.table import run_step
from tests.data.table.trivial_step import ARITHMETIC, synthetic

RUNNERS = {
    "in this process": {"workers": 0},
    "2 processes": {"workers": 2},
    "beam, in memory": {"runner": "beam"},
    "beam, 2 processes": {
        "runner": "beam",
        "beam_options": ["--direct_running_mode=multi_processing", "--direct_num_workers=2"],
    },
}


def main(count: int) -> None:
    table, found = synthetic(count), set()
    with tempfile.TemporaryDirectory() as folder:
        for name, settings in RUNNERS.items():
            clips = Path(folder) / name
            start = time.perf_counter()
            run_step(ARITHMETIC, table, clips, progress=False, **settings)
            print(f"{name:>20}: {count / (time.perf_counter() - start):8.0f} clips/s", flush=True)
            found.add((clips / "columns" / "arithmetic.parquet").read_bytes())
    assert len(found) == 1, "the tables differ"
    print(f"all {len(RUNNERS)} tables of {count} clips are the same bytes")


if __name__ == "__main__":
    main(int(sys.argv[1]))
