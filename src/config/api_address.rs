//! Where the API of a daemon listens, as far as that can be told from settings that may have become wrong since it was
//! started. Its liveness must not hang on them.

use std::{fs::File, io::Read as _, net::SocketAddr, path::Path};

use super::{Sources, layers, server};

/// How many bytes of a file are read.
const LIMIT: u64 = 4 << 20;

/// What `sources` say of `server.api`, the last layer first, and its default where none of them has an address there.
/// Whatever else is wrong with them does not matter here.
pub fn api_address(sources: Sources) -> SocketAddr {
    let file = sources.file();
    let Sources { env, flags, .. } = sources;
    let variable = |name: &str| env.iter().rfind(|(key, _)| key == name).map(|(_, value)| value);
    let flag = flags.iter().rfind(|(key, ..)| key == server::API).and_then(|(_, value, _)| address(value));
    let in_environment = || address(variable(&layers::variable(server::API))?.to_str()?);
    let in_file = || in_file(&file?);
    flag.or_else(in_environment).or_else(in_file).unwrap_or(server::DEFAULT_API)
}

fn address(text: &str) -> Option<SocketAddr> {
    text.trim().parse().ok()
}

/// What the file says: as a whole, and where it is no TOML, line by line.
fn in_file(path: &Path) -> Option<SocketAddr> {
    let mut text = Vec::new();
    File::open(path).ok()?.take(LIMIT).read_to_end(&mut text).ok()?;
    let text = String::from_utf8_lossy(&text);
    if let Ok(table) = toml::from_str(&text) {
        return in_table(&table);
    }
    let mut header = "";
    text.lines().find_map(|line| {
        if line.trim_start().starts_with('[') {
            header = line;
        }
        in_table(&toml::from_str(&format!("{header}\n{line}")).ok()?)
    })
}

fn in_table(table: &toml::Table) -> Option<SocketAddr> {
    address(table.get("server")?.get("api")?.as_str()?)
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
        api_address(sources).to_string()
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
