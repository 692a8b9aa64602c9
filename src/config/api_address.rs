//! Where the API of a daemon listens, as far as that can be told from settings that may have become wrong since it was
//! started. Its liveness must not hang on them.

use std::{fs::File, io::Read as _, net::SocketAddr, path::Path};

use super::{Sources, layers, server};

/// How many bytes of a file are read.
const LIMIT: u64 = 4 << 20;

/// Where the API listens, and how it is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ApiAddress {
    /// `server.api`.
    pub address: SocketAddr,
    /// Whether it speaks TLS (`server.tls`).
    pub is_encrypted: bool,
}

/// What `sources` say of it, the last layer first, and the defaults where none of them says anything that can be. Whatever
/// else is wrong with them does not matter here.
pub fn api_address(sources: Sources) -> ApiAddress {
    let file = sources.file();
    let Sources { env, flags, .. } = sources;
    let variable = |key: &str| {
        let name = layers::variable(key);
        env.iter().rfind(|(known, _)| *known == *name).and_then(|(_, value)| value.to_str())
    };
    let flag = |key: &str| flags.iter().rfind(|(known, ..)| known == key).map(|(_, value, _)| value.as_str());
    let in_file = |find: fn(&toml::Table) -> Option<SocketAddr>| find_in_file(file.as_deref()?, find);
    let told = [flag(server::API), variable(server::API)].into_iter().flatten();
    let address = told.into_iter().find_map(address).or_else(|| in_file(address_in));
    let is_told = [flag(server::CERTIFICATE), variable(server::CERTIFICATE)];
    let is_told = is_told.into_iter().flatten().any(|file| !file.trim().is_empty());
    let is_in_file = || file.as_deref().and_then(|file| find_in_file(file, certificate_in)).is_some();
    ApiAddress { address: address.unwrap_or(server::DEFAULT_API), is_encrypted: is_told || is_in_file() }
}

fn address(text: &str) -> Option<SocketAddr> {
    text.trim().parse().ok()
}

/// What `find` finds in the file: as a whole, and where it is no TOML, line by line.
fn find_in_file<T>(path: &Path, find: fn(&toml::Table) -> Option<T>) -> Option<T> {
    let mut text = Vec::new();
    File::open(path).ok()?.take(LIMIT).read_to_end(&mut text).ok()?;
    let text = String::from_utf8_lossy(&text);
    if let Ok(table) = toml::from_str(&text) {
        return find(&table);
    }
    let mut header = "";
    text.lines().find_map(|line| {
        if line.trim_start().starts_with('[') {
            header = line;
        }
        find(&toml::from_str(&format!("{header}\n{line}")).ok()?)
    })
}

fn address_in(table: &toml::Table) -> Option<SocketAddr> {
    address(table.get("server")?.get("api")?.as_str()?)
}

fn certificate_in(table: &toml::Table) -> Option<()> {
    table.get("server")?.get("tls")?.get("cert_file")?.as_str().map(drop)
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;

    fn of(file: &str, env: &[(&str, &str)], flags: &[(&str, &str)]) -> String {
        let directory = tempfile::tempdir().expect("a directory can be made");
        let path = directory.path().join("broadcaster.toml");
        std::fs::write(&path, file).expect("it can be written");
        let env = env.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
        let flags = flags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned(), String::new()));
        let sources = Sources { file: Some(path), env: env.collect(), flags: flags.collect() };
        let ApiAddress { address, is_encrypted } = api_address(sources);
        format!("{}{address}", if is_encrypted { "tls " } else { "" })
    }

    const FILE: &str = "[server]\napi = \"127.0.0.1:1\"\n";

    #[test]
    fn the_last_layer_that_has_an_address_wins() {
        let variable = ("BROADCASTER__SERVER__API", "127.0.0.1:2");
        let flag = ("server.api", "127.0.0.1:3");
        assert_eq!(of("", &[], &[]), "[::]:8002");
        assert_eq!(of(FILE, &[], &[]), "127.0.0.1:1");
        assert_eq!(of(FILE, &[variable], &[]), "127.0.0.1:2");
        assert_eq!(of(FILE, &[variable], &[flag]), "127.0.0.1:3");
        assert_eq!(
            of(FILE, &[("BROADCASTER__SERVER__API", "")], &[("server.api", "nowhere")]),
            "127.0.0.1:1"
        );
    }

    #[test]
    fn whether_it_is_encrypted_is_found_too() {
        let tls = "[server.tls]\ncert_file = \"a\"\n";
        assert_eq!(of(tls, &[], &[]), "tls [::]:8002");
        assert_eq!(of(&format!("surprise\n{FILE}{tls}"), &[], &[]), "tls 127.0.0.1:1");
        assert_eq!(of("", &[("BROADCASTER__SERVER__TLS__CERT_FILE", "a")], &[]), "tls [::]:8002");
        assert_eq!(of("", &[("BROADCASTER__SERVER__TLS__CERT_FILE", "")], &[]), "[::]:8002");
        assert_eq!(of(FILE, &[], &[("server.tls.cert_file", "a")]), "tls 127.0.0.1:1");
    }

    #[test]
    fn a_file_may_be_wrong_everywhere_else() {
        let wrong = [
            "[routes.a.webhook]\nurl = \"http://x",
            "[routes.a\nwebhook = 1",
            "surprise",
            "a = 1\na = 2",
            "[log]\nlevel = 'shouting'\n[nats]\nurl = [[[\n",
            "[server]\n",
        ];
        for wrong in wrong {
            assert_eq!(of(&format!("{wrong}\n{FILE}"), &[], &[]), "127.0.0.1:1", "{wrong} before it");
            assert_eq!(of(&format!("{FILE}{wrong}"), &[], &[]), "127.0.0.1:1", "{wrong} behind it");
        }
        for hopeless in ["\u{0}", "[server]\napi = 8002", "server = 1", "api = \"127.0.0.1:1\""] {
            assert_eq!(of(hopeless, &[], &[]), "[::]:8002", "{hopeless}");
        }
    }
}
