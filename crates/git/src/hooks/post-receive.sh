#!/bin/sh
# Written by cofferdam at every start. Notes which updates git really made.
[ "${1:-}" = --check ] && { echo ok; exit 0; }
[ -n "${COFFERDAM_PUSH:-}" ] || exit 0
exec 4>"$COFFERDAM_PUSH/made" || exit 1
while IFS= read -r line; do printf '%s\n' "$line"; done >&4
printf 'end\n' >&4
