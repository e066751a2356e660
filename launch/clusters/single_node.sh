#!/usr/bin/env bash
# One machine, no scheduler: one process drives all its GPUs, and is started again when it dies.
#
#   launch/clusters/single_node.sh [--gpus 8] [--restarts 20] [--dry_run] -- ARGUMENTS OF launch/train.py
#   launch/clusters/single_node.sh -- --config configs/stage2.py --workdir /data/runs/stage2 --config.mesh=1,8,1 \
#       --config.model.folder=/data/Wan2.2-TI2V-5B-Diffusers --config.data.dirs="('/data/shards',)"
#
# Stop it with Ctrl-C or SIGTERM: it saves. The output also goes to WORKDIR/logs/single_node.log.
set -euo pipefail
source "$(dirname "$0")/common.sh"

read_arguments "gpus restarts" "" "$@"
default gpus 8
default restarts 20
whole_number gpus restarts
check_training "${given[gpus]}"
need nvidia-smi "it comes with the NVIDIA driver"
logs=$(training_flag --workdir)/logs

if ! is_dry; then
  found=$(nvidia-smi --list-gpus | wc -l)
  ((found == given[gpus])) || fail "This machine has $found GPUs, not ${given[gpus]}; say how many with --gpus."
fi
run mkdir -p "$logs"
# Not a pipe to tee: signals have to reach the worker, and its exit code has to be the one of this script.
if ! is_dry; then exec > >(trap '' INT TERM && tee -a "$logs/single_node.log") 2>&1; fi
run exec "$here/worker.sh" --restarts "${given[restarts]}" -- "${training[@]}"
