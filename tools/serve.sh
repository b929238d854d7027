#!/usr/bin/env bash
# Serves the small synthetic policy of the demo, lets the published openpi-client talk to it for
# some seconds, and goes on serving until Ctrl-C.
#   tools/serve.sh BUILD [PORT]
set -euo pipefail
cd "$(dirname "$0")/.."
build=$1 port=${2:-8000}
tendon=$build/bin/tendon
model=$build/serve/pi05_mini

mkdir -p "$build/serve"
[[ -d $model ]] || "$tendon" synth pi05 --size mini --contract pi05_libero --out "$model"
"$tendon" serve "libero=$model" --port "$port" &
server=$!
# The server ends by itself on Ctrl-C, which reaches it too; this waits for its last words.
trap 'kill -INT $server 2>/dev/null || true; wait $server || true; exit 0' INT TERM
until curl -fs -o /dev/null "http://127.0.0.1:$port/readyz"; do
  kill -0 $server || exit 1
  sleep 0.2
done
if .venv/bin/python -c 'import openpi_client' 2>/dev/null; then
  .venv/bin/python tools/talk.py "$port" 8
else
  echo "openpi-client is missing: tools/install_deps.sh client"
fi
echo "live page  http://127.0.0.1:$port/   (Ctrl-C ends)"
wait $server
