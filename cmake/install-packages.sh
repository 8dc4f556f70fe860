#!/bin/sh
# Installs the Debian packages that a purpose needs: one list for Debian 12 and 13.
#
#   install-packages.sh [build|develop|bootstrap]...     (default: build)
#
# A purpose that is already installed costs one dpkg-query. Where the two Debians name a package
# differently, the difference is settled in `packages` and nowhere else.
set -eu

packages() {
  case $1 in
  build) # compiling, testing, the demo
    echo ca-certificates g++ cmake ninja-build mold ccache make git pkg-config python3 curl openssl
    echo libcaf-dev librocksdb-dev libsqlite3-dev libsqlitecpp-dev libpqxx-dev libpq-dev
    echo nlohmann-json3-dev libsimdjson-dev libexpected-dev libcli11-dev libspdlog-dev libfmt-dev
    echo libssl-dev libsodium-dev libhowardhinnant-date-dev libjemalloc-dev
    echo libicu-dev libstemmer-dev libcurl4-openssl-dev
    echo catch2 librapidcheck-dev libbenchmark-dev postgresql
    echo python3-yaml strace iproute2 e2fsprogs # tests that break disks and networks
    ;;
  develop) echo clang-format clang-tidy ;;
  bootstrap) echo debootstrap ;;
  *)
    echo "install-packages.sh: unknown purpose '$1'; known: build develop bootstrap" >&2
    exit 2
    ;;
  esac
}

wanted=
for purpose in "${@:-build}"; do
  list=$(packages "$purpose")
  wanted="$wanted $list"
done

missing() {
  for package in $wanted; do
    # A virtual name is installed when a package that provides it is: pkg-config on Debian 13.
    dpkg-query -W -f '${db:Status-Abbrev}\n' "$package" 2>/dev/null | grep -q '^.i' || echo "$package"
  done
}

# The quick way out: one query for all.
# shellcheck disable=SC2086
if [ "$(dpkg-query -W -f '${db:Status-Abbrev}\n' $wanted 2>/dev/null | grep -c '^.i')" -ge "$(echo $wanted | wc -w)" ]; then
  exit 0
fi

lacking=$(missing | tr '\n' ' ')
[ -n "$lacking" ] || exit 0

as_root=
if [ "$(id -u)" -ne 0 ]; then
  if command -v sudo >/dev/null && { sudo -n true 2>/dev/null || [ -t 0 ]; }; then
    as_root=sudo
  else
    echo "These Debian packages are missing. As root, run:" >&2
    echo "  apt-get update && apt-get install --no-install-recommends $lacking" >&2
    exit 1
  fi
fi

echo "Installing: $lacking"
$as_root apt-get update -qq
# shellcheck disable=SC2086
$as_root env DEBIAN_FRONTEND=noninteractive \
  apt-get install -y -qq --no-install-recommends -o Dpkg::Use-Pty=0 $lacking >/dev/null
