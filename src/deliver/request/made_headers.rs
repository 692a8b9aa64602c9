//! Headers of the operator whose values are not always the same: out of templates, and out of files that change.

use std::borrow::Cow;

use http::HeaderValue;

use super::{Field, in_usual_case};
use crate::{
    base::{clock::Time, watched_file::Watched},
    config::Webhook,
    deliver::{endpoint::Endpoint, fault::Fault},
    message::{Message, outcome::Failure},
    template::Text,
};

/// The operator's headers whose values are not the same for all requests of a route.
#[derive(Debug)]
pub(super) struct MadeHeaders {
    files: Vec<(Box<str>, Watched<HeaderValue>)>,
    templates: Vec<(Box<str>, Text)>,
}

impl MadeHeaders {
    /// Those of `webhook`; none where all of its headers are always the same.
    pub(super) fn of(webhook: &Webhook, endpoint: &Endpoint) -> Option<Self> {
        let files = endpoint.header_files.iter().map(|(name, value)| (in_usual_case(name), value.clone()));
        let templates = webhook.header_templates.iter();
        let templates = templates.map(|(name, template)| (in_usual_case(name), template.source().compile()));
        let made = Self { files: files.collect(), templates: templates.collect() };
        (!made.files.is_empty() || !made.templates.is_empty()).then_some(made)
    }

    /// Adds those for `message` to `fields`, at an attempt that begins at `began`.
    pub(super) fn add<'b>(
        &'b self,
        message: &Message,
        began: Time,
        fields: &mut Vec<Field<'b>>,
    ) -> Result<(), Fault> {
        for (name, value) in &self.files {
            fields.push((Cow::Borrowed(name), value.current().as_bytes().to_vec().into()));
        }
        for (name, template) in &self.templates {
            let value = template.render(message, began).map_err(|why| {
                Fault::new(Failure::Unsendable, format_args!("no value for the header {name}: {why}"))
            })?;
            fields.push((Cow::Borrowed(name), value.into_bytes().into()));
        }
        Ok(())
    }
}
