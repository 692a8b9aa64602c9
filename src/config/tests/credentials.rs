//! Files that hold what is no single secret: logins, certificates, keys.

use nkeys::KeyPair;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use secrecy::ExposeSecret as _;

use super::{Given, ROUTE, creds, given};
use crate::config::{NatsAuth, load};

fn nats_file(key: &str, contents: &str) -> Given {
    let given = given(ROUTE);
    let path = given.beside("secret", contents);
    given.flag(key, path.to_str().unwrap(), "--set")
}

#[test]
fn credentials_and_seeds_are_looked_at() {
    let seed = KeyPair::new_user().seed().unwrap();
    let config = nats_file("nats.credentials_file", &creds("h.p.s", &seed)).load();
    assert!(matches!(&config.nats.auth, NatsAuth::Credentials(_)));
    assert!(config.to_toml().contains("/secret\""), "the path is no secret: {}", config.to_toml());
    nats_file("nats.credentials_file", &creds("h.p.s", &seed).replace('\n', "\r\n")).load();
    let config = nats_file("nats.nkey_seed_file", &format!("{seed}\n")).load();
    assert!(matches!(config.nats.auth, NatsAuth::NkeySeed(_)));
}

#[test]
fn what_no_server_would_take_is_found_before_one_is_asked() {
    let seed = KeyPair::new_user().seed().unwrap();
    let account = KeyPair::new_account().seed().unwrap();
    let (torn, _) = seed.split_at(seed.len() - 1);
    let wrong = [
        "x".to_owned(),
        creds("h.p.s", torn),
        creds("h.p.s", &account),
        creds("no-jwt", &seed),
        creds("", &seed),
        creds("h.p.s", &seed).replace("-----BEGIN USER", "BEGIN USER"),
        creds("h.p.s", &seed).split("-----BEGIN USER").next().unwrap().to_owned(),
    ];
    for wrong in wrong {
        assert_eq!(
            nats_file("nats.credentials_file", &wrong).error(),
            "nats.credentials_file: expected a NATS user JWT and its nkey seed in DIR/secret (in flag --set)",
            "{wrong}"
        );
    }
    for wrong in [torn, &account, "SUAB2", "UABC", &format!("{seed}\n{seed}")] {
        assert_eq!(
            nats_file("nats.nkey_seed_file", wrong).error(),
            "nats.nkey_seed_file: expected the nkey seed of a user, SU…, in DIR/secret (in flag --set)",
            "{wrong}"
        );
    }
}

#[test]
fn a_login_is_what_its_files_hold_now() {
    let seeds = [(); 2].map(|()| KeyPair::new_user().seed().unwrap());
    let [old, new] = &seeds;
    for (key, before, after, torn) in [
        ("nats.credentials_file", creds("h.p.s", old), creds("n.p.s", new), creds("h.p.s", "SUAB")),
        ("nats.nkey_seed_file", old.clone(), new.clone(), "SUAB".to_owned()),
        ("nats.token_file", "old-s3cret".to_owned(), "new-s3cret".to_owned(), "a\ns3cret".to_owned()),
        ("nats.password_file", "old-s3cret".to_owned(), "new-s3cret".to_owned(), String::new()),
    ] {
        let given = nats_file(key, &before);
        let given = if key.contains("password") { given.flag("nats.user", "u", "--set") } else { given };
        let at_start = load(given.sources.clone()).unwrap().nats.login();
        assert_eq!(held(&at_start.clone().read_again().unwrap()), held(&at_start), "{key}");
        given.beside("secret", &after);
        let now = at_start.clone().read_again().unwrap();
        assert_ne!(held(&now), held(&at_start), "{key}");
        assert_eq!(held(&now), held(&load(given.sources.clone()).unwrap().nats.login()), "{key}");
        given.beside("secret", &torn);
        let error = at_start.clone().read_again().unwrap_err();
        assert!(error.contains("/secret") && !error.contains("s3cret"), "{key}: {error}");
        std::fs::remove_file(given.folder.path().join("secret")).unwrap();
        let error = at_start.read_again().unwrap_err();
        assert!(error.contains("/secret: No such file"), "{key}: {error}");
    }
}

/// The secret of a login.
fn held(login: &NatsAuth) -> String {
    let secret = match login {
        NatsAuth::Credentials(file) | NatsAuth::NkeySeed(file) => &file.contents,
        NatsAuth::Password { password, .. } => password.secret(),
        NatsAuth::Token(token) => token.secret(),
        NatsAuth::Anonymous => return String::new(),
    };
    secret.expose_secret().to_owned()
}

#[test]
fn certificates_are_parsed_at_load() {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let given = given(ROUTE);
    let cert = given.beside("cert.pem", cert.pem()).to_str().unwrap().to_owned();
    let key = given.beside("key.pem", signing_key.serialize_pem()).to_str().unwrap().to_owned();
    let config = given
        .flag("nats.tls.ca_file", &cert, "--set")
        .flag("nats.tls.cert_file", &cert, "--set")
        .flag("nats.tls.key_file", &key, "--set")
        .flag("routes.todos.webhook.tls.ca_file", &cert, "--set")
        .load();
    assert_eq!(config.routes[0].webhook.tls.ca.as_ref().map(|ca| ca.certificates.len()), Some(1));
    assert!(config.nats.tls.client.is_some() && config.nats.tls.ca_file.is_some());
}

#[test]
fn files_without_what_belongs_in_them_are_refused() {
    let given = given(ROUTE);
    let path = given.beside("none.pem", "nothing").to_str().unwrap().to_owned();
    let errors =
        given.flag("nats.tls.cert_file", &path, "--a").flag("nats.tls.key_file", &path, "--b").errors();
    assert_eq!(
        errors,
        [
            "nats.tls.cert_file: expected certificates in PEM in DIR/none.pem (in flag --a)",
            "nats.tls.key_file: expected a private key in PEM, not encrypted, in DIR/none.pem (in flag --b)",
        ]
    );
}

#[test]
fn a_key_belongs_to_its_certificate() {
    let given = given(ROUTE);
    let pair = |name: &str| {
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed([name.to_owned()]).unwrap();
        (cert.pem(), signing_key.serialize_pem())
    };
    let cert = given.beside("cert.pem", pair("a").0);
    let key = given.beside("key.pem", pair("a").1);
    let mut given = given;
    for tls in ["nats.tls", "routes.todos.webhook.tls"] {
        let key_of = |name: &str| format!("{tls}.{name}");
        given = given.flag(&key_of("cert_file"), cert.to_str().unwrap(), "--set");
        given = given.flag(&key_of("key_file"), key.to_str().unwrap(), "--set");
    }
    let expected =
        |key: &str| format!("{key}: expected the key of the certificate in cert_file (in flag --set)");
    assert_eq!(given.errors(), ["nats.tls.key_file", "routes.todos.webhook.tls.key_file"].map(expected));
}

#[test]
fn what_is_no_certificate_inside_is_no_authority() {
    let given = given(ROUTE);
    let path = given.beside("ca.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    let error = given.flag("routes.todos.webhook.tls.ca_file", path.to_str().unwrap(), "--set").error();
    assert_eq!(
        error,
        "routes.todos.webhook.tls.ca_file: expected certificates that can be read in DIR/ca.pem (in flag --set)"
    );
}
