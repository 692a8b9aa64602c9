//! A request whose body is compressed.

use super::{Request, names};
use crate::{deliver::body::Packer, message::outcome::Attempt};

const UNSUPPORTED_MEDIA_TYPE: u16 = 415;

impl Request<'_> {
    /// Compresses the body where that makes it smaller, and where it is not what its publisher has compressed already.
    pub(super) fn pack(&mut self, packer: &Packer) {
        let is_packed = |name: &str| name.eq_ignore_ascii_case(names::CONTENT_ENCODING);
        if self.more.iter().any(|(name, _)| is_packed(name)) {
            return;
        }
        if let Some(packed) = packer.pack(&self.body) {
            let encoding = packer.encoding();
            self.body = packed.into();
            self.more.push((names::CONTENT_ENCODING.into(), encoding.as_bytes().into()));
            self.encoding = Some(encoding);
        }
    }

    /// `attempt`, and where it may have failed because the body is compressed, that.
    pub fn explain(&self, mut attempt: Attempt) -> Attempt {
        if let (Some(encoding), Attempt::Failed { failure, cause, .. }) = (self.encoding, &mut attempt)
            && failure.status() == Some(UNSUPPORTED_MEDIA_TYPE)
        {
            let mut words =
                format!("the body was compressed, and it may not take {encoding}: see webhook.compression");
            if let Some(cause) = cause {
                words = format!("{cause}; {words}");
            }
            *cause = Some(words.into());
        }
        attempt
    }
}
