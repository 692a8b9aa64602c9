//! `POST /api/v1/routes/NAME/test`: one message to the webhook of a route, past queue, gates and figures.

use std::{rc::Rc, sync::Arc, time::Duration};

use http::{HeaderName, HeaderValue, Method, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::time::timeout;

use super::{Access, Router, routes::Stage};
use crate::{
    base::clock::Clock,
    config::PublishSubject,
    control::server::{self, Answer, Problem, ProblemKind},
    deliver::{Client, Deliver as _, Target, kept::Use},
    message::{
        Headers, Id, Message, answer::Content, batch::Batch, header_names::http::TEST, outcome::Attempt,
    },
    route::shared::Route,
};

/// How long a test takes at the most, whatever the route's own limit is: somebody waits for it.
const PATIENCE: Duration = Duration::from_secs(20);
/// How much of the webhook's answer is shown, in bytes.
const SHOWN: usize = 16 * 1024;

/// What is sent.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Trial {
    /// The payload: a text as it is, anything else as JSON.
    payload: Option<Value>,
    /// The subject that it is said to be of.
    subject: Option<String>,
}

/// What came of it.
#[derive(Serialize)]
struct Tried {
    id: String,
    delivered: bool,
    status: Option<u16>,
    failure: Option<String>,
    cause: Option<String>,
    retry_after: Option<f64>,
    seconds: f64,
    answer: Option<Shown>,
}

#[derive(Serialize)]
struct Shown {
    content_type: Option<String>,
    body: String,
    left_out: Option<&'static str>,
}

/// Adds it to `router`.
pub(super) fn add(router: &mut Router, stage: &Stage) {
    let on = stage.clone();
    router.add(Method::POST, "/api/v1/routes/{name}/test", Access::Act, move |call| {
        let (route, clock) = (on.route(call), on.clock);
        call.work_with(move |trial: Trial| async move {
            let (_, route) = route?;
            trial.run(&route, clock).await
        })
    });
}

impl Trial {
    async fn run(self, route: &Arc<Route>, clock: Clock) -> Result<Answer, Problem> {
        let message = self.message(route, clock)?;
        let id = message.id.to_string();
        let mut webhook = route.settings.webhook.clone();
        webhook.timeout = webhook.timeout.min(PATIENCE);
        webhook.headers.insert(HeaderName::from_static(TEST), HeaderValue::from_static("true"));
        let usage = Use { limit: SHOWN, verdict: false };
        let target = Target::new(&webhook, &route.endpoint, Rc::default(), clock);
        let target = target.using(Some(usage)).batching(&route.settings.batch);
        if let Some(login) = &route.endpoint.login {
            // What is wrong with it is told by the attempt.
            drop(timeout(webhook.timeout, login.ready(clock)).await);
        }
        let mut batch = Batch::from(message);
        batch.begin_attempt();
        let began = clock.now();
        let (attempt, ended) = Client::new(Rc::new(target)).deliver(&batch, began).await;
        let tried = Tried::of(id, &attempt, ended.since(began));
        Ok(server::json(StatusCode::OK, &tried))
    }

    /// The message, as if it had just come from NATS.
    fn message(self, route: &Route, clock: Clock) -> Result<Message, Problem> {
        let subject =
            self.subject.unwrap_or_else(|| route.settings.subject.as_str().replace(['*', '>'], "test"));
        let subject: PublishSubject = subject
            .parse()
            .map_err(|error| Problem::new(ProblemKind::BadValue, format!("subject: {error}")))?;
        let payload = match self.payload {
            None => r#"{"test":true}"#.to_owned(),
            Some(Value::String(text)) => text,
            Some(other) => other.to_string(),
        };
        let headers = Headers::new::<&str, &[u8]>([]);
        Ok(Message::new(Id::fresh(), subject.as_str().into(), headers, payload.into(), clock.now()))
    }
}

impl Tried {
    fn of(id: String, attempt: &Attempt, took: Duration) -> Self {
        let (status, failure, cause, retry_after) = match attempt {
            Attempt::Delivered { status, .. } => (Some(*status), None, None, None),
            Attempt::Failed { failure, cause, retry_after, .. } => {
                (failure.status(), Some(failure.label()), cause.as_deref(), *retry_after)
            }
        };
        Self {
            id,
            delivered: matches!(attempt, Attempt::Delivered { .. }),
            status,
            failure: failure.map(Into::into),
            cause: cause.map(ToOwned::to_owned),
            retry_after: retry_after.map(|wait| wait.as_secs_f64()),
            seconds: took.as_secs_f64(),
            answer: attempt.content().map(Shown::of),
        }
    }
}

impl Shown {
    fn of(content: &Content) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self {
            content_type: content.content_type.as_deref().map(text),
            body: text(&content.body),
            left_out: content.left_out,
        }
    }
}
