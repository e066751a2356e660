#!/usr/bin/env bash
# From nothing to a talking video in minutes, on a laptop: ./launch/demo.sh [options of `actavatar demo`]
set -euo pipefail
source "$(dirname "$0")/setup_env.sh" puppets
exec actavatar demo "$@"
