//! `[service]`: the daemon as a service that clients of NATS find and ask.

use super::{
    ConfigErrors, Nats, Sources, layers, nats,
    parse::{self, Choice},
    reader::{Reader, Reported, Section},
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

/// Where NATS is and how it is logged in to, and which service to look for there, for clients of the daemons. What is wrong
/// with other settings does not matter here.
///
/// # Errors
/// What is wrong with these.
pub fn nats_and_service(sources: Sources) -> Result<(Nats, Service), ConfigErrors> {
    let mut errors = Vec::new();
    let Some(root) = layers::merge(sources, &mut errors) else { return Err(ConfigErrors(errors)) };
    let reader = Reader::new(root);
    let both = reader.read(|at| {
        let (nats, service) = (at.section("nats", nats::read), at.section("service", read));
        Ok((nats?, service?))
    });
    let (found, _warnings) = reader.into_findings();
    let is_about_them = |key: &str| matches!(key.split('.').next(), Some("nats" | "service"));
    let mistakes: Vec<_> = found.into_iter().filter(|mistake| is_about_them(&mistake.key)).collect();
    both.ok().filter(|_| mistakes.is_empty()).ok_or(ConfigErrors(mistakes))
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
