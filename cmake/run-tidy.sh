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
pattern="^$(pwd)/(?=.*(${only}))(events|projections|storage|actors|api|cli|bench|examples)/"
runner=$(command -v run-clang-tidy || ls /usr/bin/run-clang-tidy-* 2>/dev/null | sort -V | tail -n 1)
# GCC knows warnings that clang does not; what matters here are clang-tidy's own.
exec "$runner" -quiet -extra-arg=-Wno-unknown-warning-option -extra-arg=-Wno-error -p $tree -j "$(nproc)" "$pattern"
