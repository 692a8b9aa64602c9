//! `/api/v1/routes`: which routes there are, and holding one: pausing it, or draining it.

use std::{
    fmt::Display,
    rc::Rc,
    sync::Arc,
    time::{Duration, SystemTime},
};

use http::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use super::{Access, Call, Router, endpoints, input::Query};
use crate::{
    base::clock::{Clock, rfc3339},
    config::RouteName,
    control::server::{self, Answer, Problem, ProblemKind, Reply},
    endpoints::{Fleet, Reach},
    lane::LaneStatus,
    route::{
        hold::{Hold, HoldAct},
        registry::{Registry, Routes},
        shared::Route,
    },
    stats::Tally,
};

/// How many routes a page has, and how many at the most.
const PAGE: (usize, usize) = (100, 1_000);
/// How long all lanes may take to follow an act, before it is answered that some have not.
const PATIENCE: Duration = Duration::from_secs(10);
/// How many characters a reason has at the most.
const LONGEST_REASON: usize = 500;

/// What routes are, and where they run.
#[derive(Clone)]
pub(super) struct Stage {
    pub(super) registry: Arc<Registry>,
    pub(super) fleet: Rc<Fleet>,
    pub(super) lanes: Vec<Arc<LaneStatus>>,
    pub(super) clock: Clock,
}

#[derive(Serialize)]
struct Page {
    routes: Vec<Shown>,
    /// What to ask for as `after` to get the next ones.
    next: Option<String>,
}

#[derive(Serialize)]
struct Shown {
    name: String,
    subject: String,
    source: &'static str,
    webhook: String,
    trouble: Option<ShownTrouble>,
    held: Option<ShownHold>,
    in_hand: u64,
}

#[derive(Serialize)]
struct ShownTrouble {
    word: &'static str,
    text: String,
    cause: Option<String>,
}

#[derive(Serialize)]
struct ShownHold {
    act: HoldAct,
    by: String,
    since: String,
    why: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Reason {
    why: Option<String>,
}

/// What an act has made of a route.
#[derive(Serialize)]
struct Done {
    name: String,
    held: Option<ShownHold>,
    /// For whom.
    reach: Reach,
    /// The number of the list of routes that has it.
    generation: u64,
    /// Whether all lanes follow it.
    applied: bool,
}

/// Adds them to `router`.
pub(super) fn add(router: &mut Router, stage: &Stage) {
    let on = stage.clone();
    router.add_taking(&["limit", "after"], Method::GET, "/api/v1/routes", Access::Read, move |call| {
        Reply::Now(on.list(call).unwrap_or_else(Into::into))
    });
    let on = stage.clone();
    router.add(Method::GET, "/api/v1/routes/{name}", Access::Read, move |call| {
        let shown =
            on.route(call).map(|(routes, route)| server::json(StatusCode::OK, &on.shown(&routes, &route)));
        Reply::Now(shown.unwrap_or_else(Into::into))
    });
    for (path, act) in
        [("/api/v1/routes/{name}/pause", HoldAct::Pause), ("/api/v1/routes/{name}/drain", HoldAct::Drain)]
    {
        let on = stage.clone();
        router.add(Method::POST, path, Access::Act, move |call| {
            let (on, name, by) = (on.clone(), on.name(call), call.by());
            call.work_with(move |asked: Reason| async move {
                let (name, why) = (name?, reason(asked.why)?);
                let held = on.fleet.hold(&name, Hold { act, why, by, since: SystemTime::now() }).await;
                Ok(on.done(&name, held.map_err(|error| endpoints::problem(&error))?).await)
            })
        });
    }
    let on = stage.clone();
    router.add(Method::POST, "/api/v1/routes/{name}/resume", Access::Act, move |call| {
        let (on, name) = (on.clone(), on.name(call));
        call.work_with(move |Nothing {}| async move {
            let name = name?;
            let released = on.fleet.release(&name).await;
            Ok(on.done(&name, released.map_err(|error| endpoints::problem(&error))?).await)
        })
    });
}

/// A body without anything in it.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

impl Stage {
    /// The name of the route in the path of `call`.
    fn name(&self, call: &Call<'_>) -> Result<RouteName, Problem> {
        self.route(call).map(|(_, route)| route.name().clone())
    }

    /// The route in the path of `call`, of those that should run now.
    pub(super) fn route(&self, call: &Call<'_>) -> Result<(Arc<Routes>, Arc<Route>), Problem> {
        let routes = self.registry.current();
        let name = call.parameter("name").parse().ok();
        let route = name.as_ref().and_then(|name| routes.get(name)).cloned();
        let route = route.ok_or_else(|| Problem::new(ProblemKind::NoSuchRoute, "no route has this name"))?;
        Ok((routes, route))
    }

    fn list(&self, call: &Call<'_>) -> Result<Answer, Problem> {
        let mut query = Query::of(call.head);
        let expected = format!("a number from 1 to {}", PAGE.1);
        let limit = query.take::<usize>("limit", &expected)?.unwrap_or(PAGE.0);
        let after = query.take::<String>("after", "the name of a route")?;
        query.finish()?;
        if !(1..=PAGE.1).contains(&limit) {
            return Err(Problem::new(ProblemKind::BadQuery, format!("limit: expected {expected}")));
        }
        let routes = self.registry.current();
        let mut rest = routes
            .iter()
            .filter(|route| after.as_ref().is_none_or(|after| route.name().as_str() > after.as_str()));
        let page: Vec<_> = rest.by_ref().take(limit).map(|route| self.shown(&routes, route)).collect();
        let next = rest.next().and_then(|_| page.last()).map(|last| last.name.clone());
        Ok(server::json(StatusCode::OK, &Page { routes: page, next }))
    }

    fn shown(&self, routes: &Routes, route: &Route) -> Shown {
        let (now, settings) = (self.clock.now(), &route.settings);
        let tally: Tally = route.stats.iter().map(|stats| stats.tally()).sum();
        Shown {
            name: settings.name.to_string(),
            subject: settings.subject.to_string(),
            source: if route.is_durable() { "stream" } else { "core" },
            webhook: settings.webhook.url.to_string(),
            trouble: routes.trouble(route, now).map(|trouble| ShownTrouble {
                word: trouble.label(),
                text: trouble.to_string(),
                cause: routes.cause(route, trouble, now),
            }),
            held: routes.held(route.name()).map(shown_hold),
            in_hand: tally.in_hand().max(0).cast_unsigned(),
        }
    }

    /// What has become of the route of this name, for so many, when all lanes follow the list that there is now.
    async fn done(&self, name: &RouteName, reach: Reach) -> Answer {
        let generation = self.registry.current().generation;
        let all = async {
            for lane in &self.lanes {
                lane.applied(generation).await;
            }
        };
        let applied = timeout(PATIENCE, all).await.is_ok();
        let held = self.registry.held(name).as_ref().map(shown_hold);
        server::json(StatusCode::OK, &Done { name: name.to_string(), held, reach, generation, applied })
    }
}

fn shown_hold(hold: &Hold) -> ShownHold {
    ShownHold { act: hold.act, by: hold.by.clone(), since: rfc3339(hold.since), why: hold.why.clone() }
}

/// The reason that somebody gives, which the log will have on one line.
fn reason(why: Option<String>) -> Result<Option<String>, Problem> {
    let wrong = |expected: &dyn Display| {
        Err(Problem::new(ProblemKind::BadValue, format!("why: expected {expected}")))
    };
    match why {
        Some(why) if why.chars().count() > LONGEST_REASON => {
            wrong(&format_args!("{LONGEST_REASON} characters at the most"))
        }
        Some(why) if why.chars().any(char::is_control) => wrong(&"one line, without control characters"),
        why => Ok(why.filter(|why| !why.trim().is_empty())),
    }
}
