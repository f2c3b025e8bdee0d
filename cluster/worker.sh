#!/usr/bin/env bash
# A worker that ends when everything is made, and not before: it starts again after any failure, its own,
# another worker's or luigid's.  Start as many as you like, wherever this folder can be seen:
#     cluster/worker.sh HOST_OF_LUIGID [--workers 4]
set -u
cd "$(dirname "$0")/.."
export LUIGI_CONFIG_PATH=${LUIGI_CONFIG_PATH:-cluster/luigi.cfg}
host=$1
pause=${WORKER_PAUSE:-1}
shift
until python -m luigi --module tasks RunAll --scheduler-host "$host" "$@" &&
    python -m cmbml status | grep -q "everything is complete"; do
    echo "worker: not complete yet; again in $pause s" >&2
    sleep "$pause"
    # A mistake that will not mend itself should not keep the machines busy.
    pause=$((pause < 60 ? 2 * pause : 60))
done
