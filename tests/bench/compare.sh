#!/usr/bin/env bash
# Compares distmnist with other programs that do the same work, in alternating runs:
#   tests/bench/compare.sh PEERS_FOLDER [--rounds 5] [--steps 3000] [--only WORDS] [--write]
# PEERS_FOLDER has a run.sh that starts the peers; $PEERS (default: ~/.cache/peers) has their Python environments.
exec python3 -B "$(dirname "${BASH_SOURCE[0]}")/compare.py" "$@"
