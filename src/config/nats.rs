//! `[nats]`: where the servers are, and how broadcaster logs in.

use std::path::PathBuf;

use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::{
    NatsUrl, NatsUrlError, PublishSubject, SecretFile, SecretText, files, parse,
    reader::{Reported, Section},
    tree::Value,
};

/// `[nats]`: the cluster that messages come from, and how to get in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nats {
    /// `nats.url`: the servers of one cluster, comma-separated, never empty. Default `nats://127.0.0.1:4222`.
    pub servers: Vec<NatsUrl>,
    /// `nats.name`: the name of the connection, as the server's monitoring shows it. Default `broadcaster`.
    pub name: String,
    /// `nats.inbox_prefix`: what the subjects for answers begin with, which the user must be allowed to subscribe to.
    /// Default `_INBOX`.
    pub inbox_prefix: PublishSubject,
    /// `nats.ignore_discovered_servers`: whether only the servers of `nats.url` are ever connected to, and none that
    /// those tell of. Default false.
    pub ignore_discovered_servers: bool,
    /// The login, from whichever keys of `[nats]` are set. Default: none.
    pub auth: NatsAuth,
    /// `[nats.tls]`: certificates for `tls://` servers.
    pub tls: NatsTls,
}

/// How broadcaster logs in to NATS, in one way at most. User and password, or a token, may also stand in `nats.url`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NatsAuth {
    /// Without a login, but for one that a `nats.url` carries itself.
    Anonymous,
    /// `nats.credentials_file`: the contents of a `.creds` file (a user JWT and its nkey seed).
    Credentials(SecretFile),
    /// `nats.nkey_seed_file`: the seed of a user nkey (`SU…`).
    NkeySeed(SecretFile),
    /// `nats.user` with `nats.password` or `nats.password_file`.
    Password {
        /// `nats.user`.
        user: String,
        /// `nats.password`, or the contents of `nats.password_file`.
        password: SecretText,
    },
    /// `nats.token`, or the contents of `nats.token_file`.
    Token(SecretText),
}

/// `[nats.tls]`: PEM files, which were read and parsed once at load so that they are known to be good. They are read
/// again for each connection, so that it sees when they are renewed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NatsTls {
    /// `nats.tls.ca_file`: certificates of authorities that are trusted instead of the system's. Default: none.
    pub ca_file: Option<PathBuf>,
    /// `nats.tls.cert_file` and `nats.tls.key_file`, both or neither. Default: no client certificate.
    pub client: Option<ClientCertificate>,
    /// `nats.tls.handshake_first`: whether the server expects TLS before it says anything. Default false.
    pub handshake_first: bool,
}

/// The certificate that broadcaster shows to NATS, and its key: PEM files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    /// `nats.tls.cert_file`: the certificate, followed by its chain.
    pub cert_file: PathBuf,
    /// `nats.tls.key_file`: the private key (PKCS#8, PKCS#1 or SEC1), not encrypted.
    pub key_file: PathBuf,
}

/// What the files of `[nats.tls]` hold.
#[derive(Debug)]
pub struct NatsCertificates {
    /// The authorities that are trusted instead of the system's, where they are named.
    pub authorities: Option<Vec<CertificateDer<'static>>>,
    /// The certificate to show, with its chain, and its key.
    pub client: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
}

/// The keys that log in, one kind a row.
const AUTH: [&[&str]; 4] = [
    &["credentials_file"],
    &["nkey_seed_file"],
    &["user", "password", "password_file"],
    &["token", "token_file"],
];

pub(super) fn read(at: &Section<'_>) -> Result<Nats, Reported> {
    let servers = at.optional("url", servers).map(|servers| servers.unwrap_or_else(local));
    let name = at.or("name", "broadcaster".to_owned(), parse::text);
    let inbox_prefix = at.optional("inbox_prefix", parse::name);
    let ignore_discovered_servers = at.or("ignore_discovered_servers", false, parse::switch);
    let auth = auth(at, servers.as_deref().unwrap_or_default());
    let tls = at.section("tls", tls);
    Ok(Nats {
        servers: servers?,
        name: name?,
        inbox_prefix: inbox_prefix?.unwrap_or_else(usual_inbox_prefix),
        ignore_discovered_servers: ignore_discovered_servers?,
        auth: auth?,
        tls: tls?,
    })
}

impl Nats {
    /// The login, which a `nats.url` may carry.
    pub fn login(&self) -> NatsAuth {
        // They all carry the same one, if any.
        self.servers.iter().find_map(NatsUrl::login).unwrap_or_else(|| self.auth.clone())
    }
}

impl NatsAuth {
    /// The same login with what its files hold now.
    ///
    /// # Errors
    /// Why a file can't be read, or what is wrong with what it holds.
    pub fn read_again(self) -> Result<Self, String> {
        Ok(match self {
            Self::Credentials(file) => Self::Credentials(files::credentials(&file.path)?),
            Self::NkeySeed(file) => Self::NkeySeed(files::nkey_seed(&file.path)?),
            Self::Password { user, password } => Self::Password { user, password: password.read_again()? },
            Self::Token(token) => Self::Token(token.read_again()?),
            Self::Anonymous => Self::Anonymous,
        })
    }
}

impl SecretText {
    fn read_again(self) -> Result<Self, String> {
        match self {
            Self::Inline(secret) => Ok(Self::Inline(secret)),
            Self::InFile(SecretFile { path, .. }) => {
                files::secret_file(&path).map(|text| Self::of(text, Some(&path)))
            }
        }
    }
}

impl NatsTls {
    /// What the files hold now.
    ///
    /// # Errors
    /// Why a file can't be read, or what is wrong with what it holds.
    pub fn read(&self) -> Result<NatsCertificates, String> {
        let client = |ClientCertificate { cert_file, key_file }: &ClientCertificate| {
            let (chain, key) = (files::certificates(cert_file)?, files::private_key(key_file)?);
            files::belong_together(chain.clone(), &key)
                .map_err(|problem| format!("{problem} in {}", key_file.display()))?;
            Ok::<_, String>((chain, key))
        };
        Ok(NatsCertificates {
            authorities: self.ca_file.as_deref().map(files::authorities).transpose()?,
            client: self.client.as_ref().map(client).transpose()?,
        })
    }
}

pub(super) fn usual_inbox_prefix() -> PublishSubject {
    "_INBOX".parse().expect("the default prefix is valid")
}

/// Servers, in a list or with commas between them. The addresses may carry passwords, so that no mistake quotes them.
fn servers(value: &Value) -> Result<Vec<NatsUrl>, String> {
    let urls = parse::list(value)?;
    let parse = |url: &String| url.parse().map_err(|error: NatsUrlError| error.to_string());
    if urls.is_empty() { Err(NatsUrlError::NotNats.to_string()) } else { urls.iter().map(parse).collect() }
}

fn local() -> Vec<NatsUrl> {
    vec!["nats://127.0.0.1:4222".parse().expect("the default address is valid")]
}

fn auth(at: &Section<'_>, servers: &[NatsUrl]) -> Result<NatsAuth, Reported> {
    let credentials = at.optional("credentials_file", |value| files::credentials(&files::path(value)?));
    let seed = at.optional("nkey_seed_file", |value| files::nkey_seed(&files::path(value)?));
    let user = at.optional("user", parse::text);
    let password =
        files::secret(at, "password", "password_file", |text, file| Ok(SecretText::of(text, file)));
    let token = files::secret(at, "token", "token_file", |text, file| Ok(SecretText::of(text, file)));
    one_kind(at, servers);
    one_login(at, servers);
    match (user?, password?) {
        (Some(user), Some(password)) => return Ok(NatsAuth::Password { user, password }),
        (Some(_), None) => return Err(at.missing("password")),
        (None, Some(_)) => return Err(at.missing("user")),
        (None, None) => {}
    }
    let credentials = credentials?.map(NatsAuth::Credentials);
    let other = seed?.map(NatsAuth::NkeySeed).or(token?.map(NatsAuth::Token));
    Ok(credentials.or(other).unwrap_or(NatsAuth::Anonymous))
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
        at.report("url", "expected the same login for all servers");
    }
}

fn tls(at: &Section<'_>) -> Result<NatsTls, Reported> {
    let ca = at.optional("ca_file", |value| files::named_by(value, files::authorities));
    let cert = at.optional("cert_file", |value| files::named_by(value, files::certificates));
    let key = at.optional("key_file", |value| files::named_by(value, files::private_key));
    let handshake_first = at.or("handshake_first", false, parse::switch);
    let client = match (cert?, key?) {
        (Some((cert_file, chain)), Some((key_file, key))) => {
            files::belong_together(chain, &key).map_err(|problem| at.report("key_file", problem))?;
            Some(ClientCertificate { cert_file, key_file })
        }
        (Some(_), None) => return Err(at.missing("key_file")),
        (None, Some(_)) => return Err(at.missing("cert_file")),
        (None, None) => None,
    };
    Ok(NatsTls { ca_file: ca?.map(|(path, _)| path), client, handshake_first: handshake_first? })
}
