//! Reading `[nats]`.

use secrecy::SecretString;

use super::{ClientCertificate, Nats, NatsAuth, NatsTls, NatsUrl, files, parse, reader::Section};

/// The keys that say how to authenticate, one kind a row.
const AUTH: [&[&str]; 4] = [
    &["credentials_file"],
    &["nkey_seed_file"],
    &["user", "password", "password_file"],
    &["token", "token_file"],
];

/// The section.
pub(super) fn read(at: &Section<'_>) -> Option<Nats> {
    let servers = at.optional("url", parse::servers).map(|servers| servers.unwrap_or_else(local));
    let name = at.or("name", "broadcaster".to_owned(), parse::text);
    let auth = auth(at, servers.as_deref().unwrap_or_default());
    let tls = at.section("tls", tls);
    Some(Nats { servers: servers?, name: name?, auth: auth?, tls: tls? })
}

fn local() -> Vec<NatsUrl> {
    vec!["nats://127.0.0.1:4222".parse().expect("the default address is valid")]
}

fn auth(at: &Section<'_>, servers: &[NatsUrl]) -> Option<NatsAuth> {
    let credentials = at.optional("credentials_file", files::credentials);
    let seed = at.optional("nkey_seed_file", files::nkey_seed);
    let user = at.optional("user", parse::text);
    let password = files::secret(at, "password", "password_file", |text| Ok(SecretString::from(text)));
    let token = files::secret(at, "token", "token_file", |text| Ok(SecretString::from(text)));
    one_kind(at, servers);
    one_login(at, servers);
    match (user?, password?) {
        (Some(user), Some(password)) => return Some(NatsAuth::Password { user, password }),
        (Some(_), None) => return at.missing("password"),
        (None, Some(_)) => return at.missing("user"),
        (None, None) => {}
    }
    let credentials = credentials?.map(NatsAuth::Credentials);
    let other = seed?.map(NatsAuth::NkeySeed).or(token?.map(NatsAuth::Token));
    Some(credentials.or(other).unwrap_or(NatsAuth::Anonymous))
}

/// Two kinds at once would leave the server to choose, and the operator to wonder.
fn one_kind(at: &Section<'_>, servers: &[NatsUrl]) {
    let login = servers.iter().any(NatsUrl::has_login).then_some("url");
    let set = |keys: &[&'static str]| keys.iter().copied().find(|key| at.place(key).is_some());
    let mut kinds = login.into_iter().chain(AUTH.into_iter().filter_map(set));
    if let (Some(first), Some(second)) = (kinds.next(), kinds.next()) {
        let problem = format!("expected one kind of authentication, but {} gives another", at.path(first));
        at.report(second, problem);
    }
}

/// The client has one login for all servers: it reconnects to any of them.
fn one_login(at: &Section<'_>, servers: &[NatsUrl]) {
    let mut logins = servers.iter().filter(|server| server.has_login());
    if let Some(first) = logins.next()
        && !logins.all(|other| other.has_login_of(first))
    {
        at.report("url", "expected the same login for all servers".to_owned());
    }
}

fn tls(at: &Section<'_>) -> Option<NatsTls> {
    let ca = at.optional("ca_file", files::certificates);
    let cert = at.optional("cert_file", files::certificates);
    let key = at.optional("key_file", files::private_key);
    let client = match (cert?, key?) {
        (Some((cert_file, _)), Some(key_file)) => Some(ClientCertificate { cert_file, key_file }),
        (Some(_), None) => return at.missing("key_file"),
        (None, Some(_)) => return at.missing("cert_file"),
        (None, None) => None,
    };
    Some(NatsTls { ca_file: ca?.map(|(path, _)| path), client })
}
