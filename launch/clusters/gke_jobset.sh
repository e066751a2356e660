#!/usr/bin/env bash
# Starts a training on TPU slices of a GKE cluster as a JobSet: one process for each host.
#
#   launch/clusters/gke_jobset.sh --name N --topology v5p:2x2x2 --image IMAGE --claim CLAIM [--mount /shared]
#       [--chips_per_host 4] [--grace 300] [--restarts 20] [--dry_run] -- ARGUMENTS OF launch/train.py
#   launch/clusters/gke_jobset.sh --name stage2 --topology v6e:4x4 --image IMAGE --claim runs -- \
#       --config configs/stage2.py --workdir /shared/runs/stage2 --config.mesh=1,8,2 --config.model.attention=splash
#
# --claim: a PersistentVolumeClaim that all hosts may write (ReadWriteMany), mounted at --mount; it holds shards, model
# folders and the workdir. --grace: seconds between SIGTERM and SIGKILL. IMAGE is made from launch/clusters/Dockerfile.
# The dry run prints the JobSet. See it run: kubectl logs -f -l jobset.sigs.k8s.io/jobset-name=N
set -euo pipefail
source "$(dirname "$0")/common.sh"

read_arguments "name topology image claim mount chips_per_host grace restarts" "" "$@"
require name topology image claim
default mount /shared
default chips_per_host 4
default grace 300
default restarts 20
whole_number chips_per_host grace restarts
dns_name name claim
[[ ${given[image]} =~ ^[A-Za-z0-9._/:@-]+$ ]] || fail "--image is \"${given[image]}\"; REGISTRY/NAME:TAG is accepted."
[[ ${given[mount]} =~ ^/[A-Za-z0-9._/-]+$ ]] || fail "--mount is \"${given[mount]}\"; an absolute path is accepted."
read_topology
((chips % given[chips_per_host] == 0)) ||
  fail "The $chips chips of ${given[topology]} cannot be on hosts of ${given[chips_per_host]}: give --chips_per_host."
check_training "$devices" "$slices"
[[ $(training_flag --workdir) == "${given[mount]%/}"/* ]] ||
  fail "--workdir has to be below ${given[mount]} (--mount): everything else is lost with a pod."
need kubectl "install it and get the cluster's credentials (gcloud container clusters get-credentials)"

case $kind in
  v5e) accelerator=tpu-v5-lite-podslice ;;
  v5p) accelerator=tpu-v5p-slice ;;
  v6e) accelerator=tpu-v6e-slice ;;
  tpu7x) accelerator=tpu7x ;;
esac

yaml_list() { # the arguments as strings of YAML
  local word line=""
  for word in "$@"; do line+=", '${word//\'/\'\'}'"; done
  echo "[${line#, }]"
}

declare -A values=(
  [NAME]=${given[name]} [RESTARTS]=${given[restarts]} [SLICES]=$slices [GRACE]=${given[grace]}
  [HOSTS]=$((chips / given[chips_per_host])) [CHIPS]=${given[chips_per_host]} [ACCELERATOR]=$accelerator [GRID]=$grid
  [IMAGE]=${given[image]} [MOUNT]=${given[mount]} [CLAIM]=${given[claim]}
  [ARGUMENTS]=$(yaml_list -- --distributed "${training[@]}")
)
manifest=$(<"$here/gke_jobset.yaml")
for word in "${!values[@]}"; do manifest=${manifest//"__${word}__"/"${values[$word]}"}; done
run_with_input kubectl apply -f - <<<"$manifest"
