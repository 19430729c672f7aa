#!/bin/sh
# Written by cofferdam at every start. Asks the site about a push and waits for its verdict.
[ "${1:-}" = --check ] && { echo ok; exit 0; }
refuse() { printf '%s\n' "$1" >&2; exit 1; }
[ -n "${COFFERDAM_PUSH:-}" ] || refuse 'pushes to this repository go through the site'
# A pipe that nobody holds at the other end would be waited for without end.
kill -0 "$COFFERDAM_PID" 2>/dev/null || refuse 'the site is not running'
exec 3<"$COFFERDAM_PUSH/verdict" 4>"$COFFERDAM_PUSH/asked" || exit 1
while IFS= read -r line; do printf '%s\n' "$line"; done >&4
printf 'end\n' >&4
IFS= read -r verdict <&3 || refuse 'the site went away before it decided'
[ "$verdict" = accept ] && exit 0
while IFS= read -r line <&3; do
  [ "$line" = end ] && exit 1
  printf '%s\n' "${line#|}" >&2
done
exit 1
