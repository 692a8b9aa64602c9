//! `broadcaster check`: the configuration as it would be used, and whether it would work.
//!
//! `--connect` goes wherever the daemon would go, with what the daemon goes there with, and takes and sends nothing but a
//! request for a token, and one that exports no spans.
//! Every wait is bounded. What is found is judged where it is found; a [`Report`] is put together of it.

mod api;
mod certificate;
mod collector;
mod letters;
mod login;
mod needs;
pub mod options;
mod permissions;
mod print;
mod process;
pub mod report;
mod servers;
mod source;
mod webhook;

use std::{
    io::{self, BufWriter, Write as _},
    rc::Rc,
    sync::Arc,
};

use tokio::{sync::Semaphore, task::JoinSet};

use self::{
    report::{Line, Report, Section},
    source::Nats,
};
use super::terminal::Abilities;
use crate::{base::clock::Clock, config::Config, deliver::connect::network::Network};

/// How many webhooks are reached for at the same time: a thousand routes are done soon, and with few descriptors.
const AT_A_TIME: usize = 64;

/// Goes through all that `config` names, and says how it is. Needs a runtime that takes local tasks.
pub async fn connect(config: &Config, clock: Clock) -> Report {
    let (Found { servers, process, sources }, webhooks) =
        tokio::join!(nats(config, clock), webhooks(config, clock));
    let mut sections = vec![Section { title: "NATS".to_owned(), lines: servers }];
    sections.extend(process);
    if let Some(tracing) = &config.tracing {
        let lines = vec![collector::check(tracing, clock).await];
        sections.push(Section { title: "tracing".to_owned(), lines });
    }
    for ((route, source), webhook) in config.routes.iter().zip(sources).zip(webhooks) {
        let notices = route.notices().into_iter().map(|notice| Line::notice("messages", notice));
        let lines = source.into_iter().chain(notices).chain(webhook).collect();
        sections.push(Section { title: format!("route {}", route.name), lines });
    }
    Report { sections }
}

/// What is found of NATS.
struct Found {
    servers: Vec<Line>,
    /// What the process has there beside its routes.
    process: Vec<Section>,
    /// The source of each route.
    sources: Vec<Vec<Line>>,
}

async fn nats(config: &Config, clock: Clock) -> Found {
    let (mut servers, connection) = servers::check(&config.nats, clock).await;
    let Some(connection) = connection else {
        // What is wrong is said once, and not of each route.
        return Found { servers, process: Vec::new(), sources: vec![Vec::new(); config.routes.len()] };
    };
    let mut nats = Nats::over(connection, config).await;
    servers.push(nats.user());
    let process = nats.check_process().await;
    let mut sources = Vec::new();
    for route in &config.routes {
        sources.push(nats.check(route).await);
    }
    Found { servers, process, sources }
}

/// What is found on the way to the webhook of each route.
async fn webhooks(config: &Config, clock: Clock) -> Vec<Vec<Line>> {
    let network = Rc::new(Network::default());
    let places = Arc::new(Semaphore::new(AT_A_TIME));
    let mut checks = JoinSet::new();
    for (at, route) in config.routes.iter().enumerate() {
        let (webhook, network, places) = (route.webhook.clone(), Rc::clone(&network), Arc::clone(&places));
        checks.spawn_local(async move {
            // Never closed, so that each gets its place.
            let _place = places.acquire().await;
            let mut lines = webhook::check(&webhook, &network, clock).await;
            lines.extend(login::check(&webhook, &network, clock).await);
            (at, lines)
        });
    }
    let mut found = vec![Vec::new(); config.routes.len()];
    while let Some(Ok((at, lines))) = checks.join_next().await {
        found[at] = lines;
    }
    found
}

/// Writes `report` to standard output.
pub fn print(report: &Report, as_json: bool) -> io::Result<()> {
    let mut out = BufWriter::new(io::stdout());
    if as_json {
        print::json(&mut out, report)?;
    } else {
        print::text(&mut out, report, Abilities::of_output())?;
    }
    out.flush()
}
