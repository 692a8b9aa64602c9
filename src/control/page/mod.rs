//! `GET /`: the status page. One file that loads nothing but the status, from the files beside this one.

use std::cell::OnceCell;

use data_encoding::BASE64;
use http::{
    HeaderMap, HeaderName, HeaderValue, StatusCode,
    header::{
        CACHE_CONTROL, CONTENT_SECURITY_POLICY, ETAG, IF_NONE_MATCH, REFERRER_POLICY, VARY,
        X_CONTENT_TYPE_OPTIONS,
    },
};
use ring::digest::{SHA256, digest};

use super::server::{Answer, Head, Packed, answer, takes_gzip};

const HTML: &str = "text/html; charset=utf-8";

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
    page: Packed,
    headers: HeaderMap,
}

impl StatusPage {
    /// The page, as the client with this `head` takes it: nothing of it where it has it already.
    pub fn answer(&self, head: &Head) -> Answer {
        let made = self.0.get_or_init(Made::new);
        let known = head.header(IF_NONE_MATCH).zip(made.headers.get(ETAG));
        let is_known = known.is_some_and(|(known, tag)| tag.to_str().is_ok_and(|tag| is_among(tag, known)));
        let mut answer = match is_known {
            true => answer(StatusCode::NOT_MODIFIED, HTML, ""),
            false => made.page.answer(HTML, takes_gzip(head)),
        };
        answer.headers_mut().extend(made.headers.clone());
        answer
    }
}

/// Whether the tags of `If-None-Match` have this one. A proxy that packs the page itself makes a weak one of it.
fn is_among(tag: &str, known: &str) -> bool {
    let mut known = known.split(',').map(str::trim);
    known.any(|known| known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag)
}

impl Made {
    fn new() -> Self {
        let script = unindented(&format!("(() => {{\n'use strict';\n{}}})();\n", SCRIPT.concat()));
        let style = unindented(STYLE);
        let page = MARKUP.replace("/*css*/", &style).replace("/*js*/", &script);
        Self { headers: headers(&page, &style, &script), page: Packed::small(&page) }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_one_small_file_that_loads_nothing() {
        let made = Made::new();
        let (page, packed) = (made.page.text(), made.page.size());
        assert!(page.len() <= 64 * 1024 && packed <= 20 * 1024, "{} {packed}", page.len());
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
}
