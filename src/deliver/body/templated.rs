//! Bodies by the operator's template.

use http::HeaderValue;

use crate::{
    base::clock::Time,
    config::BodyTemplate,
    deliver::fault::Fault,
    message::{Message, outcome::Failure},
    template::Text,
};

#[derive(Debug)]
pub(in crate::deliver) struct Templated {
    text: Text,
    content_type: HeaderValue,
}

impl Templated {
    pub(super) fn new(template: &BodyTemplate) -> Self {
        Self { text: template.source.compile(), content_type: template.content_type.clone() }
    }

    pub(super) fn make(&self, message: &Message, began: Time) -> Result<Vec<u8>, Fault> {
        let made = self.text.render(message, began);
        made.map(String::into_bytes)
            .map_err(|why| Fault::new(Failure::Unsendable, format_args!("no body by the template: {why}")))
    }

    pub(super) fn content_type(&self) -> &[u8] {
        self.content_type.as_bytes()
    }
}
