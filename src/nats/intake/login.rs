//! What is said at the login: the JSON of `CONNECT`, with the nonce of the server signed where that is asked for.

use data_encoding::BASE64URL_NOPAD;
use nkeys::KeyPair;
use secrecy::ExposeSecret as _;
use serde::Serialize;

use super::info::ServerInfo;
use crate::config::{NatsAuth, jwt_and_seed};

/// What is said of ourselves, whoever logs in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Introduction<'a> {
    /// What the monitoring of the server calls the connection.
    pub(super) name: &'a str,
    /// Whether what we publish comes back to us where we have subscribed to it.
    pub(super) echo: bool,
    /// Whether the connection is encrypted.
    pub(super) is_tls: bool,
}

/// The argument of `CONNECT`. It has secrets in it: it does not print.
#[derive(Serialize)]
struct Connect<'a> {
    verbose: bool,
    pedantic: bool,
    lang: &'static str,
    version: &'static str,
    name: &'a str,
    protocol: u8,
    headers: bool,
    no_responders: bool,
    echo: bool,
    tls_required: bool,
    #[serde(flatten)]
    login: Login<'a>,
}

#[derive(Default, Serialize)]
struct Login<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pass: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    auth_token: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    jwt: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nkey: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sig: Option<String>,
}

/// The line that logs in to a server, with its end.
///
/// # Errors
/// What is wrong with the login, in words without a secret.
pub(super) fn connect_line(
    auth: &NatsAuth,
    info: &ServerInfo,
    introduction: Introduction<'_>,
) -> Result<Vec<u8>, String> {
    let Introduction { name, echo, is_tls } = introduction;
    let connect = Connect {
        verbose: false,
        pedantic: false,
        lang: "rust",
        version: env!("CARGO_PKG_VERSION"),
        name,
        protocol: 1,
        headers: true,
        no_responders: true,
        echo,
        tls_required: is_tls,
        login: login(auth, info.nonce.as_deref())?,
    };
    let mut line = b"CONNECT ".to_vec();
    serde_json::to_writer(&mut line, &connect).map_err(|_| "the login can't be written as JSON")?;
    line.extend_from_slice(b"\r\n");
    Ok(line)
}

fn login<'a>(auth: &'a NatsAuth, nonce: Option<&str>) -> Result<Login<'a>, String> {
    Ok(match auth {
        NatsAuth::Anonymous => Login::default(),
        NatsAuth::Password { user, password } => {
            Login { user: Some(user), pass: Some(password.secret().expose_secret()), ..Login::default() }
        }
        NatsAuth::Token(token) => {
            Login { auth_token: Some(token.secret().expose_secret()), ..Login::default() }
        }
        NatsAuth::NkeySeed(file) => {
            let pair = pair(file.contents.expose_secret())?;
            let sig = signature(&pair, nonce)?;
            Login { nkey: Some(pair.public_key()), sig, ..Login::default() }
        }
        NatsAuth::Credentials(file) => {
            let parts = jwt_and_seed(file.contents.expose_secret());
            let (jwt, seed) = parts.ok_or("the credentials are no JWT and seed")?;
            let sig = signature(&pair(seed)?, nonce)?;
            Login { jwt: Some(jwt), sig, ..Login::default() }
        }
    })
}

fn pair(seed: &str) -> Result<KeyPair, String> {
    KeyPair::from_seed(seed).map_err(|_| "the nkey seed is none".to_owned())
}

/// A server that asks for no signature has no nonce.
fn signature(pair: &KeyPair, nonce: Option<&str>) -> Result<Option<String>, String> {
    let sign = |nonce: &str| pair.sign(nonce.as_bytes()).map(|signature| BASE64URL_NOPAD.encode(&signature));
    nonce.map(sign).transpose().map_err(|_| "the nkey can't sign".to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::config::{SecretFile, SecretText};

    const NONCE: &str = "a-nonce";

    /// What is said, as JSON.
    fn said(auth: &NatsAuth, nonce: Option<&str>) -> Value {
        let info = ServerInfo { nonce: nonce.map(str::to_owned), ..ServerInfo::default() };
        let introduction = Introduction { name: "a \"name\"\r\n", echo: false, is_tls: true };
        let line = connect_line(auth, &info, introduction).unwrap();
        let json = line.strip_prefix(b"CONNECT ").unwrap().strip_suffix(b"\r\n").unwrap();
        assert!(!json.contains(&b'\n'), "it is one line");
        serde_json::from_slice(json).unwrap()
    }

    fn secret(text: &str) -> SecretText {
        SecretText::Inline(text.to_owned().into())
    }

    fn file(contents: String) -> SecretFile {
        SecretFile { path: "some/file".into(), contents: contents.into() }
    }

    #[test]
    fn without_a_login() {
        let expected = json!({
            "verbose": false, "pedantic": false, "lang": "rust", "version": env!("CARGO_PKG_VERSION"),
            "name": "a \"name\"\r\n", "protocol": 1, "headers": true, "no_responders": true, "echo": false,
            "tls_required": true,
        });
        assert_eq!(said(&NatsAuth::Anonymous, Some(NONCE)), expected);
    }

    #[test]
    fn passwords_and_tokens_are_sent_as_they_are() {
        let password = "p\"\\ä\u{7}";
        let json = said(&NatsAuth::Password { user: "u".to_owned(), password: secret(password) }, None);
        assert_eq!((&json["user"], &json["pass"]), (&json!("u"), &json!(password)));
        let json = said(&NatsAuth::Token(secret("t")), None);
        assert_eq!((&json["auth_token"], json.get("user")), (&json!("t"), None));
    }

    fn assert_signed(pair: &KeyPair, json: &Value) {
        let signature = BASE64URL_NOPAD.decode(json["sig"].as_str().unwrap().as_bytes()).unwrap();
        pair.verify(NONCE.as_bytes(), &signature).unwrap();
    }

    #[test]
    fn seeds_sign_the_nonce_and_stay_here() {
        let pair = KeyPair::new_user();
        let seed = pair.seed().unwrap();
        let auth = NatsAuth::NkeySeed(file(seed.clone()));
        let json = said(&auth, Some(NONCE));
        assert_eq!(json["nkey"], pair.public_key());
        assert_signed(&pair, &json);
        assert!(!json.to_string().contains(&seed));
        assert_eq!(said(&auth, None).get("sig"), None);

        let creds = format!("---BEGIN---\nh.p.s\n---END---\n---BEGIN---\n{seed}\n---END---\n");
        let json = said(&NatsAuth::Credentials(file(creds)), Some(NONCE));
        assert_eq!((&json["jwt"], json.get("nkey")), (&json!("h.p.s"), None));
        assert_signed(&pair, &json);
        assert!(!json.to_string().contains(&seed));
    }

    #[test]
    fn what_is_no_seed_is_said_without_it() {
        for auth in
            [NatsAuth::NkeySeed(file("s3cret".to_owned())), NatsAuth::Credentials(file("s3cret".to_owned()))]
        {
            let introduction = Introduction { name: "a", echo: true, is_tls: false };
            let error = connect_line(&auth, &ServerInfo::default(), introduction).unwrap_err();
            assert!(!error.contains("s3cret"), "{error}");
        }
    }
}
