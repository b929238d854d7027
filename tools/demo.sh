#!/usr/bin/env bash
# What tendon does, in a minute: one recorded case of the original code, a small synthetic
# checkpoint run on the two pictures of the repository, then a trained policy that moves a simulated
# arm.
#   tools/demo.sh BUILD
set -euo pipefail
cd "$(dirname "$0")/.."
build=$1
tendon=$build/bin/tendon
model=$build/demo/pi05_mini
plot=$build/demo/chunk.svg

step() { printf '\n\033[1m%s\033[0m\n' "$*"; }
show() { printf '$'; printf ' %q' "$@"; echo; "$@"; }

mkdir -p "$build/demo"
step "1. A case recorded from the original pi0.5 code: tendon's error at each stage, and its bound"
show "$tendon" check --golden tests/golden --case a_two_cameras --dtype f32

step "2. A small synthetic pi0.5 checkpoint: weights, configuration, statistics, tokenizer"
rm -rf "$model"
show "$tendon" synth pi05 --size mini --out "$model"

step "3. Two pictures, a prompt and a robot's state become a chunk of actions"
show "$tendon" run "$model" \
  --image base=assets/pictures/base.png --image left_wrist=assets/pictures/wrist.jpg \
  --prompt 'put the red block into the box' --state 0.1,-0.2,0.3,0,0.5,-0.1,0.2,0.4 \
  --seed 7 --plot "$plot"

printf '\nThe chunk, drawn per action dimension: %s\n' "$plot"
echo "The weights are generated: the actions are computed as in a trained policy, but mean nothing."

step "4. A trained policy picks up three blocks by name"
if ! "$tendon" rollout --help | grep -q -- --record; then
  "$tendon" rollout assets/blocks || true  # says what this build lacks and how to get it
  exit
fi
show "$tendon" rollout assets/blocks --task blocks --episodes 3 --prompt 'pick up the red block' \
  --prompt 'pick up the green block' --prompt 'pick up the blue block' \
  --record "$build/demo/blocks.png" --record-episodes 3

step "5. Twenty episodes: pick up, push away, put one on another"
show "$tendon" rollout assets/blocks --task blocks --episodes 20

printf '\nThe three blocks, seen by the robot: %s\n' "$build/demo/blocks.png"
