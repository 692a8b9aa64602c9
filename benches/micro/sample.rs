//! What the benches work on: an ordinary message, on a route with the defaults.

use broadcaster::{
    base::clock::Time,
    config::{self, Route, Sources},
    message::{Headers, Id, Message},
};

/// A message of 256 bytes without headers.
pub(crate) fn message() -> Message {
    Message::new(Id::fresh(), "todos.events".into(), Headers::default(), vec![b'x'; 256].into(), Time::START)
}

/// A route that has nothing set but its webhook.
pub(crate) fn route() -> Route {
    route_with(&[])
}

/// The same with these settings.
pub(crate) fn route_with(settings: &[(&str, &str)]) -> Route {
    let env = vec![("WEBHOOK_URL".into(), "https://hooks.example.com/todos".into())];
    let flag = |(key, value): &(&str, &str)| {
        (format!("routes.default.{key}"), (*value).to_owned(), "--set".to_owned())
    };
    let flags = settings.iter().map(flag).collect();
    let config = config::load(Sources { env, flags, ..Sources::default() }).expect("a good configuration");
    config.routes.into_iter().next().expect("a route")
}
