//! The API of a daemon, a process: who may do what, and whether what is answered is what is described.

use std::time::Duration;

use hyper::{Method, Request};
use jsonschema::Validator;
use serde_json::{Value, json};

use testkit::daemon::{Daemon, Running};
use testkit::http::{self, Answer};

mod acts;
mod drain;
mod letters;
mod schemathesis;
mod tls;
mod tokens;

const SOON: Duration = Duration::from_secs(60);
const ACTOR: &str = "actor-token-0123456789";
const LOOKER: &str = "looker-token-0123456789";

/// With a token for each role.
fn with_tokens(daemon: Daemon) -> Daemon {
    daemon
        .env("BROADCASTER__SERVER__TOKENS__OPS__TOKEN", ACTOR)
        .env("BROADCASTER__SERVER__TOKENS__OPS__ROLE", "act")
        .env("BROADCASTER__SERVER__TOKENS__GRAFANA__TOKEN", LOOKER)
}

/// Asks the API of a daemon, and holds each answer against the description that the daemon gives of itself.
struct Client {
    address: std::net::SocketAddr,
    token: Option<String>,
    document: Value,
}

impl Client {
    async fn of(daemon: &Running, token: &str) -> Self {
        let answer = daemon.get("/api/v1/openapi.json").await;
        let document = serde_json::from_str(&answer.body).expect("the description is JSON");
        Self { address: daemon.api(), token: Some(token.to_owned()), document }
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        self.ask(Method::GET, path, None).await
    }

    async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        self.ask(Method::POST, path, Some(body)).await
    }

    /// Lets the route `default` go on, once that is not one request too many any more.
    async fn resume(&self) {
        let resume = async || self.post("/api/v1/routes/default/resume", nothing()).await.0;
        testkit::wait_for(SOON, resume, |status| *status != 429).await;
    }

    async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> (u16, Value) {
        let answer = self.raw(method.clone(), path, &[("content-type", "application/json")], body).await;
        let status = answer.status.as_u16();
        let content = serde_json::from_str(&answer.body);
        assert!(content.is_ok(), "{method} {path}: {status}, no JSON: {}", answer.body);
        let content: Value = content.expect("it is JSON");
        self.check(&method, path, &answer, &content);
        (status, content)
    }

    async fn raw(&self, method: Method, path: &str, headers: &[(&str, &str)], body: Option<Value>) -> Answer {
        let mut request = Request::builder().method(method.clone()).uri(path);
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = body.map_or_else(String::new, |body| body.to_string());
        let answer = tokio::time::timeout(SOON, http::send(request, body.into(), self.address)).await;
        answer.expect("it is answered in time").expect("it is answered")
    }

    /// Whether the answer is one of those that are described.
    fn check(&self, method: &Method, path: &str, answer: &Answer, content: &Value) {
        let status = answer.status.as_u16();
        let path = path.split('?').next().unwrap_or_default();
        let paths = self.document["paths"].as_object().expect("there are paths");
        let Some((_, operations)) = paths.iter().find(|(template, _)| is_one_of(template, path)) else {
            assert_eq!(status, 404, "{path} is not described");
            return;
        };
        let Some(operation) = operations.get(method.as_str().to_lowercase()) else {
            assert_eq!(status, 405, "{method} {path} is not described");
            return;
        };
        let class = format!("{}XX", status / 100);
        let responses = &operation["responses"];
        let response = responses.get(status.to_string()).or_else(|| responses.get(&class));
        assert!(response.is_some(), "{method} {path}: {status} is not described");
        let mut response = response.expect("it is described");
        if let Some(name) = response["$ref"].as_str().and_then(|name| name.rsplit('/').next()) {
            response = &self.document["components"]["responses"][name];
        }
        let kind = answer.headers["content-type"].to_str().expect("it is text");
        let schema = &response["content"][kind]["schema"];
        assert!(schema.is_object(), "{method} {path}: {status} with {kind} is not described");
        let mut schema = schema.clone();
        schema["components"] = self.document["components"].clone();
        let schema: Validator = jsonschema::validator_for(&schema).expect("it is a schema");
        let wrong: Vec<_> = schema.iter_errors(content).map(|error| error.to_string()).collect();
        assert!(wrong.is_empty(), "{method} {path}: {status} {content}: {wrong:#?}");
    }
}

fn is_one_of(template: &str, path: &str) -> bool {
    let (template, path): (Vec<_>, Vec<_>) = (template.split('/').collect(), path.split('/').collect());
    let fits = |(wanted, part): (&&str, &&str)| wanted.starts_with('{') || wanted == part;
    template.len() == path.len() && template.iter().zip(&path).all(fits)
}

/// The end of the `type` of a problem.
fn problem(content: &Value) -> &str {
    let kind = content["type"].as_str().unwrap_or_default();
    kind.strip_prefix("urn:problem-type:broadcaster:").unwrap_or_default()
}

/// An empty body.
fn nothing() -> Value {
    json!({})
}
