//! `broadcaster send`: one message to the webhook of a route, as the daemon would send it: the same client, body, signature,
//! login, proxy and TLS. NATS has no part in it.

pub mod options;
mod shown;
mod verdict;

use std::{
    fs,
    io::{self, Read as _},
    path::{Path, PathBuf},
    rc::Rc,
    sync::Arc,
};

use thiserror::Error;
use tokio::time::timeout;

pub use self::verdict::Fate;
use self::{
    options::SendOptions,
    shown::{Shown, ShownRequest},
};
use crate::{
    base::clock::Clock,
    config::{Config, PublishSubject, Route, Sources},
    deliver::{Client, Deliver as _, Target, endpoint::Surroundings, kept::Use, request::Template},
    message::{Headers, Id, Message, batch::Batch, header_names::nats as names},
};

/// How much of an answer is shown, in bytes.
const LONGEST_ANSWER: usize = 64 * 1024;
/// No payload is larger, in bytes: NATS takes no more.
const LONGEST_PAYLOAD: u64 = 64 << 20;

/// Why no request was made at all: the message never reached a client.
#[derive(Debug, Error)]
pub enum SendError {
    /// It is not clear which route is meant.
    #[error("{0}")]
    Route(String),
    /// The message has no subject, or one that nothing can be published to.
    #[error("{0}")]
    Subject(String),
    /// The payload can't be read.
    #[error("cannot read {0}: {1}")]
    Payload(PathBuf, #[source] io::Error),
    /// The route logs in with a token, and there is none; the text is the reason.
    #[error("there is no token to log in to the webhook with: {0}")]
    Login(Arc<str>),
    /// The system refuses a runtime, or nobody reads the output.
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// The settings of a route for `--url`: what the file and the environment say is about other routes, but for the way to the
/// outside.
pub fn ad_hoc(url: &str, sources: Sources) -> Sources {
    let is_way = |name: &str| name.to_ascii_uppercase().ends_with("_PROXY") || name.starts_with("SSL_CERT_");
    let mut flags = sources.flags;
    flags.push(("routes.default.webhook.url".to_owned(), url.to_owned(), "--url".to_owned()));
    let env = sources.env.into_iter().filter(|(name, _)| name.to_str().is_some_and(is_way)).collect();
    Sources { file: None, env, flags }
}

/// Sends one message, prints what went out and what came back, and says what would become of it. Needs a runtime that takes
/// local tasks.
///
/// # Errors
/// Why nothing was sent.
pub async fn run(options: &SendOptions, config: &Config, clock: Clock) -> Result<Fate, SendError> {
    let route = route(config, options.route.as_deref())?;
    let message = message(options, route, clock)?;
    let (id, subject) = (message.id.to_string(), message.subject.to_string());
    let endpoint = Surroundings::default().endpoint(route, clock);
    if let Some(login) = &endpoint.login {
        let ready = timeout(route.webhook.timeout, login.ready(clock)).await;
        ready.unwrap_or_else(|_late| Err("none has come in time".into())).map_err(SendError::Login)?;
    }
    let mut batch = Batch::from(message);
    batch.begin_attempt();
    let began = clock.now();
    // Prepared twice, here and by the client: this one is only looked at.
    let template = Template::new(&route.webhook, &endpoint).batching(&route.batch);
    let request = template.prepare(&batch, began).ok();
    let request = request.map(|request| ShownRequest::of(&request, &template, route));
    let usage = Use {
        limit: route.answer.as_ref().map_or(0, |answer| answer.limit.get()).max(LONGEST_ANSWER),
        verdict: route.answer.as_ref().is_some_and(|answer| answer.verdict),
    };
    let target = Target::new(&route.webhook, &endpoint, Rc::default(), clock);
    let target = target.using(Some(usage)).batching(&route.batch);
    let target = Rc::new(target);
    let (attempt, ended) = Client::new(Rc::clone(&target)).deliver(&batch, began).await;
    let (took, stages) = (ended.since(began), target.latest_stages());
    let (fate, words) = verdict::verdict(&attempt, route);
    let route = route.name.to_string();
    let shown = Shown { route, id, subject, request, attempt, took, stages, fate, words };
    shown::print(&shown, options.json)?;
    Ok(fate)
}

/// The route that is meant: the one of this name, or the only one.
fn route<'c>(config: &'c Config, name: Option<&str>) -> Result<&'c Route, SendError> {
    match (name, &config.routes[..]) {
        (Some(name), routes) => {
            let route = routes.iter().find(|route| route.name.as_str() == name);
            route.ok_or_else(|| SendError::Route(format!("no route is called {name:?}")))
        }
        (None, [only]) => Ok(only),
        (None, routes) => {
            let names: Vec<_> = routes.iter().map(|route| route.name.as_str()).collect();
            Err(SendError::Route(format!("there are several routes, choose one: {}", names.join(", "))))
        }
    }
}

/// The message, as if it had just come from NATS.
fn message(options: &SendOptions, route: &Route, clock: Clock) -> Result<Message, SendError> {
    let subject = options.subject.as_deref().unwrap_or(route.subject.as_str());
    let subject: PublishSubject = subject.parse().map_err(|_wrong| {
        SendError::Subject(format!(
            "--subject: expected a subject such as orders.17, since nothing is published to {subject}"
        ))
    })?;
    let headers = Headers::new(options.headers.iter().map(|(name, value)| (name, value)));
    let id = headers.get_bytes(names::MESSAGE_ID).map_or_else(Id::fresh, Id::given);
    let payload = match (&options.body, &options.body_file) {
        (Some(text), _) => text.clone().into_bytes(),
        (None, Some(file)) => read(file).map_err(|error| SendError::Payload(file.clone(), error))?,
        (None, None) => Vec::new(),
    };
    Ok(Message::new(id, subject.as_str().into(), headers, payload.into(), clock.now()))
}

fn read(file: &Path) -> io::Result<Vec<u8>> {
    let source: Box<dyn io::Read> =
        if file == Path::new("-") { Box::new(io::stdin().lock()) } else { Box::new(fs::File::open(file)?) };
    let mut payload = Vec::new();
    source.take(LONGEST_PAYLOAD).read_to_end(&mut payload)?;
    Ok(payload)
}
