//! Reading all sections but the routes.

use std::{net::SocketAddr, time::Duration};

use super::{
    Config, Log, LogFormat, LogLevel, Runtime, Server, Shutdown, Threads, checks, nats, parse,
    reader::Section, routes,
};

/// The whole configuration.
pub(super) fn config(at: &Section<'_>) -> Option<Config> {
    let log = at.section("log", log);
    let server = at.section("server", server);
    let nats = at.section("nats", nats::read);
    let runtime = at.section("runtime", runtime);
    let shutdown = at.section("shutdown", shutdown);
    let drafts = at.section("routes", routes::read)?;
    checks::routes(at, &drafts);
    if let Some(Runtime { threads: Threads::Fixed(threads) }) = runtime {
        checks::threads(at, threads, &drafts);
    }
    Some(Config {
        log: log?,
        server: server?,
        nats: nats?,
        runtime: runtime?,
        shutdown: shutdown?,
        routes: drafts.into_iter().map(routes::Draft::finish).collect::<Option<_>>()?,
    })
}

fn log(at: &Section<'_>) -> Option<Log> {
    let level = at.or("level", LogLevel::Info, parse::choice);
    let format = at.or("format", LogFormat::Text, parse::choice);
    Some(Log { level: level?, format: format? })
}

fn server(at: &Section<'_>) -> Option<Server> {
    let api = at.or("api", SocketAddr::from(([0, 0, 0, 0], 8002)), parse::address);
    let metrics = at.or("metrics", SocketAddr::from(([0, 0, 0, 0], 7777)), parse::address);
    let server = Server { api: api?, metrics: metrics? };
    if server.api.port() == server.metrics.port() && server.api.port() != 0 {
        let key = if at.place("metrics").is_some() { "metrics" } else { "api" };
        at.report(
            key,
            format!("expected two ports, but server.api and server.metrics are both {}", server.api.port()),
        );
    }
    Some(server)
}

fn runtime(at: &Section<'_>) -> Option<Runtime> {
    at.or("threads", Threads::Auto, parse::threads).map(|threads| Runtime { threads })
}

fn shutdown(at: &Section<'_>) -> Option<Shutdown> {
    at.or("grace", Duration::from_secs(25), parse::grace).map(|grace| Shutdown { grace })
}
