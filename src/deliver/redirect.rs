//! Where a redirect leads, as it may be said in a log and in a dead letter. It is never followed.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// Says where `location` leads, without what may be a secret: a query, a fragment, a user, and every part of the path
/// that is one of `target` too, the path and query that the request went to.
///
/// Addresses of webhooks often have a token in their path, and most redirects lead to the same path elsewhere: by
/// https, or with a slash at the end.
pub(super) fn describe(location: &str, target: &str) -> String {
    let end = location.find(['?', '#']).unwrap_or(location.len());
    let location = location.get(..end).unwrap_or_default().trim();
    let (origin, path) = split_origin(location);
    let own: Vec<_> =
        target.split(['/', '?', '&', '=']).map(decoded).filter(|part| !part.is_empty()).collect();
    let shown = path.split('/').map(|part| if repeats(part, &own) { "…" } else { part });
    let path = shown.collect::<Vec<_>>().join("/");
    format!("redirect to {origin}{path}").replace(char::is_control, " ")
}

/// Scheme and host, without a user; and the path behind them.
fn split_origin(location: &str) -> (String, &str) {
    let Some((scheme, rest)) = location.split_once("//").filter(|(scheme, _)| !scheme.contains('/')) else {
        return (String::new(), location);
    };
    let end = rest.find(['/', '\\']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let host = authority.rsplit('@').next().unwrap_or_default();
    (format!("{scheme}//{host}"), path)
}

/// Whether a part of a path has one of our own in it. Short ones are only looked for alone: a letter is everywhere.
fn repeats(part: &str, own: &[Cow<'_, str>]) -> bool {
    const LONG: usize = 4;
    let part = decoded(part);
    own.iter().any(|own| part == *own || own.len() >= LONG && part.contains(&**own))
}

fn decoded(part: &str) -> Cow<'_, str> {
    percent_decode_str(part).decode_utf8_lossy()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirect_is_said_without_what_may_be_a_secret() {
        let table = [
            ("/login", "redirect to /login"),
            ("https://id.example/login?next=%2Fhooks%2Fs3cret#x", "redirect to https://id.example/login"),
            ("https://hooks.example/hooks/s3cret", "redirect to https://hooks.example/…/…"),
            ("https://hooks.example/hooks/s3cret/", "redirect to https://hooks.example/…/…/"),
            ("/hooks/s3cret/v2", "redirect to /…/…/v2"),
            ("/to/hooks%2Fs3%63ret", "redirect to /to/…"),
            ("/moved/t0ken", "redirect to /moved/…"),
            ("http://user:password@elsewhere.example:8080", "redirect to http://elsewhere.example:8080"),
            ("//elsewhere.example/a", "redirect to //elsewhere.example/a"),
            ("elsewhere", "redirect to elsewhere"),
            ("/a\r\nb", "redirect to /a  b"),
            ("", "redirect to "),
        ];
        for (location, expected) in table {
            assert_eq!(describe(location, "/hooks/s3cret?token=t0ken"), expected, "{location:?}");
        }
    }
}
