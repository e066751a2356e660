#!/usr/bin/env bash
# Runs on every host (under SLURM: once for each GPU): trains, and tells by its exit code what is to be done next.
#
#   launch/clusters/worker.sh [--restarts N] -- ARGUMENTS OF launch/train.py
#
# Exit codes: 0 the run is finished, 1 it has diverged, 2 wrong input (starting these again as they are is of no use), 75
# the run was saved or died before its end: start it again. With --restarts it does that itself, so many times; a scheduler that requeues needs none.
# SIGTERM and Ctrl-C are passed on to the training, which saves; after them nothing is started again.
set -euo pipefail
source "$(dirname "$0")/common.sh"

read_arguments "restarts" "" "$@"
default restarts 0
[[ ${given[restarts]} =~ ^[0-9]{1,6}$ ]] || fail "--restarts is \"${given[restarts]}\"; a whole number is accepted."
workdir=$(training_flag --workdir)
[ -n "$workdir" ] || fail "--workdir is missing among the arguments after --."

cd "$root"
# In a container image Python is on the PATH instead.
# shellcheck source=/dev/null
if [ -f .venv/bin/activate ]; then source .venv/bin/activate; fi
export PYTHONUNBUFFERED=1
# On GPUs, what `actavatar plan` counts on; by itself JAX takes three quarters of the memory.
export XLA_PYTHON_CLIENT_MEM_FRACTION=${XLA_PYTHON_CLIENT_MEM_FRACTION:-.92}
# A restart finds the compiled step of the one before.
export JAX_COMPILATION_CACHE_DIR=${JAX_COMPILATION_CACHE_DIR:-$workdir/compile_cache}

child="" stopping=0 interrupted=0
stop() { # to the training goes only the first signal: a second one would end it while it saves
  interrupted=1
  if [ "$stopping" = 0 ] && [ -n "$child" ]; then kill -TERM "$child" 2>/dev/null || true; fi
  stopping=1
}
trap stop TERM INT

pause() { # a signal ends it
  sleep "$1" &
  wait $! || true
}

say() { echo "worker on $(hostname): $*" >&2; }

for ((attempt = 0; ; attempt++)); do
  python launch/train.py "${training[@]}" &
  child=$!
  while true; do # a signal ends `wait` before the training ends
    interrupted=0 code=0
    wait "$child" || code=$?
    [ "$interrupted" = 1 ] || break
  done
  child=""
  if ((code <= 2)); then exit "$code"; fi
  say "launch/train.py ended with code $code, before its end."
  if [ "$stopping" = 1 ] || ((attempt >= given[restarts])); then exit 75; fi
  say "starting again ($((attempt + 1)) of ${given[restarts]})."
  pause 10
  if [ "$stopping" = 1 ]; then exit 75; fi
done
