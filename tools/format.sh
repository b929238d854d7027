#!/usr/bin/env bash
# clang-format over the tracked C++ and CUDA sources: -i rewrites, --dry-run -Werror checks.
set -euo pipefail
cd "$(dirname "$0")/.."
git -c safe.directory='*' ls-files -z -- '*.h' '*.cpp' '*.inl' '*.cu' '*.cuh' '*.c' |
  xargs -0 -r -n 32 -P "$(nproc)" clang-format-14 "$@"
