//! Files that settings name: secrets and certificates. They are read once, at load, so that a bad one is a mistake in
//! the configuration and not a failure later. A relative path starts at the working directory.

use std::{fs::File, io::Read, path::PathBuf};

use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};

use super::{
    SecretFile, parse,
    reader::{Reported, Section},
    tree::Value,
};

/// No secret and no bundle of certificates is larger, in bytes; `/dev/zero` is.
const LIMIT: u64 = 4 << 20;

/// A secret that stands under `key`, or in the file that `file_key` names.
pub(super) fn secret<T>(
    at: &Section<'_>,
    key: &'static str,
    file_key: &'static str,
    parse: impl Fn(String) -> Result<T, String>,
) -> Result<Option<T>, Reported> {
    let direct = at.optional(key, |value| parse(parse::text(value)?));
    let from_file = at.optional(file_key, |value| parse(secret_file(value)?));
    if let (Some(place), Some(_)) = (at.place(key), at.place(file_key)) {
        let problem = format!("expected only one of {file_key} and {key}, which is set in {place}");
        return Err(at.report(file_key, problem));
    }
    Ok(direct?.or(from_file?))
}

/// The contents of a file that holds a secret, without the end of its last line.
pub(super) fn secret_file(value: &Value) -> Result<String, String> {
    let contents = read(value)?;
    let text = String::from_utf8(contents).map_err(|_| "expected a file with UTF-8 text".to_owned())?;
    // Editors and `echo` end a file with a newline, which is no part of the secret.
    let secret = text.trim_end_matches(['\r', '\n']);
    if secret.is_empty() {
        return Err("expected a file with a secret, not an empty one".to_owned());
    }
    Ok(secret.to_owned())
}

/// A NATS credentials file, with a JWT and the seed that belongs to it.
pub(super) fn credentials(value: &Value) -> Result<SecretFile, String> {
    let text = secret_file(value)?;
    let complete = text.contains("BEGIN NATS USER JWT") && text.contains("BEGIN USER NKEY SEED");
    if complete {
        // The client takes the last line for one only with the line end that was trimmed.
        Ok(SecretFile { path: path(value)?, contents: format!("{text}\n").into() })
    } else {
        Err("expected a file with a NATS user JWT and its nkey seed".to_owned())
    }
}

/// A file with the seed of a NATS user.
pub(super) fn nkey_seed(value: &Value) -> Result<SecretFile, String> {
    let text = secret_file(value)?;
    let seed = text.trim();
    let good = seed.starts_with("SU") && seed.bytes().all(|b| b.is_ascii_alphanumeric());
    if good {
        Ok(SecretFile { path: path(value)?, contents: seed.to_owned().into() })
    } else {
        Err("expected a file with the nkey seed of a user, SU…".to_owned())
    }
}

/// A PEM file with certificates, and what it holds.
pub(super) fn certificates(value: &Value) -> Result<(PathBuf, Vec<CertificateDer<'static>>), String> {
    let contents = read(value)?;
    let parsed = CertificateDer::pem_slice_iter(&contents).collect::<Result<Vec<_>, _>>();
    // The parser's own errors quote the file.
    match parsed {
        Ok(certificates) if !certificates.is_empty() => Ok((path(value)?, certificates)),
        _ => Err("expected a file with certificates in PEM".to_owned()),
    }
}

/// A PEM file with a private key.
pub(super) fn private_key(value: &Value) -> Result<PathBuf, String> {
    let contents = read(value)?;
    let key = PrivateKeyDer::from_pem_slice(&contents);
    let wrong = |_| "expected a file with a private key in PEM, not encrypted".to_owned();
    key.map_err(wrong).and_then(|_| path(value))
}

fn path(value: &Value) -> Result<PathBuf, String> {
    parse::text(value).map(PathBuf::from)
}

fn read(value: &Value) -> Result<Vec<u8>, String> {
    let path = path(value)?;
    let mut contents = Vec::new();
    let result = File::open(&path).and_then(|file| file.take(LIMIT + 1).read_to_end(&mut contents));
    // Someone may have written the secret where its file belongs. A secret hardly looks like a path.
    let shown = if ["/", "./", "../"].iter().any(|start| path.starts_with(start)) {
        path.display().to_string()
    } else {
        "the file".to_owned()
    };
    match result {
        Ok(length) if length as u64 <= LIMIT => Ok(contents),
        Ok(_) => Err(format!("cannot read {shown}: it is larger than 4 MiB")),
        Err(error) => Err(format!("cannot read {shown}: {error}")),
    }
}
