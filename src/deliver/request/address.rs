//! Path and query of a request, where they are made for each message. Scheme, host and port are the operator's alone.

use percent_encoding::percent_decode_str;

use crate::{
    base::clock::Time,
    config::TargetTemplate,
    deliver::fault::Fault,
    message::{Message, outcome::Failure},
    template::Text,
};

const ELSEWHERE: &str = "the path has a part that is . or ..";

/// The address of a route whose requests go to several.
///
/// Whatever a message says is percent-encoded whole, so that it can end neither its part of the path nor its value in the
/// query. Receivers decode it again, some of them before they look for `..`, and some take `\` or `%2F` for `/` then. So a
/// message whose path would have a part that is empty, `.` or `..`, however it is written, has no request.
#[derive(Debug)]
pub(super) struct Address {
    text: Text,
    ends_with_slash: bool,
}

impl Address {
    pub(super) fn new(template: &TargetTemplate) -> Self {
        Self { text: template.source.compile(), ends_with_slash: template.ends_with_slash }
    }

    /// Path and query for `message`, at an attempt that begins at `began`.
    pub(super) fn target(&self, message: &Message, began: Time) -> Result<String, Fault> {
        let target = self.text.render(message, began).and_then(|target| {
            let path = target.split('?').next().unwrap_or_default();
            if path.ends_with('/') && !self.ends_with_slash {
                return Err("the path has an empty part".to_owned());
            }
            if leads_elsewhere(path) { Err(ELSEWHERE.to_owned()) } else { Ok(target) }
        });
        target.map_err(|why| Fault::new(Failure::Unsendable, format_args!("no address for it: {why}")))
    }
}

/// Whether a path leads out of one of its parts for a receiver behind a proxy: both may decode, and what follows a `;` is
/// no part of the name for some.
fn leads_elsewhere(path: &str) -> bool {
    let once = percent_decode_str(path).decode_utf8_lossy();
    let twice = percent_decode_str(&once).decode_utf8_lossy();
    let mut names = twice.split(['/', '\\']).filter_map(|part| part.split(';').next());
    names.any(|name| name == "." || name == "..")
}

#[cfg(test)]
mod tests {
    use super::leads_elsewhere;

    #[test]
    fn a_path_leads_elsewhere_however_it_is_written() {
        for path in
            ["/a/..", "/./b", "/%2e%2E/", "/a%2F..%2Fb", "/a%5C..", "/%252e%252e/b", "/..%3Bx/b", "/..;x/b"]
        {
            assert!(leads_elsewhere(path), "{path}");
        }
        for path in ["/", "/a/b", "/...", "/.a/b.", "/a%2Fb", "/..a", "/;../"] {
            assert!(!leads_elsewhere(path), "{path}");
        }
    }
}
