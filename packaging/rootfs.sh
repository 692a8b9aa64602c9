#!/usr/bin/env bash
# Assembles the root filesystem of the image: the binary, what it needs, and nothing else. The Dockerfile runs this, and
# so does tests/image.rs, so that what is tested without a container engine is what the image holds.
# usage: packaging/rootfs.sh BINARY DEST       (DEST is a new or an empty folder)
# The same binary on the same system gives the same files, with the time SOURCE_DATE_EPOCH (default 0).
set -euo pipefail

fail() { echo "rootfs: $*" >&2; exit 1; }

[[ $# == 2 ]] || fail "usage: packaging/rootfs.sh BINARY DEST"
binary=$1 root=$2
here=$(dirname "$0")
mkdir -p "$root"
[[ -z $(ls -A "$root") ]] || fail "$root is not empty"

# put SOURCE PATH [MODE]: nobody may write what is in the image, its owner neither.
put() { install -D --mode="${3:-0444}" "$1" "$root/$2"; }

put "$binary" usr/bin/broadcaster 0555

# The loader and the libraries, each where the loader looks for it. Since glibc 2.34 libc.so itself resolves names, by
# /etc/hosts and then DNS: it loads no module for that, which ldd would not show, and needs no nsswitch.conf.
mapfile -t libraries < <(ldd "$binary" | grep --only-matching '/[^ ]*')
[[ ${#libraries[@]} -gt 0 ]] || fail "$binary is not linked dynamically"
for library in "${libraries[@]}"; do put "$library" "$library" 0555; done

# The authorities that webhooks' certificates are checked against.
put /etc/ssl/certs/ca-certificates.crt etc/ssl/certs/ca-certificates.crt

put /dev/stdin etc/passwd <<'END'
root:x:0:0:root:/:/usr/sbin/nologin
broadcaster:x:1001:1001:broadcaster:/:/usr/sbin/nologin
END
put /dev/stdin etc/group <<'END'
root:x:0:
broadcaster:x:1001:
END

put "$here/../LICENSE" usr/share/doc/broadcaster/LICENSE
# What came from which package, where scanners for vulnerabilities look for it in images without a package manager; and
# the licences.
if command -v dpkg-query >/dev/null; then
    put /etc/os-release etc/os-release
    # A package may have a library below /usr/lib that the loader knows below /lib, which is the same folder.
    owners=$(dpkg-query --search "${libraries[@]/#/*}") || fail "there is a library that no package owns"
    for package in ca-certificates $(cut -d : -f 1 <<<"$owners" | sort -u); do
        dpkg-query --status "$package" | put /dev/stdin "var/lib/dpkg/status.d/$package"
        put "/usr/share/doc/$package/copyright" "usr/share/doc/$package/copyright"
    done
fi

find "$root" -type d -exec chmod 0755 {} +
find "$root" -exec touch --no-dereference --date="@${SOURCE_DATE_EPOCH:-0}" {} +
