#!/usr/bin/env bash
# A walk through Recalld: a server is filled, killed without warning, started again, and shows that
# nothing was lost. Uses a directory of its own and a free port, and cleans up.
#
#   examples/demo.sh            after `make`
#   RECALLD_BIN=/usr/bin/recalld examples/demo.sh
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
bin=${RECALLD_BIN:-${BUILD:-$here/../build/dev}/recalld}
[ -x "$bin" ] || { echo "demo: $bin is not there; run make first" >&2; exit 1; }
bin=$(cd "$(dirname "$bin")" && pwd)/$(basename "$bin")

# Settings of the caller are not for this demonstration.
for name in $(compgen -e RECALLD_ || true); do unset "$name"; done
place=$(mktemp -d)
export RECALLD_DATA=$place/data
server=

clean_up() {
  if [ -n "$server" ]; then
    kill -9 "$server" 2>/dev/null || true
    wait "$server" 2>/dev/null || true
  fi
  rm -rf "$place"
}
trap clean_up EXIT

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
show() { printf '\033[2m$ recalld %s\033[0m\n' "$*"; "$bin" "$@"; }

# Starts the server and waits for the line that says where it listens.
start() {
  : > "$place/ready"
  "$bin" serve --port "${1:-0}" --log-level warn > "$place/ready" 2> "$place/log" &
  server=$!
  for _ in $(seq 200); do
    grep -q '^ready ' "$place/ready" && break
    kill -0 "$server" 2>/dev/null || { cat "$place/log" >&2; exit 1; }
    sleep 0.05
  done
  grep -q '^ready ' "$place/ready" || { echo "demo: the server did not start" >&2; exit 1; }
  cat "$place/ready"
  RECALLD_SERVER=$(sed -E 's/^ready listen=([^ ]+) .*/\1/' "$place/ready")
  export RECALLD_SERVER
}

kill_it() {
  kill -9 "$server"
  wait "$server" 2>/dev/null || true
  server=
}

locomo=$here/../../shared/data/locomo5.json
if [ -f "$locomo" ]; then
  file=$locomo
  export RECALLD_APP=locomo RECALLD_USER=conv-26
  session=session_2
else
  file=$here/conversation.jsonl
  export RECALLD_APP=demo RECALLD_USER=anna
  session=trip-to-lisbon
fi

say "1. A server, with an empty log and certificates of its own"
start

say "2. Conversations go in: $(basename "$file")"
show import "$file"

say "3. A session, by way of the server"
show session get "$session" --last 6
"$bin" session get "$session" --last 20 --json > "$place/before.json"

say "4. kill -9, in the middle of everything, and a new start"
kill_it
start

say "5. The same window again"
"$bin" session get "$session" --last 20 --json > "$place/after.json"
if cmp -s "$place/before.json" "$place/after.json"; then
  echo "equal, byte by byte: $(wc -c < "$place/after.json") bytes"
else
  echo "demo: the window differs" >&2
  diff "$place/before.json" "$place/after.json" >&2 || true
  exit 1
fi

say "6. What happened to it, fact by fact"
show replay "$session" --step | sed -n 1,8p

say "7. Every row of every table against the log"
show replay --verify

say "8. The import again: everything is recognised"
show import "$file"

say "Done: imported, killed, restarted, compared, verified. $place is removed."
