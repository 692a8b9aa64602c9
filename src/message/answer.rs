//! What a webhook answered, as far as a route makes use of it.

/// The answer to an attempt, of a route that looks into answers. Boxed in its attempt, so that others don't carry it
/// along.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Content {
    /// The status.
    pub status: u16,
    /// What the body is (`Content-Type`).
    pub content_type: Option<Box<[u8]>>,
    /// The whole body; empty where it was left out.
    pub body: Vec<u8>,
    /// Why the body was left out, if it was: half a body could be taken for a whole one.
    pub left_out: Option<&'static str>,
}
