#!/usr/bin/env bash
# Runs a training on the hosts of a TPU VM that exists: one process for each host, started again when it dies.
#
#   launch/clusters/tpu_vm.sh start --name N --zone Z --topology v5p:2x2x2 [--project P] [--before COMMAND]
#       [--python python3.11] [--restarts 20] [--dry_run] -- ARGUMENTS OF launch/train.py
#   launch/clusters/tpu_vm.sh log|stop --name N --zone Z [--project P] [--dry_run]
#   launch/clusters/tpu_vm.sh start --name pod --zone us-east5-b --topology v6e:4x4 \
#       --before "sudo mount SERVER:/shared /shared" -- --config configs/stage2.py --workdir /shared/runs/stage2 \
#       --config.mesh=1,8,2 --config.model.attention=splash
#
# start copies the last commit to all hosts, installs it there and starts it; it goes on when you log out. --before runs
# on every host first: mount the storage that all of them share there, and install Python 3.11 where the image has none
# (Ubuntu 22.04: sudo apt-get update && sudo apt-get install -y python3.11-venv). log shows the last lines of each host.
# stop saves and ends the run; the TPU VM itself stays, and costs, until you delete it.
set -euo pipefail
source "$(dirname "$0")/common.sh"

action=${1:-}
case $action in
  start | log | stop) shift ;;
  --help | -h) ;;
  *) fail "\"$action\" is not an action; start, log and stop are accepted." ;;
esac
read_arguments "name zone topology project before python restarts" "" "$@"
require name zone
dns_name name
where=(--zone="${given[zone]}")
if [ -n "${given[project]:-}" ]; then where+=(--project="${given[project]}"); fi

on_all_hosts() {
  run gcloud compute tpus tpu-vm ssh "${given[name]}" "${where[@]}" --worker=all --command="$1"
}

# shellcheck disable=SC2016 # what is in single quotes is for the shells of the hosts
start() {
  require topology
  default python python3.11
  default restarts 20
  whole_number restarts
  read_topology
  one_tpu_vm
  check_training "$devices"
  need_gcloud
  need git "it packs the last commit for the hosts"
  local archive=${TMPDIR:-/tmp}/actavatar-${given[name]}.tar.gz
  local idle install worker
  idle='! kill -0 $(cat actavatar/worker.pid 2>/dev/null) 2>/dev/null'
  install="mkdir -p actavatar && tar -xzf actavatar.tar.gz -C actavatar && cd actavatar"
  install+=" && PYTHON=$(quoted "${given[python]}") bash -c 'source launch/setup_env.sh tpu'"
  worker=$(quoted launch/clusters/worker.sh --restarts "${given[restarts]}" -- --distributed "${training[@]}")

  if [ -n "${given[before]:-}" ]; then on_all_hosts "${given[before]}"; fi
  on_all_hosts "$idle || { echo 'error: a training runs here; stop it first.' >&2; exit 2; }"
  run git -C "$root" archive --format=tar.gz --output="$archive" HEAD
  run gcloud compute tpus tpu-vm scp "$archive" "${given[name]}:actavatar.tar.gz" "${where[@]}" --worker=all
  on_all_hosts "$install"
  # A session of its own, so that it outlives the connection.
  on_all_hosts "cd actavatar && { setsid nohup $worker >>worker.log 2>&1 </dev/null & echo \$! >worker.pid; }"
}

need_gcloud() { need gcloud "install the Google Cloud CLI and log in"; }

# shellcheck disable=SC2016 # as above
case $action in
  start) start ;;
  log)
    need_gcloud
    on_all_hosts 'hostname; tail -n 20 actavatar/worker.log'
    ;;
  stop)
    need_gcloud
    on_all_hosts 'kill -TERM $(cat actavatar/worker.pid)'
    ;;
esac
