#!/usr/bin/env bash
# A training and a recommendation on two hosts of one process each, and the same in one process: are they the same?
#
# Two network namespaces of one machine, joined by a virtual cable, stand for the hosts: each has its own address and sees
# the other by it alone. Needs root, iproute2, and a data set: benchmarks/two_hosts.sh <data> <dataset> [model]
set -euo pipefail
data=$(realpath "$1") dataset=$2 model=${3:-MGRLFpp}
here=$(cd "$(dirname "$0")/.." && pwd) work=$(mktemp -d)
export PYTHONPATH=$here OMP_NUM_THREADS=1
settings=(--data_path="$data" --gpu_id= --epochs=2 --hidden_dropout_prob=0 --attn_dropout_prob=0 --show_progress=False)

ip netns add host_a
ip netns add host_b
trap 'ip netns del host_a; ip netns del host_b; rm -rf "$work"' EXIT
ip link add cable_a netns host_a type veth peer name cable_b netns host_b
for host in a b; do
    number=$([ $host = a ] && echo 1 || echo 2)
    ip -n host_$host addr add 10.77.0.$number/24 dev cable_$host
    ip -n host_$host link set cable_$host up
    ip -n host_$host link set lo up
done

on_both() {  # the same command on both hosts
    for host in a b; do
        rank=$([ $host = a ] && echo 0 || echo 1)
        GLOO_SOCKET_IFNAME=cable_$host ip netns exec host_$host \
            python -m torch.distributed.run --nnodes 2 --node-rank $rank --nproc-per-node 1 \
            --master-addr 10.77.0.1 --master-port 29511 "$here/run_recbole_mgr.py" "$@" &
        started+=($!)
    done
    for process in "${started[@]}"; do wait "$process"; done
    started=()
}
started=()

cd "$work"
echo "== two hosts"
time on_both run --model "$model" --dataset "$dataset" "${settings[@]}" --checkpoint_dir=together --results together
echo "== one process"
time python "$here/run_recbole_mgr.py" --model "$model" --dataset "$dataset" "${settings[@]}" --num_threads=1 \
    --checkpoint_dir=alone --results alone
run=$(dirname "$(find together -name result.json | head -1)")
cut -f1 "$data/$dataset/$dataset.inter" | tail -n +2 | sort -u > users.txt
echo "== two hosts recommend"
time on_both recommend "$run" --users-file users.txt --output together.jsonl --device cpu
time python "$here/run_recbole_mgr.py" recommend "$run" --users-file users.txt --output alone.jsonl --device cpu
cmp together.jsonl alone.jsonl && echo "the same lists for $(wc -l < users.txt) users"
python - <<'PYTHON'
import json
from pathlib import Path

together, alone = (json.loads(next(Path(name).rglob("result.json")).read_text()) for name in ("together", "alone"))
for name, value in alone["test"].items():
    print(f"{name}: {together['test'][name]} on two hosts, {value} in one process")
PYTHON
