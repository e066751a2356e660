# Sourced by the launchers of this folder: arguments, checks, and `run`, which a dry run turns into printing.
# shellcheck shell=bash
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
declare -A given=() # option -> value; switches have the value 1
training=()         # the arguments of launch/train.py, behind `--`

fail() {
  echo "error: $*" >&2
  exit 2
}

# read_arguments "options with a value" "switches" "$@": fills `given` and `training`; --help prints the script's head.
read_arguments() {
  local options=" $1 " switches=" $2 dry_run " name
  shift 2
  while [ $# -gt 0 ]; do
    case $1 in
      --) shift && training=("$@") && return ;;
      --help | -h) sed -n '2,/^set -euo/{/^#/s/^# \{0,1\}//p}' "$0" && exit 0 ;;
      --*) ;;
      *) fail "\"$1\" is not expected here; the arguments of launch/train.py come after a --." ;;
    esac
    name=${1#--}
    if [[ $switches == *" $name "* ]]; then
      given[$name]=1
    elif [[ $options == *" ${name%%=*} "* && $name == *=* ]]; then
      given[${name%%=*}]=${name#*=}
    elif [[ $options == *" $name "* && $# -gt 1 ]]; then
      given[$name]=$2
      shift
    elif [[ $options == *" $name "* ]]; then
      fail "--$name needs a value."
    else
      # shellcheck disable=SC2086 # one option per word
      fail "There is no option $1; there are:$(printf ' --%s' $options $switches)."
    fi
    shift
  done
}

require() { # names of options that have to be there
  local name
  for name in "$@"; do
    [ -n "${given[$name]:-}" ] || fail "--$name is missing; see $(basename "$0") --help."
  done
}

default() { # default NAME VALUE
  given[$1]=${given[$1]:-$2}
}

whole_number() { # names of options
  local name
  for name in "$@"; do
    [[ ${given[$name]} =~ ^[1-9][0-9]{0,5}$ ]] || fail "--$name is \"${given[$name]}\"; a whole number from 1 is accepted."
  done
}

dns_name() { # names of options whose value names something in a cluster
  local name
  for name in "$@"; do
    [[ ${given[$name]} =~ ^[a-z]([-a-z0-9]{0,38}[a-z0-9])?$ ]] ||
      fail "--$name is \"${given[$name]}\"; up to 40 small letters, digits and dashes are accepted, a letter first."
  done
}

# The value of a flag among the arguments of launch/train.py, in either of its two forms; the last one wins, as there.
training_flag() {
  local value="" i
  for ((i = 0; i < ${#training[@]}; i++)); do
    case ${training[i]} in
      "$1="*) value=${training[i]#*=} ;;
      "$1") value=${training[i + 1]:-} ;;
    esac
  done
  echo "$value"
}

# check_training DEVICES [SLICES]: the mistakes that would otherwise show up only when the queue is over.
check_training() {
  local config workdir mesh product=1 rest=0 part
  config=$(training_flag --config) workdir=$(training_flag --workdir) mesh=$(training_flag --config.mesh)
  [ -n "$config" ] || fail "--config is missing among the arguments after --; e.g. -- --config configs/stage2.py."
  (cd "$root" && [ -f "${config%%:*}" ]) || fail "There is no config ${config%%:*} (seen from $root)."
  [[ $workdir == /* ]] || fail "--workdir is \"$workdir\"; an absolute path that all hosts share is accepted."
  [ -n "$mesh" ] || fail "--config.mesh=DATA,FSDP,SEQ is missing after --: the mesh belongs to the hardware."
  [[ $mesh =~ ^(-1|[1-9][0-9]*),(-1|[1-9][0-9]*),(-1|[1-9][0-9]*)$ ]] ||
    fail "--config.mesh is \"$mesh\"; three numbers DATA,FSDP,SEQ are accepted, one of them may be -1."
  for part in ${mesh//,/ }; do
    if [ "$part" = -1 ]; then rest=$((rest + 1)); else product=$((product * part)); fi
  done
  if ((rest > 1 || $1 % product || (rest == 0 && product != $1))); then
    fail "The mesh $mesh does not fit $1 devices: its three numbers have to multiply to $1."
  fi
  part=${mesh%%,*}
  if [ "$part" = -1 ]; then part=$(($1 / product)); fi
  ((part % ${2:-1} == 0)) ||
    fail "The mesh $mesh has $part along data; with $2 slices a multiple of $2 is accepted."
}

# Takes --topology apart, in the notation of `actavatar plan train`, into slices, kind, grid, chips of a slice and devices.
# shellcheck disable=SC2034 # the launchers use them
read_topology() {
  local side
  [[ ${given[topology]} =~ ^(([1-9][0-9]*)x)?(v5e|v6e|v5p|tpu7x):([1-9][0-9]*(x[1-9][0-9]*)+)$ ]] || refuse_topology
  slices=${BASH_REMATCH[2]:-1} kind=${BASH_REMATCH[3]} grid=${BASH_REMATCH[4]} chips=1
  case $kind:${grid//[0-9]/} in v5e:x | v6e:x | v5p:xx | tpu7x:xx) ;; *) refuse_topology ;; esac
  for side in ${grid//x/ }; do chips=$((chips * side)); done
  devices=$((slices * chips))
  if [ "$kind" = tpu7x ]; then devices=$((2 * devices)); fi # its chips show as two devices each
}

refuse_topology() {
  fail "--topology is \"${given[topology]}\"; v5e:4x4, v6e:2x4, v5p:2x2x2, tpu7x:2x2x1 and the like are accepted," \
    "2xv6e:4x4 for two slices."
}

one_tpu_vm() { # what the launchers of TPU VMs can do
  [ "$kind" != tpu7x ] || fail "tpu7x comes through GKE only: take gke_jobset.sh or xpk.sh."
  ((slices == 1)) || fail "Several slices come through GKE only: take gke_jobset.sh or xpk.sh."
}

# The name Google gives a slice: v5p counts cores (two a chip), v5e and v6e count chips, tpu7x names the grid.
slice_type() {
  case $kind in
    v5e) echo "v5litepod-$chips" ;;
    v6e) echo "v6e-$chips" ;;
    v5p) echo "v5p-$((2 * chips))" ;;
    tpu7x) echo "tpu7x-$grid" ;;
  esac
}

quoted() { # the arguments as one line for a shell
  local word line=""
  for word in "$@"; do
    [[ $word =~ ^[A-Za-z0-9_@%+=:,./-]+$ ]] || word=${word@Q}
    line+=" $word"
  done
  echo "${line# }"
}

is_dry() { [ -n "${given[dry_run]:-}" ]; }

need() { # need TOOL WHERE_FROM: only what really runs has to be installed
  is_dry || command -v "$1" >/dev/null || fail "$1 is not on the PATH; $2."
}

run() {
  if is_dry; then
    quoted "$@"
  else
    echo "+ $(quoted "$@")" >&2
    "$@"
  fi
}

# Standard input goes to the command; a dry run shows it as a here-document.
run_with_input() {
  if is_dry; then
    printf '%s <<'\''END'\''\n%s\nEND\n' "$(quoted "$@")" "$(cat)"
  else
    run "$@"
  fi
}
