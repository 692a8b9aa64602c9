//! Variables that other clients take proxies from.

use testkit::daemon::Daemon;

const SAID: &str = "proxies are not supported";

#[tokio::test]
async fn a_proxy_that_is_set_is_said_once_to_be_ignored() {
    for (variable, value, lines) in [
        ("HTTP_PROXY", "http://user:s3cret@proxy.example:3128", 1),
        ("https_proxy", "http://proxy.example:3128", 1),
        ("ALL_PROXY", "socks5://proxy.example", 1),
        ("HTTPS_PROXY", "", 0),
        ("NO_PROXY", "example", 0),
    ] {
        let daemon =
            Daemon::new().env("WEBHOOK_URL", "http://127.0.0.1:1/").env(variable, value).start().await;
        let said = daemon.logs_containing(SAID);
        assert_eq!(said.len(), lines, "{variable}={value}: {said:?}");
        assert!(said.iter().all(|line| line.contains(variable) && !line.contains("s3cret")), "{said:?}");
    }
}
