//! What `broadcaster listen` writes: for people, or for machines one JSON object a line.

use std::{
    io::{self, Write},
    time::SystemTime,
};

use bytes::Bytes;
use data_encoding::BASE64;
use http::{HeaderName, HeaderValue, header, request::Parts};
use serde_json::{Value, json};

use super::answers::Answer;
use crate::{
    cli::terminal::{Abilities, body_lines, clean, escaped},
    deliver::sign::verify::NotVerified,
};

/// What says little about a message, and is the same in most requests.
const USUAL: [HeaderName; 5] =
    [header::HOST, header::USER_AGENT, header::ACCEPT, header::CONTENT_LENGTH, header::CONNECTION];
/// What somebody logs in with.
const SECRET: [HeaderName; 3] = [header::AUTHORIZATION, header::PROXY_AUTHORIZATION, header::COOKIE];

/// A request, and what was made of it.
pub(super) struct Shown<'r> {
    pub(super) number: u64,
    pub(super) at: SystemTime,
    pub(super) head: &'r Parts,
    /// Unpacked; else what can be said of it.
    pub(super) body: &'r Result<Bytes, String>,
    /// None where signatures are not verified.
    pub(super) verified: Option<&'r Result<(), NotVerified>>,
    pub(super) answer: Answer,
}

/// Writes requests to standard output.
pub(super) struct Printer {
    json: bool,
    abilities: Abilities,
}

impl Printer {
    pub(super) fn new(json: bool) -> Self {
        Self { json, abilities: Abilities::of_output() }
    }

    /// Writes the whole of it at once, so that a reader never sees a half.
    pub(super) fn request(&mut self, shown: &Shown<'_>) -> io::Result<()> {
        let mut text = if self.json { escaped(&as_json(shown)) } else { as_text(shown, self.abilities) };
        text.push('\n');
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes())?;
        out.flush()
    }
}

fn as_json(shown: &Shown<'_>) -> Value {
    let headers = shown.head.headers.iter();
    let headers = headers.map(|(name, value)| json!([name.as_str(), masked(name, value)]));
    let status = match shown.answer {
        Answer::Status(status, _) => Some(status.as_u16()),
        Answer::Closed => None,
    };
    let mut line = json!({
        "number": shown.number,
        "at": time(shown.at),
        "method": shown.head.method.as_str(),
        "target": target(shown.head),
        "version": format!("{:?}", shown.head.version),
        "headers": headers.collect::<Value>(),
        "verified": shown.verified.map(Result::is_ok),
        "why_not": shown.verified.and_then(|verified| verified.as_ref().err()).map(ToString::to_string),
        // Null where the connection is closed instead.
        "answer": status,
    });
    match shown.body {
        Ok(body) => match str::from_utf8(body) {
            Ok(text) => line["body"] = text.into(),
            Err(_) => line["body_base64"] = BASE64.encode(body).into(),
        },
        Err(problem) => line["body_problem"] = problem.as_str().into(),
    }
    line
}

fn as_text(shown: &Shown<'_>, abilities: Abilities) -> String {
    let arrow = if abilities.unicode { '→' } else { '>' };
    let answer = match shown.answer {
        Answer::Status(status, None) => status.as_u16().to_string(),
        Answer::Status(status, Some(wait)) => {
            format!("{}, come again in {}", status.as_u16(), humantime::format_duration(wait))
        }
        Answer::Closed => "closed without an answer".to_owned(),
    };
    let answer = if shown.answer.is_failure() { abilities.red(&answer) } else { abilities.green(&answer) };
    let Parts { method, version, headers, .. } = shown.head;
    let mut text = format!(
        "#{} {} {method} {} {version:?} {arrow} {answer}\n",
        shown.number,
        time(shown.at),
        clean(target(shown.head))
    );
    for (name, value) in headers.iter().filter(|(name, _)| !USUAL.contains(name)) {
        text.push_str(&format!("  {name}: {}\n", clean(&masked(name, value))));
    }
    match shown.verified {
        None => {}
        Some(Ok(())) => text.push_str(&format!("  signature: {}\n", abilities.green("good"))),
        Some(Err(why)) => text.push_str(&format!("  signature: {}\n", abilities.red(&why.to_string()))),
    }
    match shown.body {
        Ok(body) => body_lines(body).iter().for_each(|line| text.push_str(&format!("  | {line}\n"))),
        Err(problem) => text.push_str(&format!("  | ({problem})\n")),
    }
    text
}

fn target(head: &Parts) -> &str {
    head.uri.path_and_query().map_or("/", |target| target.as_str())
}

fn masked(name: &HeaderName, value: &HeaderValue) -> String {
    let text = String::from_utf8_lossy(value.as_bytes());
    if !SECRET.contains(name) {
        return text.into_owned();
    }
    // The first word says how it logs in.
    text.split_once(' ').map_or_else(|| "…".to_owned(), |(scheme, _)| format!("{scheme} …"))
}

fn time(at: SystemTime) -> String {
    humantime::format_rfc3339_millis(at.max(SystemTime::UNIX_EPOCH)).to_string()
}

#[cfg(test)]
mod tests {
    use http::{Request, StatusCode};

    use super::*;

    const PLAIN: Abilities = Abilities { colours: false, clears: false, unicode: true };

    fn head() -> Parts {
        let request =
            Request::post("/hook?a=b").header("host", "x").header("authorization", "Bearer hunter2");
        request.header("webhook-id", "1").body(()).expect("a request").into_parts().0
    }

    fn with<T>(body: &[u8], verified: Option<&Result<(), NotVerified>>, look: impl Fn(&Shown<'_>) -> T) -> T {
        look(&Shown {
            number: 7,
            at: SystemTime::UNIX_EPOCH,
            head: &head(),
            body: &Ok(body.to_vec().into()),
            verified,
            answer: Answer::Status(StatusCode::OK, None),
        })
    }

    #[test]
    fn people_see_what_matters() {
        let text = with(br#"{"a":[1]}"#, Some(&Ok(())), |shown| as_text(shown, PLAIN));
        let expected = "#7 1970-01-01T00:00:00.000Z POST /hook?a=b HTTP/1.1 → 200\n  authorization: Bearer …\n  \
                        webhook-id: 1\n  signature: good\n  | {\n  |   \"a\": [\n  |     1\n  |   ]\n  | }\n";
        assert_eq!(text, expected);
        let wrong = with(b"\x1b[2J", Some(&Err(NotVerified::Wrong)), |shown| as_text(shown, PLAIN));
        assert!(wrong.contains("signature: no key fits") && wrong.contains("| ·[2J"), "{wrong}");
    }

    #[test]
    fn machines_see_all_of_it_but_secrets() {
        let line = with(b"\xff", None, as_json);
        assert_eq!((&line["body_base64"], &line["verified"]), (&json!("/w=="), &Value::Null));
        assert_eq!(line["headers"][1], json!(["authorization", "Bearer …"]));
        assert_eq!(with(b"text", None, as_json)["body"], "text");
    }
}
