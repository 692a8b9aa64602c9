#!/usr/bin/env bash
# Packs a binary and what belongs to it: the licence, the documents, the manual, completions, a commented
# configuration. The documents lie as they do here, so that their links work there too.
# usage: packaging/archive.sh BINARY ASSETS NAME.tar.gz       (ASSETS is what packaging/assets.rs has written)
# The same files give the same archive, with the time SOURCE_DATE_EPOCH (default 0).
set -euo pipefail

if [[ $# != 3 || $3 != *.tar.gz ]]; then
    echo "usage: packaging/archive.sh BINARY ASSETS NAME.tar.gz" >&2
    exit 1
fi
binary=$1 assets=$2 archive=$3
project=$(dirname "$0")/..
name=$(basename "$archive" .tar.gz)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

install -D --mode=0755 "$binary" "$work/$name/broadcaster"
put() { install -D --mode=0644 --target-directory="$work/$name/$1" "${@:2}"; }
put . "$project"/{LICENSE,{README,ARCHITECTURE,CHANGELOG,CONTRIBUTING,SECURITY}.md} "$assets/broadcaster.1"
put docs "$project"/docs/*.{md,svg,png}
put k8s "$project/k8s/README.md"
put config "$project/config/broadcaster.toml"
put config/examples "$project"/config/examples/*.toml
put completions "$assets"/{broadcaster.bash,_broadcaster,broadcaster.fish}

tar --create --directory="$work" --sort=name --owner=0 --group=0 --numeric-owner --mtime="@${SOURCE_DATE_EPOCH:-0}" "$name" |
    gzip --no-name --best >"$archive"
