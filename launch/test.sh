#!/usr/bin/env bash
# All checks and tests, in a fresh virtual environment: ./launch/test.sh [pytest arguments, such as -m "not slow"]
set -euo pipefail
source "$(dirname "$0")/setup_env.sh" test
ruff check .
ruff format --check .
lint-imports
# A file stays with one process, which makes what its tests share once.
exec python -m pytest -n 2 --dist loadfile --no-loadscope-reorder --durations 60 "$@"
