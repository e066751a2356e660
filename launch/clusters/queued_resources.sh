#!/usr/bin/env bash
# Waits in Google's queue for a TPU slice, trains on it, and queues again when the slice is taken away.
#
#   launch/clusters/queued_resources.sh --name N --zone Z --topology v5p:2x2x2 [--spot] [--project P] [--before COMMAND]
#       [--python python3.11] [--restarts 20] [--dry_run] -- ARGUMENTS OF launch/train.py
#   launch/clusters/queued_resources.sh --name pod --zone us-east5-b --topology v6e:4x4 --spot \
#       --before "sudo mount SERVER:/shared /shared" -- --config configs/stage2.py --workdir /shared/runs/stage2 \
#       --config.mesh=1,8,2 --config.model.attention=splash
#
# It watches until it is stopped (Ctrl-C leaves the slice and its training as they are): run it in tmux. The slice,
# which costs, stays until you delete it: gcloud compute tpus queued-resources delete N --zone Z --force
# Options but --spot are those of tpu_vm.sh, which starts the training.
set -euo pipefail
source "$(dirname "$0")/common.sh"

read_arguments "name zone topology project before python restarts" "spot" "$@"
require name zone topology
default restarts 20
whole_number restarts
dns_name name
read_topology
one_tpu_vm
case $kind in
  v5e) version=v2-alpha-tpuv5-lite ;;
  v5p) version=v2-alpha-tpuv5 ;;
  v6e) version=v2-alpha-tpuv6e ;;
esac
check_training "$devices"
need gcloud "install the Google Cloud CLI and log in"

where=(--zone="${given[zone]}")
if [ -n "${given[project]:-}" ]; then where+=(--project="${given[project]}"); fi
tier=()
if [ -n "${given[spot]:-}" ]; then tier+=(--spot); fi
passed=()
for name in name zone topology project before python restarts; do
  if [ -n "${given[$name]:-}" ]; then passed+=("--$name=${given[$name]}"); fi
done
if is_dry; then passed+=(--dry_run); fi

queued() { run gcloud compute tpus queued-resources "$1" "${given[name]}" "${where[@]}" "${@:2}"; }

enqueue() {
  queued create --node-id="${given[name]}" --accelerator-type="$(slice_type)" --runtime-version="$version" "${tier[@]}"
}

state() { gcloud compute tpus queued-resources describe "${given[name]}" "${where[@]}" --format="value(state.state)"; }

await() { # await STATE...: the first of them that the slice is in
  local now="" last=""
  while true; do
    now=$(state) || now=UNKNOWN # the network may be away for a while
    [ "$now" = "$last" ] || echo "$(date --iso-8601=seconds) ${given[name]}: $now" >&2
    last=$now
    if [[ " $* " == *" $now "* ]]; then echo "$now" && return; fi
    sleep 60
  done
}

enqueue
if is_dry; then
  queued describe --format="value(state.state)"
  "$here/tpu_vm.sh" start "${passed[@]}" -- "${training[@]}"
  exit
fi
for ((attempt = 0; attempt <= given[restarts]; attempt++)); do
  if [ "$(await ACTIVE FAILED)" = FAILED ]; then
    queued describe >&2
    fail "The request for ${given[name]} failed; delete it with gcloud compute tpus queued-resources delete."
  fi
  "$here/tpu_vm.sh" start "${passed[@]}" -- "${training[@]}"
  await SUSPENDED FAILED >/dev/null
  queued delete --force --quiet # what is left of it; its hosts are gone
  enqueue
done
fail "The slice was taken away ${given[restarts]} times; the last request is still in the queue."
