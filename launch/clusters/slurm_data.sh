#!/usr/bin/env bash
# Submits one step between a corpus and its shards as a SLURM array: each task does one part of the clips, and the one
# that ends last puts all together.
#
#   launch/clusters/slurm_data.sh --parts N --logs DIR [--cpus 8] [--gpus 0] [--time 24:00:00] [--at_a_time N]
#       [--partition P] [--account A] [--name actavatar-data] [--after JOB] [--sbatch "MORE OPTIONS"] [--dry_run]
#       -- ARGUMENTS OF actavatar, without --process
#   launch/clusters/slurm_data.sh --parts 64 --logs /shared/logs --partition cpu -- \
#       filter /shared/clips --models /shared/models
#
# A part that is killed or preempted goes back into the queue and on from its journal; whatever is left after that goes
# on when the same command is submitted again. --after: begin when that job is done, as `sbatch` printed its number. All
# nodes have to see this folder, its .venv (made once: bash -c "source launch/setup_env.sh"), and the clips.
set -euo pipefail
source "$(dirname "$0")/common.sh"

read_arguments "parts logs cpus gpus time at_a_time partition account name after sbatch" "" "$@"
require parts logs
default cpus 8
default time 24:00:00
default name actavatar-data
default at_a_time "${given[parts]}"
whole_number parts cpus at_a_time
dns_name name
[[ ${given[gpus]:-0} =~ ^[0-9]{1,2}$ ]] || fail "--gpus is \"${given[gpus]}\"; a whole number is accepted."
[[ ${given[time]} =~ ^([0-9]+-)?[0-9]+(:[0-9]{2}){0,2}$ ]] ||
  fail "--time is \"${given[time]}\"; MINUTES, HH:MM:SS and D-HH:MM:SS are accepted."
[[ ${given[after]:-1} =~ ^[0-9]+$ ]] || fail "--after is \"${given[after]}\"; the number of a job is accepted."
case ${training[0]:-} in
  corpus | prepare | filter | annotate | encode) ;;
  *) fail "\"${training[0]:-}\" is no step that is done in parts; corpus, prepare, filter, annotate and encode are." ;;
esac
[[ " ${training[*]} " != *" --process"* ]] || fail "--process is given by the array; leave it out behind the --."
need sbatch "run this on a login node of the SLURM cluster"
is_dry || [ -f "$root/.venv/bin/activate" ] ||
  fail "$root/.venv is missing; make it once: bash -c \"source launch/setup_env.sh\"."

options=(
  --job-name="${given[name]}" --time="${given[time]}" --array="0-$((given[parts] - 1))%${given[at_a_time]}"
  --nodes=1 --ntasks=1 --cpus-per-task="${given[cpus]}" --requeue
  --chdir="$root" --output="${given[logs]}/${training[0]}-%A-%a.log" --open-mode=append
)
if [ "${given[gpus]:-0}" != 0 ]; then options+=(--gpus-per-task="${given[gpus]}"); fi
if [ -n "${given[partition]:-}" ]; then options+=(--partition="${given[partition]}"); fi
if [ -n "${given[account]:-}" ]; then options+=(--account="${given[account]}"); fi
if [ -n "${given[after]:-}" ]; then options+=(--dependency="afterany:${given[after]}"); fi
read -ra more <<<"${given[sbatch]:-}"

run mkdir -p "${given[logs]}" # sbatch fails without a word when the folder of its output is not there
run sbatch "${options[@]}" "${more[@]}" "$here/slurm_data.sbatch" "${given[parts]}" "${training[@]}"
