#!/usr/bin/env bash
# Makes everything with luigid on this machine and workers that a launcher starts, here or on others:
#     cluster/run.sh HOST [LAUNCHER...]
#     cluster/run.sh 127.0.0.1                                    one worker, here
#     cluster/run.sh 10.0.0.7 srun --ntasks 16 --cpus-per-task 4  in a job of Slurm
# HOST is the address by which workers reach this machine; luigid listens there alone, on a free port.
set -u
cd "$(dirname "$0")/.."
export LUIGI_CONFIG_PATH=${LUIGI_CONFIG_PATH:-cluster/luigi.cfg}
is_complete() { python -m cmbml status | grep --line-regexp "everything is complete"; }
is_complete && exit

host=$1
shift
port=$(python -c "import socket, sys; s = socket.socket(); s.bind((sys.argv[1], 0)); print(s.getsockname()[1])" "$host") || exit
# What luigid remembers from one start to the next is of this run alone.
memory=$(mktemp --directory)
keep_luigid() {
    trap 'kill $luigid; wait $luigid; exit' TERM
    while true; do
        luigid --address "$host" --port "$port" --state-path "$memory/state" --logdir "$memory" &
        luigid=$!
        wait $luigid
        sleep 1
    done
}
keep_luigid &
keeper=$!
trap 'kill $keeper; wait $keeper; rm -r "$memory"' EXIT
echo "luigid: http://$host:$port"
"$@" cluster/worker.sh "$host" "$port"
code=$?
# A worker that was killed does not matter where others have done its work.
is_complete || exit $((code ? code : 1))
