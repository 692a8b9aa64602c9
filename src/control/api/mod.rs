//! What the port of the API answers: health, for the probes of orchestrators and load balancers, and whatever its parts
//! have to tell and to do.

mod attempts;
mod audit;
mod endpoints;
mod guard;
mod input;
mod letters;
mod log_level;
mod messages;
mod openapi;
mod reload;
mod router;
mod routes;
mod status;
mod trial;

use std::{rc::Rc, sync::Arc};

use http::{Method, StatusCode};

use self::{attempts::Attempts, routes::Stage};
pub use self::{
    guard::{Access, Caller, Guard},
    router::{Call, Router},
};
use super::{
    health::{Health, HealthReport},
    letters::Letters,
    log_level::LevelControl,
    page::StatusPage,
    reload::Reloader,
    server::{Answer, Handler, Head, Reply, json},
    status::{Events, StatusBoard},
};
use crate::{
    base::clock::Clock, endpoints::Fleet, history::Feed, lane::LaneStatus, route::registry::Registry,
};

/// The target of the lines in the log about who has done what.
pub(super) const ACTS: &str = audit::TARGET;

/// What the API is about.
pub struct Parts {
    /// Whether the process is well.
    pub health: Arc<Health>,
    /// Who may do what.
    pub guard: Guard,
    /// Has the configuration read again.
    pub reloader: Reloader,
    /// The routes.
    pub registry: Arc<Registry>,
    /// By this routes are held, as far as that reaches.
    pub fleet: Rc<Fleet>,
    /// Their dead letters.
    pub letters: Rc<Letters>,
    /// What the lanes show, by their numbers.
    pub lanes: Vec<Arc<LaneStatus>>,
    /// The level of the log; none where this process has started none.
    pub log_level: Option<LevelControl>,
    /// The clock of the process.
    pub clock: Clock,
}

/// The API.
pub struct Api {
    router: Router,
}

impl Api {
    /// Answers from `parts`.
    pub fn new(parts: Parts) -> Self {
        let Parts { health, guard, reloader, registry, fleet, letters, lanes, log_level, clock } = parts;
        let mut router = Router::new(guard);
        let (ready, alive) = (Arc::clone(&health), health);
        router.add(Method::GET, "/health", Access::Open, move |_| Reply::Now(told(&ready.report())));
        router.add(Method::GET, "/healthz", Access::Open, move |_| Reply::Now(told(&alive.liveness())));
        openapi::add(&mut router);
        reload::add(&mut router, &reloader);
        let stage = Stage { registry, fleet, lanes, clock };
        routes::add(&mut router, &stage);
        endpoints::add(&mut router, &stage.fleet);
        trial::add(&mut router, &stage);
        messages::add(&mut router, &stage);
        letters::add(&mut router, &letters);
        if let Some(control) = log_level {
            log_level::add(&mut router, &control);
        }
        Self { router }
    }

    /// The same, which also tells what `board` knows; those who follow it are told by `events`.
    #[must_use]
    pub fn telling(mut self, board: &StatusBoard, events: Events) -> Self {
        status::add(&mut self.router, board, events);
        self
    }

    /// The same, with the status page.
    #[must_use]
    pub fn showing(mut self, page: StatusPage) -> Self {
        self.router.add(Method::GET, "/", Access::Open, move |call| Reply::Now(page.answer(call.head)));
        self
    }
}

impl Api {
    /// The same, which also tells what comes of attempts at the routes of `registry` as `feed` hears of it, on the machine
    /// or pod with the name `replica`.
    #[must_use]
    pub fn feeding(
        mut self,
        feed: &Arc<Feed>,
        registry: &Arc<Registry>,
        replica: &str,
        clock: Clock,
    ) -> Self {
        let (feed, registry) = (Arc::clone(feed), Arc::clone(registry));
        attempts::add(&mut self.router, Attempts { feed, registry, replica: replica.into(), clock });
        self
    }
}

impl Api {
    /// Answers a client of NATS, which has let it in.
    pub fn answer_over_nats(&self, head: &Head) -> Reply {
        self.router.answer_to(Caller::Nats, head)
    }
}

impl Handler for Api {
    fn handle(&self, head: &Head) -> Reply {
        self.router.answer(head)
    }
}

fn told(report: &HealthReport) -> Answer {
    let status = if report.reasons.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    json(status, report)
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, fs, path::Path, time::SystemTime};

    use super::*;
    use crate::{
        config::{LogLevel, ServiceAccess, Sources, load},
        control::{
            reload::reloader,
            server::ProblemKind,
            service::acts::Act,
            status::{Board, Samples},
        },
        nats::OnDemand,
    };

    #[test]
    fn what_there_is_is_described() {
        let clock = Clock::start();
        let (reloader, _) = reloader(SystemTime::now());
        let registry = Arc::new(Registry::new(1));
        let health = Arc::new(Health::new(Vec::new(), Arc::clone(&registry), reloader.status(), clock));
        let guard = Guard::new(&[], clock);
        let (level, _filter) = LevelControl::new(LogLevel::Info);
        let (lanes, log_level) = (Vec::new(), Some(level));
        let reloads = reloader.status();
        let flags = vec![("routes.a.webhook.url".to_owned(), "http://a/".to_owned(), "--set".to_owned())];
        let config = load(Sources { flags, ..Sources::default() }).unwrap();
        let connection = Rc::new(OnDemand::new(&config.nats, "process", &Arc::default(), clock));
        let letters = Rc::new(Letters::new(Arc::clone(&registry), connection, clock));
        let api = Api::new(Parts {
            health: Arc::clone(&health),
            guard,
            reloader,
            registry: Arc::clone(&registry),
            fleet: Rc::new(Fleet::new(Arc::clone(&registry), None)),
            letters: Rc::clone(&letters),
            lanes,
            log_level,
            clock,
        });
        let board = StatusBoard::new(Board {
            registry: Arc::clone(&registry),
            lanes: Vec::new(),
            connections: Arc::default(),
            health,
            letters,
            reloads,
            samples: Samples::default(),
            settings: String::new(),
            clock,
        });
        let events = Events::of(board.clone());
        let api = api.telling(&board, events).showing(StatusPage::default());
        let api = api.feeding(&Arc::default(), &registry, "", clock);
        openapi::tests::compare(&api.router);
        // What clients of NATS may ask for is there too, and what changes something is known as such.
        let operations: BTreeMap<_, _> = api.router.operations().collect();
        for act in Act::ALL {
            let (method, path) = act.operation();
            let access = operations.get(&(path.to_owned(), method.to_string()));
            let acts = access.map(|(access, _)| *access == Access::Act);
            assert_eq!(acts, Some(act.needs() == ServiceAccess::Act), "{act:?}");
        }
    }

    #[test]
    fn every_problem_is_explained() {
        let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/api.md");
        let document = fs::read_to_string(document).unwrap();
        for kind in ProblemKind::ALL {
            let (status, name, _) = kind.words();
            let row = format!("| `{name}` | {} |", status.as_u16());
            assert!(document.contains(&row), "docs/api.md has no row {row}");
        }
        let rows = document.lines().filter(|line| line.starts_with("| `") && line.contains("` | "));
        let rows =
            rows.filter(|row| row.split('|').nth(2).is_some_and(|cell| cell.trim().parse::<u16>().is_ok()));
        assert_eq!(rows.count(), ProblemKind::ALL.len(), "docs/api.md explains what there is not");
    }
}
