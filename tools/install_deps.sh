#!/usr/bin/env bash
# Installs what is missing of the named sections of apt-packages.txt and python-packages.txt.
#   tools/install_deps.sh build test     Debian packages (as root, or through sudo)
#   tools/install_deps.sh cuda bindings  PyPI packages, into .venv
# Quick and offline when nothing is missing. DRY_RUN=1 only says what it would install.
set -euo pipefail
cd "$(dirname "$0")/.."
(( $# )) || set -- build test fuzz format

section() {  # section FILE NAME: the package lines below "# [NAME]"
  awk -v want="[$2]" '/^# \[/ { on = ($2 == want); next } on && NF && !/^#/' "$1"
}

attempt() {  # attempt COMMAND...: mirrors fail now and then
  local try
  for try in 1 2 3 4; do
    "$@" && return 0
    echo "attempt $try of 4 failed: $*" >&2
    sleep $((try * 5))
  done
  return 1
}

apt_missing() {
  local package
  for package in "$@"; do
    dpkg-query -W -f='${db:Status-Status}\n' "$package" 2>/dev/null | grep -qx installed ||
      echo "$package"
  done
}

install_apt() {
  local root=()
  if (( EUID )); then
    command -v sudo >/dev/null || {
      echo "cannot install $* without root: run this as root, or install sudo" >&2
      return 1
    }
    root=(sudo)
  fi
  # --no-remove: asking for a package must never cost the machine another one.
  local options=(-y -q --no-install-recommends --no-remove -o Acquire::Retries=3
                 -o DPkg::Lock::Timeout=300)
  attempt "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q update \
          -o Acquire::Retries=3 -o DPkg::Lock::Timeout=300
  attempt "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install "${options[@]}" "$@"
}

install_pip() {
  local stamp=.venv/.tendon-packages
  if [[ -e $stamp ]] && ! printf '%s\n' "$@" | sort | comm -23 - "$stamp" | grep -q .; then
    return
  fi
  [[ -x .venv/bin/python ]] || python3 -m venv .venv
  attempt .venv/bin/python -m pip install --quiet --disable-pip-version-check "$@"
  { cat "$stamp" 2>/dev/null || true; printf '%s\n' "$@"; } | sort -u >"$stamp.new"
  mv "$stamp.new" "$stamp"
}

for name in "$@"; do
  grep -qF "# [$name]" tools/apt-packages.txt tools/python-packages.txt || {
    echo "no section [$name] in tools/apt-packages.txt or tools/python-packages.txt" >&2
    exit 2
  }
done

mapfile -t pip < <(for name in "$@"; do section tools/python-packages.txt "$name"; done)
(( ${#pip[@]} )) && set -- "$@" python
mapfile -t apt < <(for name in "$@"; do section tools/apt-packages.txt "$name"; done | sort -u)
mapfile -t missing < <(apt_missing "${apt[@]}")
if [[ ${DRY_RUN:-} ]]; then
  printf 'apt: %s\npip: %s\n' "${missing[*]}" "${pip[*]}"
  exit
fi
(( ${#missing[@]} == 0 )) || install_apt "${missing[@]}"
(( ${#pip[@]} == 0 )) || install_pip "${pip[@]}"
