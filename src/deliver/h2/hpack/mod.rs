//! HPACK (RFC 7541), as much of it as a client needs that sends nearly the same request again and again, and looks at
//! few fields of the answers.

pub(super) mod decoder;
pub mod encoder;
mod huffman;
mod integer;
mod static_table;
