#!/usr/bin/env bash
# Measures distmnist beside other programs that do the same work, in turns:
#   tests/bench/compare.sh PEERS_FOLDER [--rounds 5] [--steps 3000] [--only WORDS] [--write]
# PEERS_FOLDER has a run.sh that starts the peers; $PEERS (default: ~/.cache/peers) has their environments.
exec python3 -B "$(dirname "${BASH_SOURCE[0]}")/compare.py" "$@"
