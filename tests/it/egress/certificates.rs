//! Certificates that are shown to a webhook, a real nginx that demands one; and a webhook that may be anybody.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, SystemTime};

use testkit::{
    daemon::Daemon,
    nginx::Nginx,
    publisher::Publisher,
    stage::Stage,
    tls::{Authority, TlsIdentity},
    webhook::Webhook,
};

use super::SOON;

/// Shows what is in `NAME.pem` and `NAME.key` of this folder, and trusts its `ca.pem`.
fn showing(daemon: Daemon, directory: &Path, name: &str) -> Daemon {
    let path = |name: String| directory.join(name).display().to_string();
    daemon
        .route("webhook.tls.ca_file", &path("ca.pem".to_owned()))
        .route("webhook.tls.cert_file", &path(format!("{name}.pem")))
        .route("webhook.tls.key_file", &path(format!("{name}.key")))
}

/// What nginx answers to whoever shows `identity`, or nothing.
async fn code(authority: &Authority, identity: Option<&TlsIdentity>, more: &str) -> String {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let ca = authority.write_to(directory.path());
    let nginx = Nginx::demanding(&authority.issue_loopback(), &authority.pem(), more).await;
    let described = |daemon: Daemon| match identity {
        None => daemon.route("webhook.tls.ca_file", ca.to_str().expect("the path is text")),
        Some(identity) => {
            identity.write_to(directory.path(), "client");
            showing(daemon, directory.path(), "client")
        }
    };
    Stage::one_attempt(&nginx.https_url(), described).await
}

#[tokio::test]
async fn a_webhook_that_demands_a_certificate_gets_it() {
    let authority = Authority::new();
    let good = authority.issue(&["client.example"]);
    assert_eq!(code(&authority, Some(&good), "").await, "200");
    let strange = Authority::new().issue(&["client.example"]);
    let expired = authority.issue_expired(&["client.example"]);
    // What nginx says by itself, and what docs/egress.md has it say.
    for (more, status) in
        [("", "400"), ("error_page 495 496 = @refused; location @refused { return 403; }", "403")]
    {
        for identity in [None, Some(&strange), Some(&expired)] {
            assert_eq!(code(&authority, identity, more).await, status);
        }
    }
}

/// The serial number as nginx writes it.
fn serial(identity: &TlsIdentity, directory: &Path) -> String {
    let file = directory.join("serial.pem");
    std::fs::write(&file, &identity.certificate).expect("the directory is writable");
    let output = std::process::Command::new("openssl")
        .args(["x509", "-noout", "-serial", "-in"])
        .arg(file)
        .output()
        .expect("openssl runs");
    let text = String::from_utf8_lossy(&output.stdout);
    text.trim().trim_start_matches("serial=").to_owned()
}

/// Puts a whole file in the place of another one.
fn swap(directory: &Path, name: &str, text: &str) {
    let new = directory.join("new");
    std::fs::write(&new, text).expect("the directory is writable");
    std::fs::rename(new, directory.join(name)).expect("a file can be renamed");
}

#[tokio::test]
async fn a_certificate_is_renewed_under_load_without_a_lost_message() {
    const MESSAGES: u64 = 2_000;
    let authority = Authority::new();
    let directory = tempfile::tempdir().unwrap();
    let folder = directory.path();
    authority.write_to(folder);
    let (first, second) = (authority.issue(&["client.example"]), authority.issue(&["client.example"]));
    first.write_to(folder, "client");
    let nginx = Nginx::demanding(&authority.issue_loopback(), &authority.pem(), "").await;
    let mut stage = Stage::set(&nginx.https_url(), |daemon| {
        showing(daemon, folder, "client").route("webhook.max_connection_age", "100ms")
    })
    .await;
    let (old, new) = (serial(&first, folder), serial(&second, folder));
    let shown = |serial: &str| nginx.clients().iter().filter(|[_, shown, _]| shown == serial).count();
    let mut publisher = Publisher::new(stage.client.clone(), "todos.events");
    publisher.burst(MESSAGES / 2).await;
    testkit::poll(SOON, || (shown(&old) > 0).then_some(())).await.expect("the first is shown");
    // Half of a pair is no pair: the old one is used further, and that is said once.
    swap(folder, "client.pem", &second.certificate);
    stage.daemon.wait_log("a file can't be read again", SOON).await;
    publisher.burst(MESSAGES / 4).await;
    swap(folder, "client.key", &second.key);
    stage.daemon.wait_log("file read again", SOON).await;
    publisher.burst(MESSAGES / 4).await;
    stage.wait_processed(u32::try_from(MESSAGES).unwrap()).await;
    // What was open before may be in use for as long as a connection lives.
    let end = SystemTime::now() + SOON;
    while shown(&new) == 0 {
        assert!(SystemTime::now() < end, "the second is never shown");
        publisher.burst(1).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let sent = publisher.count();
    stage.wait_processed(u32::try_from(sent).unwrap()).await;
    stage.assert_codes([("200", sent)]).await;
    let told = stage.daemon.logs_containing("a file can't be read again");
    assert!(told.len() == 1 && told[0].contains("the key of the certificate"), "{told:?}");
    stage.close().await;
    let requests = nginx.clients();
    let different: BTreeSet<_> = requests.iter().map(|[.., id]| id).collect();
    assert_eq!((requests.len() as u64, different.len() as u64), (sent, sent), "requests, different messages");
    assert!(requests.iter().all(|[status, shown, _]| status == "200" && (*shown == old || *shown == new)));
}

#[tokio::test]
async fn authorities_are_read_again() {
    let (before, after) = (Authority::new(), Authority::new());
    let directory = tempfile::tempdir().unwrap();
    let ca = before.write_to(directory.path());
    let hook = Webhook::start_tls(&after.issue_loopback());
    let mut stage = Stage::set(&hook.url(), |daemon| {
        daemon
            .impatient()
            .route("webhook.tls.ca_file", ca.to_str().unwrap())
            .route("breaker.open_for", "100ms")
    })
    .await;
    stage.publish("0").await;
    let failed = |metrics: &testkit::metrics::Metrics| {
        metrics.sum("broadcaster_webhook_requests_total", &[("code", "tls")]) >= 1.0
    };
    stage.daemon.wait_metrics(failed, SOON).await;
    swap(directory.path(), "ca.pem", &after.pem());
    stage.wait_processed(1).await;
    hook.assert_exactly_once(0..1);
    stage.close().await;
}

#[tokio::test]
async fn anybody_is_trusted_only_where_that_is_set_and_warned_of() {
    const HERE: &[&str] = &["elsewhere.example"];
    for identity in [
        TlsIdentity::self_signed_expired(HERE),
        Authority::new().issue(HERE),
        TlsIdentity::self_signed(HERE, true),
    ] {
        let hook = Webhook::start_tls(&identity);
        for (setting, code) in [("true", "200"), ("false", "tls")] {
            let mut stage = Stage::set(&hook.url(), |daemon| {
                daemon
                    .route("webhook.tls.dangerously_accept_any_certificate", setting)
                    .without_breaker()
                    .route("retry.attempts", "1")
            })
            .await;
            stage.publish("0").await;
            stage.wait_processed(1).await;
            stage.assert_codes([(code, 1)]).await;
            let said = stage.daemon.logs_containing("the webhook may be anybody");
            assert_eq!(said.len(), usize::from(setting == "true"), "{said:?}");
            stage.close().await;
        }
    }
}
