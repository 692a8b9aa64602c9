//! Variables that look like settings.

use super::{ROUTE, given};

#[test]
fn what_other_programs_read_is_not_ignored_in_silence() {
    for (name, said) in [
        ("NATS_USER", "NATS_USER is not read: set BROADCASTER__NATS__USER"),
        ("NATS_PASSWORD", "NATS_PASSWORD is not read: set BROADCASTER__NATS__PASSWORD"),
        ("NATS_CREDS", "NATS_CREDS is not read: set BROADCASTER__NATS__CREDENTIALS_FILE"),
        ("NATS_CA", "NATS_CA is not read: set BROADCASTER__NATS__TLS__CA_FILE"),
        (
            "NATS_CONTEXT",
            "NATS_CONTEXT is not read: contexts are the nats command's own, set the keys of [nats]",
        ),
        ("broadcaster__nats__token", "broadcaster__nats__token is not read: set BROADCASTER__NATS__TOKEN"),
        ("webhook_url", "webhook_url is not read: set WEBHOOK_URL"),
        ("BROADCASTER_NATS_TOKEN", "BROADCASTER_NATS_TOKEN is not read: set BROADCASTER__NATS__TOKEN"),
        (
            "BROADCASTER_ROUTES_TODOS_WEBHOOK_TIMEOUT",
            "BROADCASTER_ROUTES_TODOS_WEBHOOK_TIMEOUT is not read: set BROADCASTER__ROUTES__NAME__SECTION__KEY",
        ),
    ] {
        assert_eq!(given(ROUTE).var(name, "s3cret").warnings(), [said]);
    }
}

#[test]
fn nothing_is_said_where_nothing_is_missing() {
    let given = given(ROUTE)
        .var("NATS_USER", "")
        .var("NATS_TOKEN", "x")
        .var("BROADCASTER__NATS__TOKEN", "x")
        .var("BROADCASTER_NATS_PORT_4222_TCP", "tcp://10.0.0.1:4222")
        .var("BROADCASTER_NATS_SERVICE_HOST", "10.0.0.1")
        .var("NATS_PORT", "tcp://10.0.0.1:4222")
        .var("PATH", "/bin");
    assert_eq!(given.warnings(), Vec::<String>::new());
}
