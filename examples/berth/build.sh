#!/usr/bin/env bash
# Builds the parts that are named, or all: ./build.sh [python] [web] [rust]
# Everything is written below ./out, or $BERTH_OUT. The clients' own configuration says where
# packages come from; nothing here does.
set -eu
cd "$(dirname "$0")"
mkdir -p "${BERTH_OUT:-out}"
out=$(cd "${BERTH_OUT:-out}" && pwd)

python() {
  rm -rf "$out/site"
  PIP_ROOT_USER_ACTION=ignore python3 -m pip install --quiet --disable-pip-version-check --no-compile --only-binary :all: \
    --require-hashes --requirement requirements.txt --target "$out/site"
  # A copy, because building leaves its traces in the folder. What it is built with is in no lock file.
  rm -rf "$out/logbook"
  cp -R logbook "$out/logbook"
  PIP_ROOT_USER_ACTION=ignore python3 -m pip install --quiet --disable-pip-version-check --no-compile --no-deps \
    --target "$out/site" "$out/logbook"
  rm -rf "$out/logbook"
}

web() {
  rm -rf "$out/web" "$out/dist"
  cp -R web "$out/web"
  (cd "$out/web" && npm ci --ignore-scripts --no-audit --no-fund --no-update-notifier --loglevel=error && node build.mjs ../dist)
}

rust() {
  cargo build --quiet --locked --manifest-path tide/Cargo.toml --target-dir "$out/tide"
  mkdir -p "$out/bin"
  cp "$out/tide/debug/tide" "$out/bin/tide"
}

[ $# -gt 0 ] || set -- python web rust
for part; do
  case $part in
    python | web | rust) "$part"; echo "built $part" ;;
    *) echo "build.sh: there is no part $part (there are: python web rust)" >&2; exit 2 ;;
  esac
done
