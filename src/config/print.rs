//! The effective configuration as TOML, for `broadcaster check`. Secrets are masked.

mod endpoints;
mod server;
mod webhook;

use std::{fmt::Display, num::NonZeroUsize, path::Path, time::Duration};

use super::{
    Batch, BatchFormat, Bounds, Breaker, Config, Jetstream, MASK, Nats, NatsAuth, NatsTls, PerRoute, Queue,
    Retry, Route, Threads, Tracing, parse::Choice,
};

impl Config {
    /// The effective configuration as TOML that loads again: every setting, defaults too, and secrets masked.
    ///
    /// A secret that came from a file is shown by the key it could stand under itself, where there is one.
    pub fn to_toml(&self) -> String {
        let mut page = TomlWriter(self.process_to_toml());
        for route in &self.routes {
            page.route(route);
        }
        page.0
    }

    /// The same without the routes: what the process is started with.
    pub fn process_to_toml(&self) -> String {
        let mut page = TomlWriter::default();
        page.section("log");
        page.text("level", self.log.level.word());
        page.text("format", self.log.format.word());
        page.server(&self.server);
        page.section("metrics");
        match self.metrics.per_route {
            PerRoute::Auto => page.text("per_route", "auto"),
            PerRoute::All => page.text("per_route", "all"),
            PerRoute::None => page.text("per_route", "none"),
            PerRoute::Most(most) => page.bare("per_route", most),
        }
        page.nats(&self.nats);
        page.section("reload");
        page.bare("watch", self.reload.watch);
        page.section("service");
        page.text("access", self.service.access.word());
        page.text("name", &self.service.name);
        page.section("runtime");
        match self.runtime.threads {
            Threads::Auto => page.text("threads", "auto"),
            Threads::Fixed(threads) => page.bare("threads", threads),
        }
        page.section("shutdown");
        page.duration("grace", self.shutdown.grace);
        page.bare("hand_over", self.shutdown.hand_over);
        if let Some(tracing) = &self.tracing {
            page.tracing(tracing);
        }
        if let Some(history) = &self.history {
            page.section("history");
            page.text("subject", &history.subject);
            page.text("outcomes", history.outcomes.name());
            page.bare("sample", format!("{:?}", history.sample));
            if let Some(keeper) = &history.keeper {
                page.text("stream", &keeper.name);
                page.bare("create", keeper.create);
                page.duration("max_age", keeper.max_age);
                page.text("max_bytes", size(keeper.max_bytes));
            }
        }
        if let Some(endpoints) = &self.endpoints {
            page.endpoints(endpoints);
        }
        page.0
    }
}

impl Route {
    /// The settings of this route, as [`Config::to_toml`] has them.
    pub fn to_toml(&self) -> String {
        let mut page = TomlWriter::default();
        page.route(self);
        page.0
    }
}

/// A page of TOML that is being written.
#[derive(Default)]
struct TomlWriter(String);

impl TomlWriter {
    fn section(&mut self, name: &str) {
        let gap = if self.0.is_empty() { "" } else { "\n" };
        self.0.push_str(&format!("{gap}[{name}]\n"));
    }

    /// A value that is written as it is.
    fn bare(&mut self, key: &str, value: impl Display) {
        self.0.push_str(&format!("{key} = {value}\n"));
    }

    /// A value that is written as a string.
    fn text(&mut self, key: &str, value: impl Display) {
        self.bare(key, toml::Value::from(value.to_string()));
    }

    fn list(&mut self, key: &str, items: impl Iterator<Item: Into<toml::Value>>) {
        self.bare(key, toml::Value::Array(items.map(Into::into).collect()));
    }

    fn duration(&mut self, key: &str, value: Duration) {
        self.text(key, humantime::format_duration(value));
    }

    fn path(&mut self, key: &str, value: Option<&Path>) {
        if let Some(path) = value {
            self.text(key, path.display());
        }
    }

    fn nats(&mut self, nats: &Nats) {
        self.section("nats");
        let servers: Vec<_> = nats.servers.iter().map(ToString::to_string).collect();
        self.text("url", servers.join(","));
        self.text("name", &nats.name);
        self.text("inbox_prefix", &nats.inbox_prefix);
        self.bare("ignore_discovered_servers", nats.ignore_discovered_servers);
        match &nats.auth {
            NatsAuth::Anonymous => {}
            NatsAuth::Credentials(file) => self.path("credentials_file", Some(&file.path)),
            NatsAuth::NkeySeed(file) => self.path("nkey_seed_file", Some(&file.path)),
            NatsAuth::Password { user, .. } => {
                self.text("user", user);
                self.text("password", MASK);
            }
            NatsAuth::Token(_) => self.text("token", MASK),
        }
        let NatsTls { ca_file, client, handshake_first } = &nats.tls;
        self.section("nats.tls");
        self.path("ca_file", ca_file.as_deref());
        self.path("cert_file", client.as_ref().map(|client| client.cert_file.as_path()));
        self.path("key_file", client.as_ref().map(|client| client.key_file.as_path()));
        self.bare("handshake_first", handshake_first);
    }

    fn tracing(&mut self, tracing: &Tracing) {
        self.section("tracing");
        self.text("endpoint", &tracing.endpoint);
        // As 1.0, where `{}` would write 1, which is an integer in TOML.
        self.bare("sample", format!("{:?}", tracing.sample));
        self.duration("timeout", tracing.timeout);
        self.text("service_name", &tracing.service_name);
        if !tracing.headers.is_empty() {
            self.section("tracing.headers");
        }
        for name in tracing.headers.keys() {
            self.text(&format!("\"{name}\""), MASK);
        }
        self.tls("tracing.tls", &tracing.tls);
    }

    fn route(&mut self, route: &Route) {
        let name = format!("routes.{}", route.name);
        self.section(&name);
        self.text("subject", &route.subject);
        self.text("queue_group", &route.queue_group);
        if let Some(filter) = &route.filter {
            self.text("filter", filter.as_str());
        }
        if let Some(jetstream) = &route.jetstream {
            self.jetstream(&name, jetstream);
        }
        self.webhook(&name, &route.webhook);
        self.batch(&name, &route.batch);
        self.queue(&name, &route.queue);
        self.retry(&name, &route.retry);
        if let Some(limit) = &route.rate_limit {
            self.section(&format!("{name}.rate_limit"));
            self.bare("per_second", limit.per_second);
            self.bare("burst", limit.burst);
        }
        self.breaker(&name, route.breaker.as_ref());
        if let Some(dead_letter) = &route.dead_letter {
            self.section(&format!("{name}.dead_letter"));
            self.text("subject", &dead_letter.subject);
            if let Some(stream) = &dead_letter.stream {
                self.text("stream", stream);
                self.bare("create", dead_letter.create);
            }
        }
        if let Some(answer) = &route.answer {
            self.section(&format!("{name}.answer"));
            self.bare("reply", answer.reply);
            if let Some(subject) = &answer.publish {
                self.text("publish", subject);
            }
            self.bare("verdict", answer.verdict);
            self.text("limit", size(answer.limit));
        }
    }

    fn batch(&mut self, route: &str, batch: &Batch) {
        self.section(&format!("{route}.batch"));
        self.bare("max_messages", batch.max_messages);
        self.text("max_bytes", size(batch.max_bytes));
        self.duration("max_wait", batch.max_wait);
        self.text("format", batch.format.word());
        if let BatchFormat::Template(around) = &batch.format {
            self.text("template", around.as_str());
        }
    }

    fn queue(&mut self, route: &str, queue: &Queue) {
        self.section(&format!("{route}.queue"));
        self.bounds(queue.bounds);
        self.text("overflow", queue.overflow.word());
    }

    fn retry(&mut self, route: &str, retry: &Retry) {
        self.section(&format!("{route}.retry"));
        self.bare("attempts", retry.attempts);
        self.duration("initial", retry.initial);
        self.duration("max", retry.max);
        // `{:?}` writes 2.0, where `{}` would write 2, which is an integer in TOML.
        self.bare("multiplier", format!("{:?}", retry.multiplier));
        self.text("jitter", retry.jitter.word());
        self.bounds(retry.bounds);
        self.list("statuses", retry.statuses.items());
    }

    fn jetstream(&mut self, route: &str, jetstream: &Jetstream) {
        self.section(&format!("{route}.jetstream"));
        self.text("stream", &jetstream.stream);
        self.text("consumer", &jetstream.consumer);
        self.bare("create", jetstream.create);
        self.duration("ack_wait", jetstream.ack_wait);
        self.bare("max_ack_pending", jetstream.max_ack_pending);
        self.text("deliver_policy", jetstream.deliver_policy.word());
        if let Some(domain) = &jetstream.domain {
            self.text("domain", domain);
        }
        if let Some(prefix) = &jetstream.api_prefix {
            self.text("api_prefix", prefix);
        }
    }

    fn breaker(&mut self, route: &str, breaker: Option<&Breaker>) {
        self.section(&format!("{route}.breaker"));
        self.bare("enabled", breaker.is_some());
        let Some(breaker) = breaker else { return };
        self.bare("failures", breaker.failures);
        self.bare("rate", format!("{:?}", breaker.rate));
        self.duration("window", breaker.window);
        self.duration("open_for", breaker.open_for);
        self.bare("half_open_probes", breaker.half_open_probes);
        self.duration("ramp", breaker.ramp);
    }

    fn bounds(&mut self, bounds: Bounds) {
        self.bare("messages", bounds.messages);
        self.text("bytes", size(bounds.bytes));
    }
}

/// A size in the largest unit that shows it exactly.
fn size(bytes: NonZeroUsize) -> String {
    let units = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
    let exact = units.into_iter().find(|(shift, _)| bytes.trailing_zeros() >= *shift);
    exact.map_or_else(|| bytes.to_string(), |(shift, unit)| format!("{}{unit}", bytes.get() >> shift))
}
