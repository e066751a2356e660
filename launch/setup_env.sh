# Sourced by the launchers: makes (or reuses) a virtual environment in .venv and activates it.
# usage: source launch/setup_env.sh [extras]     e.g. source launch/setup_env.sh test
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
python=${PYTHON:-python3}
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
  echo "error: $($python --version) found; Python 3.11 or newer is needed (set PYTHON to one)" >&2
  exit 2
}
extras=${1:+[$1]}
stamp=.venv/installed-${1:-core}
if [ ! -f "$stamp" ] || [ setup.py -nt "$stamp" ]; then
  echo "installing into .venv (once; a few minutes)"
  [ -d .venv ] || "$python" -m venv .venv
  .venv/bin/python -m pip install --quiet --disable-pip-version-check --upgrade pip
  .venv/bin/python -m pip install --quiet --disable-pip-version-check --editable ".$extras"
  touch "$stamp"
fi
source .venv/bin/activate
