//! How many file descriptors the process may have, and which of them are kept for what must always work.

use std::{
    io,
    os::fd::{AsFd, AsRawFd},
};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// How many are kept, at most: for probes, for NATS, for files that are read again.
const KEPT: u64 = 32;

/// Raises the number that is allowed to the number that can be had without more rights. (The two
/// differ for the sake of programs that can't handle large ones.)
///
/// # Errors
/// The system refuses, and all stays as it is.
pub fn raise_limit() -> io::Result<()> {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    Ok(setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?)
}

/// How many descriptors the process may have.
pub fn limit() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// How many descriptors the connections to webhooks may take, of `limit`: all but those that are kept.
pub const fn free_of(limit: u64) -> u64 {
    let quarter = limit / 4;
    limit - if quarter < KEPT { quarter } else { KEPT }
}

/// Whether `descriptor` is among the last ones, which connections to webhooks leave to others. The system always gives
/// the lowest number that is free: so a high one tells, without counting, that all below are taken.
pub fn is_kept(descriptor: &impl AsFd) -> bool {
    u64::try_from(descriptor.as_fd().as_raw_fd()).is_ok_and(|number| number >= free_of(limit()))
}
