//! Variables that look like settings and are none: what they would set stays as it is, and somebody wonders why.

use std::ffi::OsString;

use super::{ConfigError, ConfigWarning, Place, layers};

/// Variables that other programs read, most of them the command line tool of NATS, and the key that is meant by each.
const OF_OTHERS: [(&str, &str); 16] = [
    ("NATS_CA", "nats.tls.ca_file"),
    ("NATS_CERT", "nats.tls.cert_file"),
    ("NATS_CREDENTIALS", "nats.credentials_file"),
    ("NATS_CREDS", "nats.credentials_file"),
    ("NATS_KEY", "nats.tls.key_file"),
    ("NATS_NKEY", "nats.nkey_seed_file"),
    ("NATS_PASSWORD", "nats.password"),
    ("NATS_QUEUE", "routes.default.queue_group"),
    ("NATS_SERVER", "nats.url"),
    ("NATS_SERVERS", "nats.url"),
    ("NATS_TOKEN", "nats.token"),
    ("NATS_USER", "nats.user"),
    ("NATS_USERNAME", "nats.user"),
    ("LOG_FORMAT", "log.format"),
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "tracing.endpoint"),
    ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "tracing.endpoint"),
];

/// The sections that a variable with one underscore may have meant.
const SECTIONS: [&str; 9] =
    ["LOG_", "NATS_", "RELOAD_", "ROUTES_", "RUNTIME_", "SERVER_", "SERVICE_", "SHUTDOWN_", "TRACING_"];

/// What has to be said about the variables of `env` that are not read.
pub(super) fn warnings(env: &[(OsString, OsString)]) -> Vec<ConfigWarning> {
    let set = env.iter().filter(|(_, value)| !value.is_empty());
    let mut names: Vec<_> = set.filter_map(|(name, _)| name.to_str()).collect();
    names.sort_unstable();
    let is_set = |name: &str| names.binary_search(&name).is_ok();
    let warning = |name: &&str| {
        let problem = meant(name).filter(|(instead, _)| !is_set(instead)).map(|(_, problem)| problem)?;
        Some(ConfigWarning(ConfigError { key: String::new(), place: Place::Unset, problem }))
    };
    names.iter().filter_map(warning).collect()
}

/// The variable that may have been meant by one that is not read, and what to say about it.
fn meant(name: &str) -> Option<(String, String)> {
    if name == "NATS_CONTEXT" {
        let problem =
            format!("{name} is not read: contexts are the nats command's own, set the keys of [nats]");
        return Some((String::new(), problem));
    }
    let instead = if let Some((_, key)) = OF_OTHERS.iter().find(|(other, _)| *other == name) {
        layers::variable(key)
    } else if is_in_lower_case(name) {
        name.to_ascii_uppercase()
    } else {
        with_two_underscores(name)?
    };
    let problem = format!("{name} is not read: set {instead}");
    Some((instead, problem))
}

/// Whether it would be read if it were in upper case.
fn is_in_lower_case(name: &str) -> bool {
    let upper = name.to_ascii_uppercase();
    let is_read = upper.starts_with(layers::PREFIX)
        || upper == layers::FILE_VARIABLE
        || layers::PLAIN.iter().any(|(plain, _)| *plain == upper);
    is_read && !name.starts_with(layers::PREFIX) && upper != name
}

/// `BROADCASTER__NATS__…` for `BROADCASTER_NATS_…`, unless Kubernetes has made it for a service called `broadcaster-nats`.
fn with_two_underscores(name: &str) -> Option<String> {
    let rest = name.strip_prefix("BROADCASTER_")?;
    let section = SECTIONS.into_iter().find(|section| rest.starts_with(section))?;
    let of_a_service = name.contains("_SERVICE_") || name.contains("_PORT");
    let key = rest.strip_prefix(section)?.trim_start_matches('_');
    let separator = if section == "ROUTES_" { "NAME__SECTION__KEY" } else { key };
    (!of_a_service).then(|| format!("{}{}__{separator}", layers::PREFIX, section.trim_end_matches('_')))
}
