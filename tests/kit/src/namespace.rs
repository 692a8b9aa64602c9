//! A network and a name server of a test's own, by namespaces of the kernel. It needs no rights where the kernel lets
//! users have such namespaces, and `unshare` and `ip`.

use std::process::{Command, Stdio};

/// By this the test knows that it runs inside.
const INSIDE: &str = "TESTKIT_NAMESPACE";

/// Where a test inside has its name server, see [`super::names::NameServer`].
pub const NAME_SERVER: &str = "127.0.0.53";

/// Runs the test with this name, the running one, again in a process of its own, where `inside` is what it does: with a
/// network that has only the loopback addresses, all ports free, and names that only [`NAME_SERVER`] knows. `options`
/// are those of `resolv.conf`.
///
/// A panic with what it printed when it fails.
pub fn run(test: &str, options: &str, inside: impl Future<Output = ()>) {
    if std::env::var_os(INSIDE).is_some() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        return runtime.expect("a runtime can be built").block_on(inside);
    }
    const SET_UP: &str = r#"ip link set lo up && mount --bind "$1" /etc/resolv.conf && shift && exec "$@""#;
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let names = directory.path().join("resolv.conf");
    let text = format!("nameserver {NAME_SERVER}\noptions {options}\n");
    std::fs::write(&names, text).expect("the directory is writable");
    let output = Command::new("unshare")
        .args(["--map-root-user", "--net", "--mount", "sh", "-c", SET_UP, "sh"])
        .arg(names)
        .arg(std::env::current_exe().expect("a program knows its path"))
        .args(["--exact", test, "--nocapture"])
        .env(INSIDE, "")
        .stdin(Stdio::null())
        .output()
        .expect("unshare runs");
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "in its own network:\n{said}\n{complained}"
    );
}

/// Sets a figure of the network that the test has for itself, by its path below `/proc/sys/net`.
pub fn set(figure: &str, value: &str) {
    assert!(std::env::var_os(INSIDE).is_some(), "this is the network of the machine");
    let path = format!("/proc/sys/net/{figure}");
    std::fs::write(&path, value).unwrap_or_else(|error| panic!("{path}: {error}"));
}
