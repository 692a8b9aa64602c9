//! `[routes.NAME.webhook.auth.aws]`: requests that are signed as those to AWS are (Signature Version 4).

use crate::config::{
    SecretText, files, parse,
    reader::{Reported, Section},
};

/// `[routes.NAME.webhook.auth.aws]`: who signs, and for which service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Aws {
    /// `region`, such as `eu-central-1`. Required.
    pub region: String,
    /// `service`: by its name in signatures, such as `execute-api` or `lambda`. Required.
    pub service: String,
    /// `access_key_id` or `access_key_id_file`. Required.
    pub access_key_id: SecretText,
    /// `secret_access_key` or `secret_access_key_file`. Required. A secret.
    pub secret_access_key: SecretText,
    /// `session_token` or `session_token_file`, of credentials that are good for a time only. A secret. Default: none.
    pub session_token: Option<SecretText>,
}

pub(super) fn read(at: &Section<'_>) -> Result<Aws, Reported> {
    let region = at.required("region", word);
    let service = at.required("service", word);
    let access_key_id = needed(at, "access_key_id", "access_key_id_file");
    let secret_access_key = needed(at, "secret_access_key", "secret_access_key_file");
    let session_token = secret(at, "session_token", "session_token_file");
    Ok(Aws {
        region: region?,
        service: service?,
        access_key_id: access_key_id?,
        secret_access_key: secret_access_key?,
        session_token: session_token?,
    })
}

/// What stands between slashes in a signature.
fn word(value: &crate::config::tree::Value) -> Result<String, String> {
    let text = parse::text(value)?;
    let is_word = text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    if is_word { Ok(text) } else { Err(value.unexpected("a name such as \"execute-api\"")) }
}

fn needed(at: &Section<'_>, key: &'static str, file_key: &'static str) -> Result<SecretText, Reported> {
    secret(at, key, file_key)?.ok_or_else(|| at.missing(key))
}

fn secret(
    at: &Section<'_>,
    key: &'static str,
    file_key: &'static str,
) -> Result<Option<SecretText>, Reported> {
    files::secret(at, key, file_key, |text, file| {
        // They go into headers.
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("expected visible ASCII letters, without blanks".to_owned());
        }
        Ok(SecretText::of(text, file))
    })
}
