#!/usr/bin/env bash
# Submits a training on SLURM nodes with GPUs: one process for each GPU, as jax.distributed finds out by itself.
#
#   launch/clusters/slurm.sh --nodes N [--gpus_per_node 8] [--cpus_per_gpu 8] [--time 24:00:00] [--partition P]
#       [--account A] [--name actavatar] [--warning 300] [--restarts 20] [--sbatch "MORE OPTIONS"] [--dry_run]
#       -- ARGUMENTS OF launch/train.py
#   launch/clusters/slurm.sh --nodes 4 --partition gpu -- --config configs/stage2.py --workdir /shared/runs/stage2 \
#       --config.mesh=1,8,4 --config.model.attention=cudnn --config.data.dirs="('/shared/shards',)"
#
# --warning: seconds before the end of --time, or before a preemption, at which the run is told to save. Then, or when
# it dies, the job goes back into the queue under its own number, at most --restarts times. All nodes have to see this
# folder, its .venv and the workdir. The .venv is made once, on a node with internet:
#   bash -c "source launch/setup_env.sh cuda"
set -euo pipefail
source "$(dirname "$0")/common.sh"

read_arguments "nodes gpus_per_node cpus_per_gpu time partition account name warning restarts sbatch" "" "$@"
require nodes
default gpus_per_node 8
default cpus_per_gpu 8
default time 24:00:00
default name actavatar
default warning 300
default restarts 20
whole_number nodes gpus_per_node cpus_per_gpu warning restarts
dns_name name
[[ ${given[time]} =~ ^([0-9]+-)?[0-9]+(:[0-9]{2}){0,2}$ ]] ||
  fail "--time is \"${given[time]}\"; MINUTES, HH:MM:SS and D-HH:MM:SS are accepted."
check_training $((given[nodes] * given[gpus_per_node]))
need sbatch "run this on a login node of the SLURM cluster"
is_dry || [ -f "$root/.venv/bin/activate" ] ||
  fail "$root/.venv is missing; make it once: bash -c \"source launch/setup_env.sh cuda\"."

logs=$(training_flag --workdir)/logs
options=(
  --job-name="${given[name]}" --time="${given[time]}"
  --nodes="${given[nodes]}" --ntasks-per-node="${given[gpus_per_node]}" --gpus-per-node="${given[gpus_per_node]}"
  --cpus-per-task="${given[cpus_per_gpu]}" --exclusive --mem=0
  --requeue --signal="TERM@${given[warning]}"
  --chdir="$root" --output="$logs/slurm-%j.log" --open-mode=append
)
if [ -n "${given[partition]:-}" ]; then options+=(--partition="${given[partition]}"); fi
if [ -n "${given[account]:-}" ]; then options+=(--account="${given[account]}"); fi
read -ra more <<<"${given[sbatch]:-}"

run mkdir -p "$logs" # sbatch fails without a word when the folder of its output is not there
run sbatch "${options[@]}" "${more[@]}" "$here/slurm.sbatch" "${given[restarts]}" "${training[@]}"
