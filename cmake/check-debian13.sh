#!/bin/bash
# Runs `make test` on Debian 13 inside a chroot below build/debian13/, which is kept between runs.
# Remove that directory to begin anew. Needs root, and debootstrap.
#
# The mirror, the proxy and the name servers are those of this machine: nothing is fetched from
# where this machine would not fetch.
set -euo pipefail
cd "$(dirname "$0")/.."

suite=trixie
home=$PWD/build/debian13
root=$home/root
tree=/recalld

if [ "$(id -u)" -ne 0 ]; then
  echo "check-debian13: a chroot needs root; run: sudo make check-debian13" >&2
  exit 1
fi

# The first Debian archive among apt's sources, in either of apt's two notations.
mirror() {
  local codename
  codename=$(. /etc/os-release && echo "$VERSION_CODENAME")
  local files=(/etc/apt/sources.list /etc/apt/sources.list.d/*.list)
  {
    cat "${files[@]}" 2>/dev/null | awk -v suite="$codename" '
      $1 == "deb" { i = 2; if ($2 ~ /^\[/) { while ($i !~ /\]$/) i++; i++ }
                    if ($(i + 1) == suite) print $i }' || true
    cat /etc/apt/sources.list.d/*.sources 2>/dev/null | awk -v suite="$codename" 'BEGIN { RS = "" } {
      uri = ""; mine = 0
      n = split($0, lines, "\n")
      for (i = 1; i <= n; i++) {
        m = split(lines[i], words, /[ \t]+/)
        if (tolower(words[1]) == "uris:") uri = words[2]
        if (tolower(words[1]) == "suites:") for (j = 2; j <= m; j++) if (words[j] == suite) mine = 1
      }
      if (mine && uri) print uri }' || true
  } | head -n 1
}

keyring() {
  local ring
  for ring in /usr/share/keyrings/debian-archive-keyring.{gpg,pgp}; do
    [ -e "$ring" ] && echo "$ring" && return
  done
}

if [ ! -e "$home/ready" ]; then
  from=$(mirror)
  if [ -z "$from" ]; then
    echo "check-debian13: apt's sources name no Debian archive" >&2
    exit 1
  fi
  rm -rf "$root"
  mkdir -p "$home"
  echo "Unpacking Debian 13 below build/debian13 ..."
  if ! debootstrap --variant=minbase --include=make,git,ca-certificates \
    --keyring="$(keyring)" "$suite" "$root" "$from" >"$home/debootstrap.log" 2>&1; then
    tail -n 20 "$home/debootstrap.log" >&2
    exit 1
  fi
  touch "$home/ready"
fi

# This machine's way to the archive, as it is today.
cp -L /etc/resolv.conf "$root/etc/resolv.conf"
apt-config dump | grep -E '^Acquire::(http|https|Check-)' >"$root/etc/apt/apt.conf.d/00host" || true
if compgen -G '/usr/local/share/ca-certificates/*' >/dev/null; then
  mkdir -p "$root/usr/local/share/ca-certificates"
  cp -Lr /usr/local/share/ca-certificates/. "$root/usr/local/share/ca-certificates/"
  chroot "$root" update-ca-certificates >/dev/null 2>&1 || true
fi

# The source tree as it stands, changes included; what is built there stays. Times are kept, so
# that a second run compiles only what changed.
mkdir -p "$root$tree"
find "$root$tree" -mindepth 1 -maxdepth 1 ! -name build -exec rm -rf {} +
git ls-files -co --exclude-standard -z |
  while IFS= read -r -d '' file; do [ -e "$file" ] && printf '%s\0' "$file"; done |
  tar --null -T - -cf - | tar -xf - -C "$root$tree"

# Mounts live in a namespace of their own and are gone with it.
exec unshare --mount --propagation private bash -euo pipefail -c '
  root=$1 tree=$2 only=$3
  mount -t proc proc "$root/proc"
  mount --rbind /dev "$root/dev"
  mount -t tmpfs tmpfs "$root/tmp"
  exec chroot "$root" /usr/bin/env -i HOME=/root LANG=C.UTF-8 PATH=/usr/sbin:/usr/bin:/sbin:/bin \
    CCACHE_DIR="$tree/build/ccache" \
    sh -c "cd $tree && . /etc/os-release && echo \"Testing on \$PRETTY_NAME\" && make --no-print-directory test ONLY=\"\$0\"" "$only"
' check-debian13 "$root" "$tree" "${ONLY:-}"
