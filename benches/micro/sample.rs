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

/// A message of 256 bytes of JSON, with two headers.
pub(crate) fn todo() -> Message {
    let headers =
        Headers::new([("Nats-Msg-Id", "order-7"), ("traceparent", "00-0af7651916cd43dd8448eb211c80319c")]);
    let start =
        r#"{"title": "Buy \"milk\"", "n": 12345.50, "tags": ["a", "b"], "by": {"name": "ann", "age": 30}, "#;
    let payload = format!("{start}\"description\": \"{}\"}}", "x".repeat(256 - start.len() - 18));
    Message::new(Id::fresh(), "todos.eu.created".into(), headers, payload.into_bytes().into(), Time::START)
}

/// A route that has nothing set but its webhook.
pub(crate) fn route() -> Route {
    route_with(&[])
}

/// A route that has some of its own settings, beside its webhook.
pub(crate) fn route_with(settings: &[(&str, &str)]) -> Route {
    let own = settings.iter().map(|(key, value)| {
        let key = key.to_ascii_uppercase().replace('.', "__");
        (format!("BROADCASTER__ROUTES__DEFAULT__{key}").into(), (*value).into())
    });
    let url = ("WEBHOOK_URL".into(), "https://hooks.example.com/todos".into());
    let env = own.chain([url]).collect();
    let config = config::load(Sources { env, ..Sources::default() }).expect("a good configuration");
    config.routes.into_iter().next().expect("a route")
}
