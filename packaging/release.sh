#!/usr/bin/env bash
# Says what the release workflow has to know of a tag, as lines NAME=VALUE; fails where it is not the version of Cargo.toml.
# usage: GITHUB_REF_NAME=v1.2.3 GITHUB_REPOSITORY=owner/name packaging/release.sh
set -euo pipefail
cd "$(dirname "$0")/.."

version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml)
if [[ $GITHUB_REF_NAME != "v$version" ]]; then
    echo "the tag is $GITHUB_REF_NAME, but Cargo.toml says version $version: the tag has to be v$version" >&2
    exit 1
fi
# When the commit was made, so that the same commit gives the same files.
epoch=$(git log -1 --format=%ct)
echo "version=$version"
echo "epoch=$epoch"
echo "commit=$(git rev-parse --short=9 HEAD)"
echo "created=$(date --utc --date="@$epoch" +%Y-%m-%dT%H:%M:%SZ)"
# Names of images are in lower case.
echo "image=ghcr.io/${GITHUB_REPOSITORY,,}"
