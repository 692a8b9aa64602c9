//! `scheme = "custom"`: a convention that the operator describes.

use std::borrow::Cow;

use http::{HeaderName, HeaderValue};

use super::{Convention, Part, Pattern, Scheme};
use crate::{
    config::{
        parse,
        reader::{Reported, Section},
        tree::Value,
    },
    message::header_names::http as names,
};

/// The keys that describe a convention, and stand beside no other scheme.
const KEYS: [&str; 8] =
    ["header", "timestamp_header", "signed", "lead", "prefix", "separator", "algorithm", "encoding"];

/// The convention that the section describes.
pub(super) fn read(at: &Section<'_>) -> Result<Convention, Reported> {
    let default = Convention::of(Scheme::Custom);
    let header = at.required("header", header_name);
    let timestamp_header = at.optional("timestamp_header", header_name);
    let signed = at.or("signed", default.signed, signed);
    let lead = at.or("lead", default.lead, lead);
    let prefix = at.or("prefix", default.prefix, text);
    let separator = at.optional("separator", text);
    let algorithm = at.or("algorithm", default.algorithm, parse::choice);
    let encoding = at.or("encoding", default.encoding, parse::choice);
    let convention = Convention {
        header: header?,
        timestamp_header: timestamp_header?,
        signed: signed?,
        lead: lead?,
        prefix: prefix?,
        separator: separator?,
        algorithm: algorithm?,
        encoding: encoding?,
    };
    let Convention { header, timestamp_header, signed, lead, .. } = &convention;
    if timestamp_header.as_ref().is_some_and(|other| other.eq_ignore_ascii_case(header)) {
        return Err(at.report("timestamp_header", "expected another header than the one of the signature"));
    }
    if signed.has(&Part::Timestamp) && timestamp_header.is_none() && !lead.has(&Part::Timestamp) {
        let problem =
            "expected a timestamp_header, or {timestamp} in lead: a receiver can't guess what was signed";
        return Err(at.report("signed", problem));
    }
    Ok(convention)
}

/// Says so where a key describes a convention and another scheme is chosen.
pub(super) fn refuse(at: &Section<'_>) -> Result<Option<Convention>, Reported> {
    let refuse =
        |key| at.optional(key, |_| Err::<(), _>("expected scheme = \"custom\" beside this".to_owned()));
    let refused: Vec<_> = KEYS.into_iter().map(refuse).collect();
    refused.into_iter().collect::<Result<Vec<_>, _>>().map(|_| None)
}

/// The name of a header that a signature may set, as it was written.
fn header_name(value: &Value) -> Result<Cow<'static, str>, String> {
    let name = parse::text(value)?;
    let parsed = name.parse::<HeaderName>();
    let wrong = || value.unexpected("the name of a header such as \"X-Signature\"");
    let parsed = parsed.map_err(|_| wrong())?;
    let is_fixed = [names::CONTENT_TYPE, names::USER_AGENT].iter().any(|fixed| parsed == *fixed);
    // Those of Standard Webhooks may be meant: nobody else sets them.
    let is_others = names::is_kept(parsed.as_str()) && !parsed.as_str().starts_with("webhook-");
    if is_fixed || is_others || names::is_set_by_us(parsed.as_str()) {
        return Err("expected another header: this one says something else".to_owned());
    }
    Ok(name.into())
}

fn signed(value: &Value) -> Result<Pattern, String> {
    let signed: Pattern = parse::name(value)?;
    if !signed.has(&Part::Body) {
        return Err("expected {body} in it: else anybody could change the body".to_owned());
    }
    if !signed.is_unambiguous() {
        return Err(
            "expected a sign such as . or : between {id}, {timestamp} and {body}, and no %".to_owned()
        );
    }
    Ok(signed)
}

fn lead(value: &Value) -> Result<Pattern, String> {
    let lead: Pattern = parse::name(value)?;
    if lead.has(&Part::Body) { Err("expected no {body} in it".to_owned()) } else { Ok(lead) }
}

fn text(value: &Value) -> Result<Cow<'static, str>, String> {
    let text = parse::text(value)?;
    let is_good = text.is_ascii() && HeaderValue::from_str(&text).is_ok();
    if is_good { Ok(text.into()) } else { Err(value.unexpected("ASCII text")) }
}
