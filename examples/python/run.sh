#!/usr/bin/env bash
# Runs the Python client against a gateway or replica: run.sh HOST:PORT
#
# Makes what it needs (a virtual environment with grpcio, and the stubs) under target/python, once
# for each content of requirements.txt. Exits non-zero if anything is not as the client expects.
set -euo pipefail

if [ $# -ne 1 ]; then
    echo "usage: $0 HOST:PORT" >&2
    exit 2
fi
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
made=${CARGO_TARGET_DIR:-$root/target}/python

if ! cmp -s "$here/requirements.txt" "$made/requirements.txt"; then
    rm -rf "$made"
    python3 -m venv "$made"
    "$made/bin/python" -m pip install --quiet --disable-pip-version-check \
        --requirement "$here/requirements.txt"
    cp "$here/requirements.txt" "$made/requirements.txt"
fi
mkdir -p "$made/stubs"
"$made/bin/python" -m grpc_tools.protoc --proto_path="$root/proto" \
    --python_out="$made/stubs" --grpc_python_out="$made/stubs" "$root"/proto/pannier/v1/*.proto
PYTHONPATH="$made/stubs" exec "$made/bin/python" -B "$here/cart.py" "$1"
