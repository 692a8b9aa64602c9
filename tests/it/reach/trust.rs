//! Which certificates are taken, beside those that an authority of the system has signed.

use std::path::Path;
use std::process::{Command, Output};

use testkit::{
    daemon,
    stage::Stage,
    tls::{Authority, TlsIdentity},
    webhook::Webhook,
};

const HERE: [&str; 2] = ["127.0.0.1", "localhost"];

/// What comes of one attempt at a webhook that shows `identity`, for a daemon whose `ca_file` holds `named`.
async fn code(identity: &TlsIdentity, named: &str) -> String {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let file = directory.path().join("ca.pem");
    std::fs::write(&file, named).expect("the directory is writable");
    let hook = Webhook::start_tls(identity);
    let file = file.to_str().expect("the path is text");
    Stage::one_attempt(&hook.url(), |daemon| daemon.route("webhook.tls.ca_file", file)).await
}

/// A certificate as people make them.
fn by_openssl(directory: &Path, more: &[&str]) -> TlsIdentity {
    let path = |name: &str| directory.join(name).display().to_string();
    let output = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"])
        .args(["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", &path("key"), "-out", &path("cert")])
        .args(more)
        .output()
        .expect("openssl runs");
    assert!(output.status.success(), "{output:?}");
    let read = |name| std::fs::read_to_string(directory.join(name)).expect("openssl has written it");
    TlsIdentity { certificate: read("cert"), key: read("key") }
}

#[tokio::test]
async fn a_certificate_that_signs_itself_is_taken_where_it_is_named() {
    for is_ca in [true, false] {
        let identity = TlsIdentity::self_signed(&HERE, is_ca);
        assert_eq!(code(&identity, &identity.certificate).await, "200", "is_ca: {is_ca}");
    }
}

#[tokio::test]
async fn what_openssl_makes_is_taken_where_it_is_named() {
    let directory = tempfile::tempdir().unwrap();
    for more in [&[][..], &["-addext", "basicConstraints=critical,CA:FALSE"]] {
        let identity = by_openssl(directory.path(), more);
        assert_eq!(code(&identity, &identity.certificate).await, "200", "{more:?}");
    }
}

#[tokio::test]
async fn the_certificate_of_a_server_is_taken_where_it_is_named_itself_and_not_its_authority() {
    let identity = Authority::new().issue_loopback();
    assert_eq!(code(&identity, &identity.certificate).await, "200");
}

#[tokio::test]
async fn a_named_certificate_has_to_be_for_the_name_and_of_today_and_the_very_one() {
    let elsewhere = TlsIdentity::self_signed(&["elsewhere.example"], true);
    assert_eq!(code(&elsewhere, &elsewhere.certificate).await, "tls", "another name");
    let expired = TlsIdentity::self_signed_expired(&HERE);
    assert_eq!(code(&expired, &expired.certificate).await, "tls", "expired");
    let (one, other) = (TlsIdentity::self_signed(&HERE, true), TlsIdentity::self_signed(&HERE, true));
    assert_eq!(code(&one, &other.certificate).await, "tls", "another key");
}

/// Runs `check` for an https webhook with these settings, and this variable.
fn check(settings: &[&str], variable: (&str, &str)) -> Output {
    let mut arguments = vec!["check"];
    arguments.extend(settings.iter().flat_map(|setting| ["--set", setting]));
    daemon::run(&arguments, &[("WEBHOOK_URL", "https://hook.example/"), variable])
}

#[test]
fn variables_that_name_no_authority_are_a_mistake() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).display().to_string();
    std::fs::write(path("empty"), "").unwrap();
    std::fs::write(path("text"), "no certificate").unwrap();
    std::fs::create_dir(path("folder")).unwrap();
    for (variable, name) in [
        ("SSL_CERT_FILE", "empty"),
        ("SSL_CERT_FILE", "text"),
        ("SSL_CERT_FILE", "missing"),
        ("SSL_CERT_FILE", "folder"),
        ("SSL_CERT_DIR", "folder"),
        ("SSL_CERT_DIR", "missing"),
    ] {
        let output = check(&[], (variable, &path(name)));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(78), "{variable}={name}: {said}");
        assert!(said.contains(variable) && said.contains("authorities"), "{said}");
    }
}

#[test]
fn variables_that_name_authorities_or_nobody_needs_are_fine() {
    let directory = tempfile::tempdir().unwrap();
    let ca = Authority::new().write_to(directory.path());
    let ca = ca.to_str().unwrap();
    let folder = directory.path().to_str().unwrap();
    let own = [
        &*format!("routes.default.webhook.tls.ca_file={ca}"),
        "routes.default.webhook.tls.system_roots=false",
    ];
    for (settings, variable) in [
        (&[][..], ("SSL_CERT_FILE", ca)),
        (&[], ("SSL_CERT_DIR", folder)),
        (&own, ("SSL_CERT_FILE", "/nonexistent")),
        (&["routes.default.webhook.url=http://hook.example/"], ("SSL_CERT_FILE", "/nonexistent")),
    ] {
        let output = check(settings, variable);
        assert!(output.status.success(), "{settings:?} {variable:?}: {output:?}");
    }
}

#[tokio::test]
async fn the_systems_authorities_are_not_trusted_where_that_is_set() {
    let (systems, own) = (Authority::new(), Authority::new());
    let directory = tempfile::tempdir().unwrap();
    let system_file = systems.write_to(directory.path());
    let own_file = directory.path().join("own.pem");
    std::fs::write(&own_file, own.pem()).unwrap();
    for (switch, signed_by, code) in
        [("true", &systems, "200"), ("false", &systems, "tls"), ("false", &own, "200"), ("true", &own, "200")]
    {
        let hook = Webhook::start_tls(&signed_by.issue_loopback());
        let found = Stage::one_attempt(&hook.url(), |daemon| {
            daemon
                .env("SSL_CERT_FILE", &system_file)
                .route("webhook.tls.ca_file", own_file.to_str().unwrap())
                .route("webhook.tls.system_roots", switch)
        })
        .await;
        assert_eq!(found, code, "system_roots = {switch}");
    }
}
