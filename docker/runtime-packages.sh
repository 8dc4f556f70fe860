#!/bin/sh
# Names the Debian packages whose shared libraries a program needs, one a line.
#
#   runtime-packages.sh PROGRAM
set -eu

ldd "$1" | awk '$2 == "=>" && $3 ~ /^\// { print $3 }' | while read -r library; do
  # Packages own the paths that they were packed with: /lib may be a link to /usr/lib.
  real=$(readlink -f "$library")
  owner=$(dpkg-query -S "$real" 2>/dev/null || dpkg-query -S "${real#/usr}" 2>/dev/null) || {
    echo "runtime-packages.sh: no package owns $real" >&2
    exit 1
  }
  echo "$owner" | head -n 1 | cut -d: -f1
done | sort -u
