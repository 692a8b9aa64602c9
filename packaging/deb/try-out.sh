#!/usr/bin/env bash
# Installs, uses, breaks, upgrades and purges the package on a Debian of its own, under a real systemd.
# usage: packaging/deb/try-out.sh [RELEASE]      (default bookworm; as root, after `make package`; some two minutes)
# It needs mmdebstrap, systemd-nspawn (Debian's systemd-container) and the nats-server of tests/install-tools.sh.
# shellcheck disable=SC2016 # it is the machine's shell that expands
set -euo pipefail
cd "$(dirname "$0")/../.."

release=${1:-bookworm}
package=$(ls "${CARGO_TARGET_DIR:-target}"/debian/broadcaster_*.deb)
work=$(mktemp -d)
root=$work/root
machine=

finish() {
    if [[ -n $machine ]]; then
        kill "$machine"
        wait "$machine" || true
    fi
    rm -rf "$work"
}
trap finish EXIT

say() { printf '\n== %s\n' "$*"; }

# on_it COMMANDS: on the machine, as root. (`not COMMAND`: bash overlooks it when `! COMMAND` is wrong.)
on_it() {
    nsenter --target "$(pgrep --parent "$machine")" --all -- \
        env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin SYSTEMD_PAGER= bash -euo pipefail -c 'not() { ! "$@"; }; '"$1"
}

# soon COMMAND: what has to be true on the machine, within a minute.
soon() {
    for _ in {1..120}; do
        if on_it "$1" >/dev/null 2>&1; then return; fi
        sleep 0.5
    done
    echo "not within a minute: $1" >&2
    on_it 'systemctl status --full broadcaster || true; journalctl --unit broadcaster --lines 50' >&2
    exit 1
}

say "a Debian $release with NATS and a webhook"
mmdebstrap --quiet --variant=minbase --include=systemd-sysv,dbus,procps,python3,curl "$release" "$root"
install .tools/bin/nats-server "$root/usr/bin/"
cat >"$root/usr/bin/webhook" <<'PYTHON'
#!/usr/bin/python3
# Takes two seconds for a message, and writes it into /run/delivered.
import http.server, time
class Hook(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        time.sleep(2)
        open("/run/delivered", "ab").write(body + b"\n")
        self.send_response(204)
        self.end_headers()
http.server.ThreadingHTTPServer.request_queue_size = 1024
http.server.ThreadingHTTPServer(("127.0.0.1", 8080), Hook).serve_forever()
PYTHON
cat >"$root/usr/bin/publish" <<'PYTHON'
#!/usr/bin/python3
# usage: publish MESSAGE ...
import socket, sys
nats = socket.create_connection(("127.0.0.1", 4222))
nats.recv(4096)
pubs = b"".join(b"PUB todos.events %d\r\n%s\r\n" % (len(m), m) for m in (m.encode() for m in sys.argv[1:]))
nats.sendall(b'CONNECT {"verbose":false}\r\n' + pubs + b"PING\r\n")
assert nats.recv(4096) == b"PONG\r\n"
PYTHON
cat >"$root/usr/bin/halt-thread" <<'PYTHON'
#!/usr/bin/python3
# usage: halt-thread PID NAME      (until the process ends; the other threads go on)
import ctypes, os, sys
tasks = f"/proc/{sys.argv[1]}/task"
[thread] = [int(t) for t in os.listdir(tasks) if open(f"{tasks}/{t}/comm").read().strip() == sys.argv[2]]
PTRACE_SEIZE, PTRACE_INTERRUPT, WALL = 0x4206, 0x4207, 0x40000000
for request in PTRACE_SEIZE, PTRACE_INTERRUPT:
    assert ctypes.CDLL(None).ptrace(request, thread, None, None) == 0
while os.WIFSTOPPED(os.waitpid(thread, WALL)[1]):
    pass
PYTHON
chmod +x "$root"/usr/bin/{webhook,publish,halt-thread}
for service in nats-server webhook; do
    printf '[Service]\nExecStart=/usr/bin/%s\n[Install]\nWantedBy=multi-user.target\n' "$service" \
        >"$root/etc/systemd/system/$service.service"
    systemctl --quiet --root="$root" enable "$service"
done
cp "$package" "$root/root/broadcaster.deb"
systemd-nspawn --quiet --register=no --keep-unit --private-network --boot --directory="$root" \
    </dev/null >"$work/console" 2>&1 &
machine=$!
soon 'systemctl is-active webhook nats-server'

say "installed without an address: it is enabled, does not run, and nothing has failed"
on_it 'dpkg -i /root/broadcaster.deb'
on_it 'systemctl is-enabled broadcaster; not systemctl is-active broadcaster; not systemctl is-failed broadcaster'
on_it 'not systemctl start broadcaster; not systemctl is-failed broadcaster'

say "with an address it starts, delivers and says how it is"
on_it 'echo http://127.0.0.1:8080/hook >/etc/broadcaster/webhook-url; systemctl start broadcaster'
soon 'broadcaster health --url http://127.0.0.1:8002'
on_it 'publish first'
soon 'grep -x first /run/delivered'
soon 'systemctl status broadcaster | grep "Status: \"ready\""'
on_it 'systemctl status broadcaster; curl -s http://127.0.0.1:7777/metrics | grep ^process_start_time_seconds'
on_it 'systemd-analyze security broadcaster | tail -n 1'

say "an upgrade delivers what is in hand, and starts the new one"
on_it 'publish {1..100}; dpkg -i /root/broadcaster.deb; systemctl is-active broadcaster'
on_it '[[ $(grep -cE "^[0-9]+$" /run/delivered) == 100 ]]; journalctl --unit broadcaster | grep "stopped received=101 delivered=101"'

say "a reload takes over what has changed, and refuses what is wrong"
on_it 'pid=$(systemctl show -P MainPID broadcaster)
    printf "[routes.more]\nsubject = \"more\"\n[routes.more.webhook]\nurl = \"http://127.0.0.1:8080/more\"\n" \
        >>/etc/broadcaster/broadcaster.toml
    systemctl reload broadcaster; [[ $(systemctl show -P MainPID broadcaster) == "$pid" ]]'
soon 'journalctl --unit broadcaster | grep "configuration applied.*added=\"more\""'
on_it 'systemctl is-active broadcaster; echo nonsense = 1 >>/etc/broadcaster/broadcaster.toml; systemctl reload broadcaster'
soon 'systemctl status broadcaster | grep "Status: \"ready; configuration: that of"'
on_it 'sed -i "/nonsense/d; /routes.more/,\$d" /etc/broadcaster/broadcaster.toml; systemctl reload broadcaster'
soon 'systemctl status broadcaster | grep "Status: \"ready\""'

say "killed, it starts again"
on_it 'systemctl kill --signal=KILL broadcaster'
soon '[[ $(systemctl show -P NRestarts broadcaster) == 1 ]] && broadcaster health --url http://127.0.0.1:8002'

say "with a lane that stands still, it is started again"
on_it 'timeout 90 halt-thread "$(systemctl show -P MainPID broadcaster)" lane-0'
soon '[[ $(systemctl show -P NRestarts broadcaster) == 2 ]] && broadcaster health --url http://127.0.0.1:8002'
on_it 'journalctl --unit broadcaster | grep -E "for a restart|[Ww]atchdog|signal SIGABRT"'

say "a wrong configuration is not tried again"
on_it 'echo nonsense = 1 >>/etc/broadcaster/broadcaster.toml; not systemctl restart broadcaster; sleep 5'
on_it 'state=$(systemctl show -p ActiveState -p ExecMainStatus -p NRestarts broadcaster | sort | xargs); echo "$state"
    [[ $state == "ActiveState=failed ExecMainStatus=78 NRestarts=0" ]]'
on_it 'sed -i /nonsense/d /etc/broadcaster/broadcaster.toml; systemctl start broadcaster'

say "removed, it leaves its settings; back again, it starts; purged, it leaves nothing"
on_it 'dpkg -r broadcaster; not systemctl is-active broadcaster; ls -l /etc/broadcaster'
on_it 'dpkg -i /root/broadcaster.deb; systemctl is-active broadcaster; dpkg -P broadcaster'
on_it 'left=$(find / -xdev -name "*broadcaster*" ! -path "/root/*" ! -path "/proc/*"); [[ -z $left ]] || { echo "$left"; exit 1; }'
say "all as it should be"
