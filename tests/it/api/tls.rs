//! The API over TLS.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use broadcaster::base::network::trust::trusting;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::spawn_blocking;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::RootCertStore;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};

use super::{ACTOR, SOON, with_tokens};
use testkit::daemon::{Daemon, run};
use testkit::tls::Authority;

/// What the API answers to a client that trusts this authority alone.
async fn ask(api: SocketAddr, authority: &Authority, request: &str) -> std::io::Result<String> {
    let mut roots = RootCertStore::empty();
    let certificate = CertificateDer::from_pem_slice(authority.pem().as_bytes()).expect("it is PEM");
    roots.add(certificate).expect("it is an authority");
    let connector = TlsConnector::from(Arc::new(trusting(Arc::new(roots), &[]).with_no_client_auth()));
    let name = ServerName::try_from("127.0.0.1").expect("it is an address");
    let mut stream = connector.connect(name, TcpStream::connect(api).await?).await?;
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

const ALIVE: &str = "GET /healthz HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_api_speaks_tls_and_shows_what_is_in_its_files() {
    let folder = tempfile::tempdir().expect("a directory can be made");
    let (authority, other) = (Authority::new(), Authority::new());
    let (cert, key) = authority.issue_loopback().write_to(folder.path(), "api");
    let daemon =
        Daemon::new().env("NATS_URL", "nats://127.0.0.1:1").env("WEBHOOK_URL", "http://127.0.0.1:1/");
    let daemon = with_tokens(daemon)
        .env("BROADCASTER__SERVER__TLS__CERT_FILE", &cert)
        .env("BROADCASTER__SERVER__TLS__KEY_FILE", &key)
        .start()
        .await;
    let api = daemon.api();
    let answer = ask(api, &authority, ALIVE).await.expect("it is trusted");
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("alive"), "{answer}");
    let unauthorized = ALIVE.replace("/healthz", "/api/v1/routes");
    let answer = ask(api, &authority, &unauthorized).await.expect("it is trusted");
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    assert!(ask(api, &other, ALIVE).await.is_err(), "anybody's certificate is shown");

    // Probes find out by themselves, and by the URL.
    let (url, address, cert_path) = (format!("https://{api}"), api.to_string(), cert.display().to_string());
    let (by_url, by_settings, in_the_clear) = spawn_blocking(move || {
        let settings =
            [("BROADCASTER__SERVER__API", &*address), ("BROADCASTER__SERVER__TLS__CERT_FILE", &*cert_path)];
        let live = ["health", "--live"];
        let plain = format!("http://{address}");
        (
            run(&["health", "--live", "--url", &url], &[]),
            run(&live, &settings),
            run(&["health", "--live", "--url", &plain], &[]),
        )
    })
    .await
    .expect("they end");
    assert!(by_url.status.success(), "{by_url:?}");
    assert!(by_settings.status.success(), "{by_settings:?}");
    assert_eq!(in_the_clear.status.code(), Some(1), "{in_the_clear:?}");

    // One that does not speak TLS, and one that says nothing more, keep nobody out.
    let mut silent = TcpStream::connect(api).await.expect("it listens");
    silent.write_all(&[22, 3, 1]).await.expect("it is open");
    // Renewed: both files are there for a moment that do not belong together, which changes nothing.
    other.issue_loopback().write_to(folder.path(), "api");
    let begin = Instant::now();
    while ask(api, &other, ALIVE).await.is_err() {
        assert!(begin.elapsed() < SOON, "the new certificate is not shown");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    // That is no other setting, and no restart is needed for it.
    let reload = ALIVE.replace("GET /healthz", "POST /api/v1/reload");
    let reload = reload.replace("\r\n\r\n", &format!("\r\nauthorization: Bearer {ACTOR}\r\n\r\n"));
    let answer = ask(api, &other, &reload).await.expect("it is trusted");
    assert!(answer.contains("\"need_restart\":[]"), "{answer}");
    assert_eq!(
        testkit::http::get(daemon.metrics_address(), "/metrics").await.expect("in the clear").status,
        200
    );
    assert!(daemon.logs_containing("PRIVATE KEY").is_empty());
}

#[tokio::test]
async fn a_command_shows_its_token_to_whom_it_trusts_alone() {
    let folder = tempfile::tempdir().expect("a directory can be made");
    let authority = Authority::new();
    let (cert, key) = authority.issue_loopback().write_to(folder.path(), "api");
    let daemon =
        Daemon::new().env("NATS_URL", "nats://127.0.0.1:1").env("WEBHOOK_URL", "http://127.0.0.1:1/");
    let daemon = with_tokens(daemon)
        .env("BROADCASTER__SERVER__TLS__CERT_FILE", &cert)
        .env("BROADCASTER__SERVER__TLS__KEY_FILE", &key)
        .start()
        .await;
    let (token, trusted) = (folder.path().join("token"), folder.path().join("authority.pem"));
    std::fs::write(&token, ACTOR).expect("it is writable");
    std::fs::write(&trusted, authority.pem()).expect("it is writable");
    let url = format!("https://{}", daemon.api());
    let level = ["log-level", "--url", &url, "--token-file", token.to_str().expect("it is text")];
    let refused = run(&level, &[]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(69), "{said}");
    assert!(
        said.contains("certificate of an unknown authority (UnknownIssuer): name it by --ca-file"),
        "{said}"
    );
    let told = run(&[&level[..], &["--ca-file", trusted.to_str().expect("it is text")]].concat(), &[]);
    assert_eq!(String::from_utf8_lossy(&told.stdout), "info\n", "{}", String::from_utf8_lossy(&told.stderr));
}
