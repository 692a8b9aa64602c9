//! `GET /`: the status page. One file that loads nothing but the status, from the files beside this one.

use std::{cell::OnceCell, io::Write as _};

use bytes::Bytes;
use data_encoding::BASE64;
use flate2::{Compression, write::GzEncoder};
use http::{
    HeaderMap, HeaderName, HeaderValue, StatusCode,
    header::{
        ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, ETAG, IF_NONE_MATCH,
        REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS,
    },
};
use ring::digest::{SHA256, digest};

use super::server::{Answer, Head, answer};

const MARKUP: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
/// The parts of the script, in their order: each uses what stands above it.
const SCRIPT: [&str; 7] = [
    include_str!("text.js"),
    include_str!("live.js"),
    include_str!("head.js"),
    include_str!("list.js"),
    include_str!("charts.js"),
    include_str!("route.js"),
    include_str!("main.js"),
];

/// The status page, made when it is first asked for.
#[derive(Debug, Default)]
pub struct StatusPage(OnceCell<Made>);

#[derive(Debug)]
struct Made {
    plain: Bytes,
    /// The same, as gzip.
    packed: Bytes,
    headers: HeaderMap,
}

impl StatusPage {
    /// The page, as the client with this `head` takes it: nothing of it where it has it already.
    pub fn answer(&self, head: &Head) -> Answer {
        let made = self.0.get_or_init(Made::new);
        let known = head.header(IF_NONE_MATCH).zip(made.headers.get(ETAG));
        let is_known = known.is_some_and(|(known, tag)| known.split(',').any(|known| known.trim() == tag));
        let takes_gzip = head.header(ACCEPT_ENCODING).is_some_and(takes_gzip);
        let body = match (is_known, takes_gzip) {
            (true, _) => Bytes::new(),
            (false, true) => made.packed.clone(),
            (false, false) => made.plain.clone(),
        };
        let status = if is_known { StatusCode::NOT_MODIFIED } else { StatusCode::OK };
        let mut answer = answer(status, "text/html; charset=utf-8", body);
        answer.headers_mut().extend(made.headers.clone());
        if takes_gzip && !is_known {
            answer.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        answer
    }
}

/// Whether a client that accepts these codings takes gzip.
fn takes_gzip(codings: &str) -> bool {
    codings.split(',').any(|coding| {
        let (name, rest) = coding.split_once(';').unwrap_or((coding, ""));
        name.trim() == "gzip" && !matches!(rest.trim(), "q=0" | "q=0.0" | "q=0.00" | "q=0.000")
    })
}

impl Made {
    fn new() -> Self {
        let script = unindented(&format!("(() => {{\n'use strict';\n{}}})();\n", SCRIPT.concat()));
        let style = unindented(STYLE);
        let page = MARKUP.replace("/*css*/", &style).replace("/*js*/", &script);
        Self { headers: headers(&page, &style, &script), packed: gzip(page.as_bytes()), plain: page.into() }
    }
}

/// `text` without what only makes it easy to read here.
fn unindented(text: &str) -> String {
    let lines = text.lines().map(str::trim_start).filter(|line| !line.is_empty());
    lines.flat_map(|line| [line, "\n"]).collect()
}

fn headers(page: &str, style: &str, script: &str) -> HeaderMap {
    // Nothing runs but what is built in, nothing is loaded but the status, and nobody shows the page within theirs.
    let policy = format!(
        "default-src 'none'; script-src 'sha256-{}'; style-src 'sha256-{}'; img-src data:; connect-src 'self'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        hash(script),
        hash(style)
    );
    let tag = format!("\"{}\"", hash(page));
    let fixed = [
        (CACHE_CONTROL, "no-cache"),
        (VARY, "accept-encoding"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ];
    let made = [(CONTENT_SECURITY_POLICY, policy), (ETAG, tag)];
    let made = made.into_iter().filter_map(|(name, value)| Some((name, HeaderValue::from_str(&value).ok()?)));
    fixed.into_iter().map(|(name, value)| (name, HeaderValue::from_static(value))).chain(made).collect()
}

fn hash(text: &str) -> String {
    BASE64.encode(digest(&SHA256, text.as_bytes()).as_ref())
}

fn gzip(page: &[u8]) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    // Writing to memory does not fail.
    let written = encoder.write_all(page).and_then(|()| encoder.finish());
    written.unwrap_or_default().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_one_small_file_that_loads_nothing() {
        let made = Made::new();
        let page = std::str::from_utf8(&made.plain).unwrap();
        assert!(
            page.len() <= 64 * 1024 && made.packed.len() <= 20 * 1024,
            "{} {}",
            page.len(),
            made.packed.len()
        );
        for word in
            ["src=", "@import", "url(", "innerHTML", "outerHTML", "insertAdjacentHTML", "eval(", "onclick="]
        {
            assert!(!page.contains(word), "{word}");
        }
        assert_eq!((page.matches("<script>").count(), page.matches("</script>").count()), (1, 1));
        let policy = made.headers[CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
        // What is hashed is what stands between the tags.
        let script = page.split_once("<script>").unwrap().1.split_once("</script>").unwrap().0;
        let style = page.split_once("<style>").unwrap().1.split_once("</style>").unwrap().0;
        assert!(policy.contains(&hash(script)) && policy.contains(&hash(style)), "{policy}");
    }

    #[test]
    fn gzip_is_for_those_that_take_it() {
        for (codings, takes) in [
            ("gzip, deflate, br, zstd", true),
            ("gzip;q=0.5", true),
            ("br", false),
            ("gzip;q=0, br", false),
            ("", false),
        ] {
            assert_eq!(takes_gzip(codings), takes, "{codings}");
        }
    }
}
