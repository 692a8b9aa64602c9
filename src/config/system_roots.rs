//! The variables by which a system says where its certificate authorities are.

use std::{
    env::split_paths,
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
};

use tokio_rustls::rustls::RootCertStore;

use super::{Config, ConfigError, Place};

/// What OpenSSL, Go and the loader of the system's authorities call them.
const FILE: &str = "SSL_CERT_FILE";
const FOLDERS: &str = "SSL_CERT_DIR";

/// The mistake of naming none by variables of `env`, where `config` needs some. Without these variables the system's
/// own places are looked at, and the authorities of Mozilla trusted where there are none.
pub(super) fn mistake(config: &Config, env: &[(OsString, OsString)]) -> Option<ConfigError> {
    let value = |name: &str| env.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_os_str());
    let (file, folders) = (value(FILE), value(FOLDERS));
    let variable = if file.is_some() { FILE } else { FOLDERS };
    let webhooks = config.routes.iter().map(|route| &route.webhook);
    let needed = webhooks
        .into_iter()
        .any(|it| it.url.server_name().is_some() && it.tls.system_roots && !it.tls.accept_any);
    if !needed || (file.is_none() && folders.is_none()) || names_one(file, folders) {
        return None;
    }
    let problem = "expected certificates of authorities in PEM there, which https webhooks are trusted by: there are \
                   none that can be read";
    Some(ConfigError {
        key: String::new(),
        place: Place::Variable(variable.to_owned()),
        problem: problem.to_owned(),
    })
}

fn names_one(file: Option<&OsStr>, folders: Option<&OsStr>) -> bool {
    let from = |file: Option<&Path>, folder: Option<&Path>| {
        let found = rustls_native_certs::load_certs_from_paths(file, folder);
        RootCertStore::empty().add_parsable_certificates(found.certs).0 > 0
    };
    let folders: Vec<PathBuf> = folders.map(|folders| split_paths(folders).collect()).unwrap_or_default();
    file.is_some_and(|file| from(Some(Path::new(file)), None))
        || folders.iter().any(|folder| from(None, Some(folder)))
}
