//! The configuration: what an operator can set, and what it means.
//!
//! Four layers, later wins: built-in defaults, a TOML file, the environment, flags. [`load`] merges them, reads the
//! result field by field into the types below and reports every mistake at once. After loading, no value is invalid:
//! nothing downstream checks a setting again.
//!
//! Each section has a file of its own, with its type, its defaults and how it is read; those of a route are in `route`.
//! A new setting goes there, into `print.rs`, and into `config/broadcaster.toml`, the reference: tests hold it to both.
//!
//! Secrets (URLs of webhooks, header values, passwords, tokens, seeds) are masked by `Debug`, by `Display`, by
//! [`Config::to_toml`] and in every error.

mod api_address;
mod endpoints;
mod errors;
mod exposed;
mod files;
mod history;
mod layers;
mod limits;
mod lines;
mod log;
mod metrics;
mod names;
mod nats;
mod nats_login;
mod nats_url;
mod origin;
mod parse;
mod part;
mod print;
mod reader;
mod reload;
mod route;
mod runtime;
mod sealed;
mod secret;
mod server;
mod service;
mod shutdown;
mod system_roots;
#[cfg(test)]
mod tests;
mod tracing;
mod tree;
mod unread;
mod value;

use std::{ffi::OsString, path::PathBuf, sync::Arc};

pub use self::{
    api_address::{ApiAddress, api_address},
    endpoints::{BucketName, Endpoints},
    errors::{ConfigError, ConfigErrors, ConfigWarning, Place},
    history::{History, HistoryStream, Outcomes},
    limits::Limits,
    log::{Log, LogFormat, LogLevel},
    metrics::{Metrics, PerRoute},
    names::{NameError, PublishSubject, QueueGroup, RouteName, StreamName, Subject, TokenName},
    nats::{ClientCertificate, Nats, NatsAuth, NatsCertificates, NatsTls},
    nats_login::jwt_and_seed,
    nats_url::{NatsUrl, NatsUrlError},
    origin::Origin,
    part::{Kept, kept, nats_and_service},
    reload::Reload,
    route::{
        Algorithm, Answer, Attribute, Authorities, Aws, Basic, Batch, BatchFormat, Body, BodyTemplate,
        Bounds, Breaker, CertifiedPair, ClientAuth, CloudEventMode, CloudEvents, Compression, Concurrency,
        ContentCoding, Convention, DeadLetter, DeliverPolicy, Egress, Encoding, Forward, HeaderTemplate,
        HttpVersion, Identity, Jetstream, Method, NamedProxy, Oauth2, Overflow, PUBLIC_PREFIX, Part, Pattern,
        ProxyLogin, ProxyScheme, ProxyUrl, ProxyUrlError, ProxyVariables, Proxying, Queue, RateLimit, Retry,
        Route, SECRET_PREFIX, SYMMETRIC_PREFIX, Scheme, Signing, SigningKey, SigningSecret, Statuses,
        StatusesError, TargetTemplate, Webhook, WebhookAuth, WebhookTls, WebhookUrl, WebhookUrlError,
        header_in_file, unfit,
    },
    runtime::{Runtime, Threads},
    sealed::{FleetKeys, SEED, new_key, public_key, seal},
    secret::{Secret, SecretFile, SecretText, is_name},
    server::{ApiToken, Role, Server},
    service::{Service, ServiceAccess},
    shutdown::Shutdown,
    tracing::{OtlpEndpoint, Tracing},
};
use self::{
    endpoints::Around,
    reader::{Reader, Reported, Section},
    route::reserved::Reserved,
};

/// Everything an operator decided, checked. Two are equal when every setting of them is, secrets included.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// `[log]`: what is logged, and how it looks.
    pub log: Log,
    /// `[server]`: the addresses that broadcaster itself listens on, and who may do what there.
    pub server: Server,
    /// `[metrics]`: what `/metrics` tells of each route.
    pub metrics: Metrics,
    /// `[nats]`: the cluster that messages come from, and how to get in.
    pub nats: Nats,
    /// `[runtime]`: how many threads do the work.
    pub runtime: Runtime,
    /// `[shutdown]`: how long a stop may take.
    pub shutdown: Shutdown,
    /// `[service]`: what clients of NATS may ask the daemon for.
    pub service: Service,
    /// `[reload]`: when the configuration is read again.
    pub reload: Reload,
    /// `[tracing]`: where spans go. Default: nowhere, there are none.
    pub tracing: Option<Tracing>,
    /// `[history]`: whether what came of attempts is published. Default: it is not.
    pub history: Option<History>,
    /// `[endpoints]`: routes in a bucket of NATS. Default: there are none.
    pub endpoints: Option<Endpoints>,
    /// `[routes.NAME]`: the routes, sorted by name. Only with `[endpoints]` there may be none.
    pub routes: Vec<Route>,
}

/// Where settings come from, beside the built-in defaults. All of it is given, so that tests need no environment.
///
/// It cannot be printed: there are secrets among it.
#[derive(Clone, Default)]
pub struct Sources {
    /// The file that `--config` named; `None` leaves it to `BROADCASTER_CONFIG`, and without that there is no file.
    pub file: Option<PathBuf>,
    /// The environment: variables that are not broadcaster's are ignored.
    pub env: Vec<(OsString, OsString)>,
    /// The flags: the key path it sets (`routes.default.webhook.url`), the value, and the flag as it was typed,
    /// without the value (`--set`): errors name it.
    pub flags: Vec<(String, String, String)>,
}

impl Sources {
    /// The file that settings come from, if there is one.
    pub fn file(&self) -> Option<PathBuf> {
        let variable =
            self.env.iter().find(|(name, value)| name == layers::FILE_VARIABLE && !value.is_empty());
        self.file.clone().or_else(|| variable.map(|(_, path)| path.into()))
    }
}

/// What stands for a secret wherever it would be printed.
const MASK: &str = "********";

/// Merges the sources and reads them.
///
/// # Errors
/// All mistakes in them, each with its key and its place.
pub fn load(sources: Sources) -> Result<Config, ConfigErrors> {
    load_with_warnings(sources).map(|(config, _)| config)
}

/// Merges the sources and reads them, and tells what is no mistake in them, but hardly what an operator wants.
///
/// # Errors
/// All mistakes in them, each with its key and its place.
pub fn load_with_warnings(sources: Sources) -> Result<(Config, Vec<ConfigWarning>), ConfigErrors> {
    load_from(sources).1
}

/// As [`load_with_warnings`], and tells what it was read from, whatever is wrong with that.
pub fn load_from(sources: Sources) -> (Origin, Result<(Config, Vec<ConfigWarning>), ConfigErrors>) {
    let mut origin = Origin::of(sources.clone());
    let loaded = load_noting(sources, &mut origin);
    (origin, loaded)
}

fn load_noting(sources: Sources, origin: &mut Origin) -> Result<(Config, Vec<ConfigWarning>), ConfigErrors> {
    let mut warnings = unread::warnings(&sources.env);
    // Kubernetes says so to each container, in which nobody else can look.
    let in_pod = sources.env.iter().any(|(name, _)| name == "KUBERNETES_SERVICE_HOST");
    let mut errors = Vec::new();
    let env = sources.env.clone();
    let Some(root) = layers::merge(sources, &mut errors) else {
        return Err(ConfigErrors(errors));
    };
    origin.note(&root);
    warnings.extend(exposed::warnings(&root, in_pod));
    let reader = Reader::new(root);
    let proxies = Arc::new(ProxyVariables::of(&env));
    let config = reader.read(|at| read(at, &proxies));
    let (found, more) = reader.into_findings();
    errors.extend(found);
    warnings.extend(more);
    errors.extend(config.as_ref().ok().and_then(|config| system_roots::mistake(config, &env)));
    let config = config.ok().filter(|_| errors.is_empty());
    config.map(|config| (config, warnings)).ok_or(ConfigErrors(errors))
}

fn read(at: &Section<'_>, proxies: &Arc<ProxyVariables>) -> Result<Config, Reported> {
    let log = at.section("log", log::read);
    let server = at.section("server", server::read);
    let metrics = at.section("metrics", metrics::read);
    let nats = at.section("nats", nats::read);
    let runtime = at.section("runtime", runtime::read);
    let shutdown = at.section("shutdown", shutdown::read);
    let reload = at.section("reload", reload::read);
    let service = at.section("service", service::read);
    let tracing = at.optional_section("tracing", |at| tracing::read(at, proxies));
    // Only a fixed number can contradict a route. Of an automatic one, a route that has too little to divide uses as
    // many as it can.
    let threads = match &runtime {
        Ok(Runtime { threads: Threads::Fixed(threads) }) => Some(*threads),
        _ => None,
    };
    let inboxes = nats.as_ref().map_or_else(|_| nats::usual_inbox_prefix(), |nats| nats.inbox_prefix.clone());
    let mut around =
        Around { threads, inboxes: Some(inboxes), proxies: Arc::clone(proxies), ..Around::default() };
    let asked = service.as_ref().ok().filter(|service| service.access != ServiceAccess::Off);
    around.reserved.extend(asked.map(|service| Reserved::service(&service.name)));
    let mut endpoints = at.optional_section("endpoints", |at| endpoints::read(at, around.clone()));
    let bucket = endpoints.as_ref().ok().and_then(Option::as_ref).map(|endpoints| &endpoints.bucket);
    around.reserved.extend(bucket.map(Reserved::bucket));
    let may_be_empty = !matches!(endpoints, Ok(None));
    let routes = at.section("routes", |at| route::read_all(at, &around, may_be_empty));
    let history =
        at.optional_section("history", |at| history::read(at, routes.as_ref().ok().map(Vec::as_slice)));
    if let Ok(Some(endpoints)) = &mut endpoints {
        let subject = history.as_ref().ok().and_then(Option::as_ref).map(|history| &history.subject);
        around.reserved.extend(subject.map(Reserved::history));
        endpoints.around = Around { is_strict: true, ..around };
    }
    Ok(Config {
        log: log?,
        server: server?,
        metrics: metrics?,
        nats: nats?,
        runtime: runtime?,
        shutdown: shutdown?,
        reload: reload?,
        service: service?,
        tracing: tracing?,
        history: history?,
        endpoints: endpoints?,
        routes: routes?,
    })
}
