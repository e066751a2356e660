#!/usr/bin/env bash
# Starts a training on TPU slices of a GKE cluster that XPK made: one process for each host.
#
#   launch/clusters/xpk.sh --cluster C --name N --topology v5p:2x2x2 --image IMAGE --zone Z [--project P]
#       [--grace 300] [--restarts 20] [--dry_run] -- ARGUMENTS OF launch/train.py
#   launch/clusters/xpk.sh --cluster pods --name stage2 --topology v6e:4x4 --image IMAGE --zone us-east5-b -- \
#       --config configs/stage2.py --workdir /shared/runs/stage2 --config.mesh=1,8,2 --config.model.attention=splash
#
# The storage that holds shards, model folders and the workdir is attached to the cluster beforehand, mounted on every
# pod: xpk storage attach --help. IMAGE is made from launch/clusters/Dockerfile.
set -euo pipefail
source "$(dirname "$0")/common.sh"

read_arguments "cluster name topology image zone project grace restarts" "" "$@"
require cluster name topology image zone
default grace 300
default restarts 20
whole_number grace restarts
dns_name name
read_topology
check_training "$devices" "$slices"
need xpk "install it: pip install xpk"

# XPK restarts after signals only; 75 is how the worker asks for it. `exec`, so that SIGTERM reaches the worker.
command=(
  xpk workload create --cluster="${given[cluster]}" --workload="${given[name]}" --zone="${given[zone]}"
  --tpu-type="$(slice_type)" --num-slices="$slices" --docker-image="${given[image]}"
  --max-restarts="${given[restarts]}" --restart-on-exit-codes=75
  --termination-grace-period-seconds="${given[grace]}"
  --command="exec $(quoted launch/clusters/worker.sh -- --distributed "${training[@]}")"
)
if [ -n "${given[project]:-}" ]; then command+=(--project="${given[project]}"); fi
run "${command[@]}"
