//! The request and the answer as they are shown: without what somebody logs in with, and without what the operator keeps
//! secret.

use std::{
    io::{self, Write as _},
    time::Duration,
};

use data_encoding::BASE64;
use serde_json::{Map, Value, json};

use super::verdict::Fate;
use crate::{
    cli::terminal::{Abilities, body_lines, clean, escaped},
    config::{Body, Route},
    deliver::{
        connect::stages::Stages,
        request::{Request, Template},
    },
    message::{answer::Content, header_names::http as names, outcome::Attempt},
};

/// What of a request may be shown.
pub(super) struct ShownRequest {
    method: &'static str,
    /// Without path and query, which may be a secret.
    url: String,
    headers: Vec<(String, String)>,
    body: Result<Vec<u8>, String>,
}

/// All that there is to show.
pub(super) struct Shown {
    pub(super) route: String,
    pub(super) id: String,
    pub(super) subject: String,
    pub(super) request: Option<ShownRequest>,
    pub(super) attempt: Attempt,
    pub(super) took: Duration,
    /// What of that it took to open the connection.
    pub(super) stages: Stages,
    pub(super) fate: Fate,
    pub(super) words: String,
}

/// What takes the place of a secret.
const MASK: &str = "…";
/// What only AWS's signatures set, and log in with.
const AWS_TOKEN: &str = "x-amz-security-token";

impl ShownRequest {
    /// What may be shown of `request` to the webhook of `route`.
    pub(super) fn of(request: &Request<'_>, template: &Template, route: &Route) -> Self {
        let webhook = &route.webhook;
        let timestamp =
            webhook.signing.as_ref().and_then(|signing| signing.convention.timestamp_header.as_deref());
        let is_secret = |name: &str| {
            let is_timestamp = timestamp.is_some_and(|other| other.eq_ignore_ascii_case(name));
            [names::AUTHORIZATION, AWS_TOKEN].iter().any(|secret| secret.eq_ignore_ascii_case(name))
                || !is_timestamp && webhook.sets_headers().any(|set| set.eq_ignore_ascii_case(name))
        };
        let mut headers = Vec::new();
        let mut put = |name: &str, value: &[u8]| {
            let value =
                if is_secret(name) { MASK.into() } else { String::from_utf8_lossy(value).into_owned() };
            headers.push((name.to_owned(), value));
        };
        template.fields.iter().for_each(|(name, value)| put(name, value.as_bytes()));
        request.each_field(&mut put);
        let has_secrets = matches!(webhook.body, Body::Template(_)) && !webhook.secrets.names().is_empty();
        let body = if has_secrets {
            Err(format!(
                "{} bytes, not shown: there may be some of webhook.secrets in it",
                request.body.len()
            ))
        } else {
            Ok(request.body.to_vec())
        };
        Self { method: template.method, url: webhook.url.to_string(), headers, body }
    }
}

/// All of it for machines.
pub(super) fn as_json(shown: &Shown) -> Value {
    let request = shown.request.as_ref().map(|request| {
        let mut json = json!({ "method": request.method, "url": request.url, "headers": request.headers });
        match &request.body {
            Ok(body) => put_body(&mut json, body),
            Err(why) => json["body_left_out"] = why.as_str().into(),
        }
        json
    });
    let answer = shown.attempt.content().map(|content| {
        let content_type = content.content_type.as_deref().map(String::from_utf8_lossy);
        let mut json = json!({ "status": content.status, "content_type": content_type });
        match content.left_out {
            None => put_body(&mut json, &content.body),
            Some(why) => json["body_left_out"] = why.into(),
        }
        json
    });
    let (failure, retry_after, cause) = match &shown.attempt {
        Attempt::Delivered { .. } => (None, None, None),
        Attempt::Failed { failure, retry_after, cause, .. } => {
            (Some(failure.label()), retry_after.map(|wait| wait.as_secs_f64()), cause.as_deref())
        }
    };
    let stages: Map<_, _> =
        shown.stages().iter().map(|(name, took)| ((*name).to_owned(), took.as_secs_f64().into())).collect();
    json!({
        "route": shown.route, "id": shown.id, "subject": shown.subject, "request": request, "answer": answer,
        "failure": failure, "cause": cause, "retry_after": retry_after,
        "seconds": shown.took.as_secs_f64(), "stages": stages, "fate": shown.fate.label(), "verdict": shown.words,
    })
}

/// JSON has no bytes: what is no text has another key, so that nobody takes it for the body.
fn put_body(json: &mut Value, body: &[u8]) {
    match str::from_utf8(body) {
        Ok(text) => json["body"] = text.into(),
        Err(_) => json["body_base64"] = BASE64.encode(body).into(),
    }
}

/// All of it for people: what goes out behind `>`, what comes back behind `<`.
pub(super) fn as_text(shown: &Shown, abilities: Abilities) -> String {
    let mut text = String::new();
    let mut line = |sign: &str, line: &str| text.push_str(&format!("{sign} {}\n", clean(line)));
    if let Some(request) = &shown.request {
        line(">", &format!("{} {}", request.method, request.url));
        request.headers.iter().for_each(|(name, value)| line(">", &format!("{name}: {value}")));
        match &request.body {
            Ok(body) => body_lines(body).iter().for_each(|body| line("> |", body)),
            Err(why) => line("> |", &format!("({why})")),
        }
    }
    if let Some(Content { status, content_type, body, left_out, .. }) = shown.attempt.content() {
        line("<", &format!("{status}, in {}{}", words_of(shown.took), shown.stages_in_words()));
        if let Some(kind) = content_type {
            line("<", &format!("content-type: {}", String::from_utf8_lossy(kind)));
        }
        match left_out {
            None => body_lines(body).iter().for_each(|body| line("< |", body)),
            Some(why) => line("< |", &format!("(not shown: {why})")),
        }
    }
    let words = clean(&shown.words);
    text.push_str(&if shown.fate == Fate::Done { abilities.green(&words) } else { abilities.red(&words) });
    text.push('\n');
    text
}

impl Shown {
    /// Each stage with the time that it took, and last the answer: what is left.
    fn stages(&self) -> Vec<(&'static str, Duration)> {
        let opening: Duration = self.stages.named().map(|(_, took)| took).sum();
        let answer = ("answer", self.took.saturating_sub(opening));
        self.stages.named().chain([answer]).collect()
    }

    fn stages_in_words(&self) -> String {
        let words: Vec<_> =
            self.stages().iter().map(|(name, took)| format!("{name} {}", words_of(*took))).collect();
        format!(" ({})", words.join(", "))
    }
}

fn words_of(took: Duration) -> String {
    humantime::format_duration(rounded(took)).to_string()
}

/// Without what is below a millisecond, or a microsecond where it is quick.
fn rounded(took: Duration) -> Duration {
    let unit: u64 = if took >= Duration::from_millis(10) { 1_000_000 } else { 1_000 };
    Duration::from_nanos(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX) / unit * unit)
}

/// All of it, on standard output.
pub(super) fn print(shown: &Shown, json: bool) -> io::Result<()> {
    let text = if json { escaped(&as_json(shown)) + "\n" } else { as_text(shown, Abilities::of_output()) };
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}
