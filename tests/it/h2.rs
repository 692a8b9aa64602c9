//! HTTP/2: the client against servers of all kinds, and against what no server should do.

mod basics;
mod chance;
mod connections;
mod equality;
mod goodbyes;
mod raw;
mod room;
mod servers;
mod ways;

use testkit::daemon::Daemon;

/// A daemon of one lane that speaks HTTP/2.
fn http2(daemon: Daemon) -> Daemon {
    daemon.env("BROADCASTER__RUNTIME__THREADS", "1").impatient().route("webhook.http", "2")
}
