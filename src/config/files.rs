//! Files that settings name: secrets and certificates. They are read at load, so that a bad one is a mistake in the
//! configuration and not a failure later; those of a login are read again for each login. A relative path starts at the
//! working directory.

use std::{
    env,
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use tokio_rustls::rustls::{
    Error as TlsError, InconsistentKeys, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    sign::CertifiedKey,
};

use super::{
    SecretFile, nats_login, parse,
    reader::{Reported, Section},
    secret,
    tree::Value,
};

/// No secret and no bundle of certificates is larger, in bytes; `/dev/zero` is.
const LIMIT: u64 = 4 << 20;

/// A secret that stands under `key`, or in the file that `file_key` names. Of two layers the later one wins; within one
/// it would be open which of both is meant.
pub(super) fn secret<T>(
    at: &Section<'_>,
    key: &'static str,
    file_key: &'static str,
    parse: impl Fn(String, Option<&Path>) -> Result<T, String>,
) -> Result<Option<T>, Reported> {
    let (place, file_place) = (at.place(key), at.place(file_key));
    let loser = match (place, file_place) {
        (Some(direct), Some(file)) if direct.layer() > file.layer() => Some(file_key),
        (Some(direct), Some(file)) if direct.layer() < file.layer() => Some(key),
        _ => None,
    };
    let direct = |value: &Value| parse(parse::text(value)?, None);
    let from_file = |value: &Value| {
        let path = path(value)?;
        parse(secret_file(&path)?, Some(&path))
    };
    let read = |key, value: &dyn Fn(&Value) -> Result<T, String>| match loser {
        Some(loser) if loser == key => at.replaced(key),
        _ => at.optional(key, value),
    };
    let (direct, from_file) = (read(key, &direct), read(file_key, &from_file));
    if let (None, Some(place), Some(_)) = (loser, place, file_place) {
        let problem = format!("expected only one of {file_key} and {key}, which is set in {place}");
        return Err(at.report(file_key, problem));
    }
    Ok(direct?.or(from_file?))
}

/// The contents of a file that holds one secret, without the end of its only line.
pub(super) fn secret_file(path: &Path) -> Result<String, String> {
    let (file, secret) = lines(path)?;
    // Two lines may be two secrets. Joined, or with the break, they would be another one, or another host.
    parse::one_line(&secret).map_err(|problem| format!("{problem} in {file}"))?;
    Ok(secret)
}

/// A NATS credentials file, with a JWT and the seed that belongs to it.
pub(super) fn credentials(path: &Path) -> Result<SecretFile, String> {
    let (file, text) = lines(path)?;
    // The client takes the last line for one only with the line end that was trimmed.
    let contents = format!("{text}\n");
    if nats_login::jwt_and_seed(&contents).is_some() {
        Ok(SecretFile { path: path.to_owned(), contents: contents.into() })
    } else {
        Err(format!("expected a NATS user JWT and its nkey seed in {file}"))
    }
}

/// A file with the seed of a NATS user.
pub(super) fn nkey_seed(path: &Path) -> Result<SecretFile, String> {
    let (file, text) = lines(path)?;
    let seed = text.trim();
    if nats_login::is_user_seed(seed) {
        Ok(SecretFile { path: path.to_owned(), contents: seed.to_owned().into() })
    } else {
        Err(format!("expected the nkey seed of a user, SU…, in {file}"))
    }
}

/// The certificates of authorities in a PEM file.
pub(super) fn authorities(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let certificates = certificates(path)?;
    // One that can't be an authority is left out later, and the others are trusted.
    let (usable, _) = RootCertStore::empty().add_parsable_certificates(certificates.iter().cloned());
    let problem = || format!("expected certificates that can be read in {}", named(path));
    (usable > 0).then_some(certificates).ok_or_else(problem)
}

/// The certificates in a PEM file.
pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let contents = read(path)?;
    let parsed = CertificateDer::pem_slice_iter(&contents).collect::<Result<Vec<_>, _>>();
    // The parser's own errors quote the file.
    match parsed {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => Err(format!("expected certificates in PEM in {}", named(path))),
    }
}

/// The private key in a PEM file.
pub(super) fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    let wrong = |_| format!("expected a private key in PEM, not encrypted, in {}", named(path));
    PrivateKeyDer::from_pem_slice(&read(path)?).map_err(wrong)
}

/// Whether a certificate, the first of its chain, can be shown with this key.
pub(super) fn belong_together(
    chain: Vec<CertificateDer<'static>>,
    key: &PrivateKeyDer<'static>,
) -> Result<(), &'static str> {
    let key = ring::sign::any_supported_type(key).map_err(|_| "expected an RSA, ECDSA or Ed25519 key")?;
    match CertifiedKey::new(chain, key).keys_match() {
        Ok(()) | Err(TlsError::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(()),
        Err(TlsError::InconsistentKeys(_)) => Err("expected the key of the certificate in cert_file"),
        Err(_) => Err("expected a certificate that can be read in cert_file"),
    }
}

/// What `read` finds in the file that a value names, and the path.
pub(super) fn named_by<T>(
    value: &Value,
    read: impl FnOnce(&Path) -> Result<T, String>,
) -> Result<(PathBuf, T), String> {
    let path = path(value)?;
    let found = read(&path)?;
    Ok((path, found))
}

/// A path as it was written.
pub(super) fn path(value: &Value) -> Result<PathBuf, String> {
    parse::text(value).map(PathBuf::from)
}

/// How the file is named, and its text without the end of its last line: editors and `echo` end a file with a newline,
/// which is no part of the secret.
pub(super) fn lines(path: &Path) -> Result<(String, String), String> {
    let contents = read(path)?;
    let file = named(path);
    let text = text(contents).map_err(|instead| format!("expected UTF-8 text in {file}{instead}"))?;
    let text = text.trim_end_matches(['\r', '\n']);
    if text.is_empty() {
        return Err(format!("expected a secret in {file}, which is empty"));
    }
    Ok((file, text.to_owned()))
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let hint = if path.is_absolute() { "" } else { "; a relative path begins at the working directory" };
    read_up_to(LIMIT, path).map_err(|error| format!("cannot read {}: {error}{hint}", named(path)))
}

/// The contents of a file, which must not be longer than `limit` bytes.
pub(super) fn read_up_to(limit: u64, path: &Path) -> io::Result<Vec<u8>> {
    let mut contents = Vec::new();
    let length = File::open(path)?.take(limit + 1).read_to_end(&mut contents)?;
    if length as u64 > limit {
        return Err(io::Error::other(format!("it is larger than {} MiB", limit >> 20)));
    }
    Ok(contents)
}

/// The contents of a file as text; else, for the end of an error, what they look like.
pub(super) fn text(contents: Vec<u8>) -> Result<String, &'static str> {
    let wide = contents.starts_with(&[0xff, 0xfe]) || contents.starts_with(&[0xfe, 0xff]);
    if wide || contents.contains(&0) {
        return Err(", which looks like UTF-16: save it as UTF-8");
    }
    let text = String::from_utf8(contents).map_err(|_| "")?;
    // Some editors mark UTF-8 in this way.
    Ok(text.strip_prefix('\u{feff}').map_or_else(|| text.clone(), str::to_owned))
}

/// The file for an error: where it was looked for, but for a name that may be the secret itself, written where its file
/// belongs.
pub(super) fn named(path: &Path) -> String {
    let folder = if path.is_absolute() { Ok(PathBuf::new()) } else { env::current_dir() };
    let folder = folder.unwrap_or_else(|_| ".".into());
    let is_path = ["/", ".", ".."].iter().any(|start| path.starts_with(start));
    if is_path || path.to_str().is_some_and(secret::is_name) {
        folder.join(path).display().to_string()
    } else {
        format!("a file in {}", folder.display())
    }
}
