#!/usr/bin/env bash
# A worker of the luigid at HOST:PORT. Start as many as you like, wherever this folder can be seen:
#     cluster/worker.sh HOST PORT [OPTIONS OF LUIGI]
# It ends with 0 when everything is complete. It starts Luigi again after a failure, its own, another worker's or
# luigid's; a second one in a row is a mistake that will not mend itself, and ends it with Luigi's status.
set -u
cd "$(dirname "$0")/.."
export LUIGI_CONFIG_PATH=${LUIGI_CONFIG_PATH:-cluster/luigi.cfg}
host=$1 port=$2
shift 2
task_failed=30 # [retcode] in luigi.cfg
failures=0
left=$(python -m cmbml status)
while [ "$left" != "everything is complete" ]; do
    before=$left
    # Luigi warns of its own settings for a luigid that is away.
    python -W "ignore:The configuration contains the parameter" -m luigi --module tasks RunAll \
        --scheduler-host "$host" --scheduler-port "$port" "$@"
    code=$?
    left=$(python -m cmbml status)
    # Luigi ends when nothing is left that it could make: what it lacks has failed, or luigid has forgotten it.
    if [ $code = $task_failed ] || [ "$left" = "$before" ]; then
        failures=$((failures + 1))
        [ $failures -lt 2 ] || exit $((code ? code : 1))
        # Longer than `disable_persist` in luigi.cfg.
        sleep "${WORKER_PAUSE:-65}"
    else
        failures=0
    fi
done
