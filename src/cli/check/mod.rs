//! `broadcaster check`: the configuration as it would be used, and whether it would work.
//!
//! `--connect` goes wherever the daemon would go, with what the daemon goes there with, and takes and sends nothing.
//! Every wait is bounded. What is found is judged where it is found; a [`Report`] is put together of it.

mod certificate;
pub mod options;
mod print;
pub mod report;
mod webhook;

use std::{
    io::{self, BufWriter, Write as _},
    rc::Rc,
    sync::Arc,
};

use tokio::{sync::Semaphore, task::JoinSet};

use self::report::{Line, Report, Section};
use super::terminal::Abilities;
use crate::{
    base::clock::Clock,
    config::{Config, Route},
    deliver::connect::network::Network,
};

/// How many webhooks are reached for at the same time: a thousand routes are done soon, and with few descriptors.
const AT_A_TIME: usize = 64;

/// Goes through all that `config` names, and says how it is. Needs a runtime that takes local tasks.
pub async fn connect(config: &Config, clock: Clock) -> Report {
    let mut report = Report::default();
    let webhooks = webhooks(config, clock).await;
    for (route, webhook) in config.routes.iter().zip(webhooks) {
        let mut lines = notices(route);
        lines.extend(webhook);
        report.sections.push(Section { title: format!("route {}", route.name), lines });
    }
    report
}

/// What is no mistake, and an operator should know all the same.
fn notices(route: &Route) -> Vec<Line> {
    let notices = route.notices().into_iter();
    notices.map(|notice| Line::notice("messages", notice)).collect()
}

async fn webhooks(config: &Config, clock: Clock) -> Vec<Vec<Line>> {
    let network = Rc::new(Network::default());
    let places = Arc::new(Semaphore::new(AT_A_TIME));
    let mut checks = JoinSet::new();
    for (at, route) in config.routes.iter().enumerate() {
        let (webhook, network, places) = (route.webhook.clone(), Rc::clone(&network), Arc::clone(&places));
        checks.spawn_local(async move {
            // Never closed, so that each gets its place.
            let _place = places.acquire().await;
            (at, webhook::check(&webhook, &network, clock).await)
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
