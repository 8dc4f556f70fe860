#!/bin/sh
# clang-tidy over our folders. It reads the compile commands of a build tree of its own, without
# precompiled headers, since clang cannot read GCC's.
#
#   run-tidy.sh [regex of files]
set -eu
cd "$(dirname "$0")/.."

tree=build/tidy
only=${1:-}

cmake --preset dev -B $tree -DRECALLD_PCH=OFF -DRECALLD_TESTS=OFF >/dev/null
pattern="^$(pwd)/(events|projections|storage|actors|api|cli|bench|examples)/.*${only}"
runner=$(command -v run-clang-tidy || ls /usr/bin/run-clang-tidy-* 2>/dev/null | sort -V | tail -n 1)
exec "$runner" -quiet -p $tree -j "$(nproc)" "$pattern"
