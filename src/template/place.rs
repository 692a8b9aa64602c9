//! Where a text goes, which decides what may stand in it.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str};
use serde::de::IgnoredAny;

/// What a text is made for. Whatever is inserted is written in the way of the place; text of the template itself stands as
/// it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// A body of JSON (RFC 8259). Within quotes, values become the contents of the string; outside they become JSON
    /// values, quotes and all. What is made is JSON, or an error.
    Json,
    /// A body of HTML or XML: `<`, `>`, `&` and quotes are escaped.
    Markup,
    /// A body of form fields: values are percent-encoded.
    Form,
    /// Another body: values as they are.
    Plain,
    /// The value of a header: control characters, `%` and what is beyond ASCII is percent-encoded.
    Header,
    /// Path and query of an address: values are percent-encoded, and can't lead out of their part of the path.
    Address,
    /// An attribute of a CloudEvent: text without control characters.
    Attribute,
}

/// No body is larger, in bytes.
const LARGEST_BODY: usize = 1 << 20;
/// Nothing else is, whatever a webhook may take: servers refuse heads of more than 8 KiB.
const LONGEST_VALUE: usize = 4 << 10;

/// How much work a template may do: an instruction is 1, and so is every 64 bytes that it moves.
const FUEL_OF_BODY: u64 = 200_000;
/// For headers and addresses, which are shorter.
const FUEL_OF_VALUE: u64 = 10_000;

/// All but what RFC 3986 never gives a meaning (section 2.3).
pub(super) const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

impl Place {
    /// Where a value stands in a body with this content type, and so how it is written.
    pub fn of_body(content_type: &str) -> Self {
        let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match essence.as_str() {
            "application/json" | "text/json" => Self::Json,
            "text/html" | "application/xml" | "text/xml" => Self::Markup,
            "application/x-www-form-urlencoded" => Self::Form,
            other if other.ends_with("+json") => Self::Json,
            other if other.ends_with("+xml") => Self::Markup,
            _ => Self::Plain,
        }
    }

    /// How large the text may be, in bytes.
    pub const fn limit(self) -> usize {
        if self.is_body() { LARGEST_BODY } else { LONGEST_VALUE }
    }

    pub(super) const fn fuel(self) -> u64 {
        if self.is_body() { FUEL_OF_BODY } else { FUEL_OF_VALUE }
    }

    pub(super) const fn is_body(self) -> bool {
        matches!(self, Self::Json | Self::Markup | Self::Form | Self::Plain)
    }

    /// Whether the template itself may have this character, outside of its tags.
    pub(super) fn may_have(self, character: char) -> bool {
        match self {
            Self::Json | Self::Markup | Self::Form | Self::Plain => true,
            Self::Attribute => !character.is_control(),
            Self::Header => matches!(character, ' '..='~'),
            Self::Address => is_of_address(character),
        }
    }

    /// Whether `text`, which was made, can stand here.
    pub(super) fn check(self, text: &str) -> Result<(), String> {
        match self {
            Self::Markup | Self::Form | Self::Plain => Ok(()),
            Self::Json => match serde_json::from_str::<IgnoredAny>(text) {
                Ok(_) => Ok(()),
                Err(error) => Err(format!("it is no JSON: {error}")),
            },
            Self::Header | Self::Attribute => {
                let fine = text.chars().all(|character| self.may_have(character));
                fine.then_some(()).ok_or_else(|| "it has control characters, or some beyond ASCII".to_owned())
            }
            Self::Address => check_address(text),
        }
    }
}

/// The characters of path and query (RFC 3986, sections 3.3 and 3.4).
fn is_of_address(character: char) -> bool {
    character.is_ascii_alphanumeric() || "-._~!$&'()*+,;=:@/?%".contains(character)
}

/// Servers take `..` for the folder above, encoded or not, and some a backslash for a slash: a value that is one could
/// lead to another part of the webhook's host.
fn check_address(text: &str) -> Result<(), String> {
    if !text.chars().all(is_of_address) {
        return Err("it has characters that no address has".to_owned());
    }
    let path = text.split('?').next().unwrap_or_default();
    let decoded = percent_decode_str(path).decode_utf8_lossy();
    let mut parts = decoded.split(['/', '\\']);
    if parts.any(|part| part == "." || part == "..") {
        return Err("the path has a part that is . or ..".to_owned());
    }
    if path.contains("//") {
        return Err("the path has an empty part".to_owned());
    }
    Ok(())
}
