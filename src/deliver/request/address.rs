//! Path and query of a request, where they are made for each message. Scheme, host and port are the operator's alone.

use crate::{
    base::clock::Time,
    config::TargetTemplate,
    deliver::fault::Fault,
    message::{Message, outcome::Failure},
    template::Text,
};

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
            let has_end = self.ends_with_slash || !path.ends_with('/');
            if has_end { Ok(target) } else { Err("the path has an empty part".to_owned()) }
        });
        target.map_err(|why| Fault::new(Failure::Unsendable, format_args!("no address for it: {why}")))
    }
}
