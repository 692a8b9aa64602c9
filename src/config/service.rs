//! `[service]`: the daemon as a service that clients of NATS find and ask.

use super::{
    parse::{self, Choice},
    reader::{Reported, Section},
    tree::Value,
};

/// `[service]`: the daemon as a service that clients of NATS find and ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// `service.access`: what they may ask for. Default `off`.
    pub access: ServiceAccess,
    /// `service.name`: what it is called: letters, digits, `_` and `-`, 64 at most. Default `broadcaster`.
    pub name: String,
}

/// What clients of NATS may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ServiceAccess {
    /// Nothing: there is no service, and no connection for it.
    Off,
    /// How the process and its routes are doing.
    Read,
    /// That, and to hold and release routes, and to have the configuration read again.
    Act,
}

impl Choice for ServiceAccess {
    const ALL: &'static [(&'static str, Self)] =
        &[("off", Self::Off), ("read", Self::Read), ("act", Self::Act)];
}

/// The longest name.
const LONGEST: usize = 64;

pub(super) fn read(at: &Section<'_>) -> Result<Service, Reported> {
    let access = at.or("access", ServiceAccess::Off, parse::choice);
    let name = at.or("name", "broadcaster".to_owned(), name);
    Ok(Service { access: access?, name: name? })
}

fn name(value: &Value) -> Result<String, String> {
    let text = parse::text(value)?;
    let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    if (1..=LONGEST).contains(&text.len()) && text.bytes().all(is_fit) {
        Ok(text)
    } else {
        Err(value.unexpected("a name of 1 to 64 letters, digits, _ and -"))
    }
}
