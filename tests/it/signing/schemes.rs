//! Each convention, verified as its receivers do.

use testkit::stage::Stage;
use testkit::webhook::Webhook;

use super::{ASYMMETRIC, OTHER_SYMMETRIC, PUBLIC, SOON, SYMMETRIC, Verifier, request_signed_by, signing};

/// With what makes a difference to whoever parses and writes it again, and with letters beyond ASCII.
const BODY: &str = "{ \"title\" : \"caf\u{e9} \u{1f600}\",\"n\":1.0 }\n";

#[tokio::test]
async fn the_libraries_of_three_languages_verify_standard_webhooks() {
    let request = request_signed_by(&[("keys.a.secret", SYMMETRIC)], &[], BODY).await;
    assert_eq!(request.body, BODY);
    for verifier in [Verifier::StandardRust, Verifier::StandardPython, Verifier::StandardNode] {
        verifier.insist(&request, SYMMETRIC);
        assert!(verifier.verify(&request, OTHER_SYMMETRIC).is_err(), "{verifier:?} takes another key");
    }
}

#[tokio::test]
async fn every_key_of_standard_webhooks_signs() {
    let keys =
        [("keys.a.secret", SYMMETRIC), ("keys.b.secret", ASYMMETRIC), ("keys.old.secret", OTHER_SYMMETRIC)];
    let request = request_signed_by(&keys, &[], BODY).await;
    let versions: Vec<_> = request
        .header("webhook-signature")
        .split(' ')
        .map(|signature| signature.split_once(',').unwrap().0)
        .collect();
    assert_eq!(versions, ["v1", "v1a", "v1"]);
    for secret in [SYMMETRIC, OTHER_SYMMETRIC] {
        Verifier::StandardRust.insist(&request, secret);
        Verifier::StandardPython.insist(&request, secret);
        Verifier::StandardNode.insist(&request, secret);
    }
    Verifier::Asymmetric.insist(&request, PUBLIC);
}

#[tokio::test]
async fn an_id_has_no_dot_where_it_is_signed() {
    let headers = [("Nats-Msg-Id", "order.17.%")];
    let request = request_signed_by(&[("keys.a.secret", SYMMETRIC)], &headers, BODY).await;
    assert_eq!(request.header("webhook-id"), "order%2E17%2E%25");
    Verifier::StandardRust.insist(&request, SYMMETRIC);
    let github = [("scheme", "github"), ("keys.a.secret", "k")];
    let request = request_signed_by(&github, &headers, BODY).await;
    assert_eq!(request.header("webhook-id"), "order.17.%25");
}

#[tokio::test]
async fn githubs_library_verifies_its_convention() {
    let settings = [("scheme", "github"), ("keys.a.secret", "It's a Secret to Everybody")];
    let request = request_signed_by(&settings, &[], BODY).await;
    Verifier::GitHub.insist(&request, "It's a Secret to Everybody");
    assert!(request.header("webhook-signature").is_empty());
}

#[tokio::test]
async fn stripes_library_verifies_its_convention_with_each_key() {
    let settings = [("scheme", "stripe"), ("keys.new.secret", "whsec_new"), ("keys.old.secret", "whsec_old")];
    let request = request_signed_by(&settings, &[], "{\"id\":\"evt_1\",\"object\":\"event\"}").await;
    Verifier::Stripe.insist(&request, "whsec_new");
    Verifier::Stripe.insist(&request, "whsec_old");
}

#[tokio::test]
async fn shopifys_convention_is_verified_as_its_documents_say() {
    let request = request_signed_by(&[("scheme", "shopify"), ("keys.a.secret", "hush")], &[], BODY).await;
    Verifier::Shopify.insist(&request, "hush");
}

#[tokio::test]
async fn slacks_library_verifies_its_convention() {
    let request = request_signed_by(&[("scheme", "slack"), ("keys.a.secret", "hush")], &[], BODY).await;
    Verifier::Slack.insist(&request, "hush");
}

#[tokio::test]
async fn a_convention_can_be_described() {
    // GitHub's, in other words: what its library verifies is what was described.
    let settings = [
        ("scheme", "custom"),
        ("header", "x-hub-signature-256"),
        ("prefix", "sha256="),
        ("keys.a.secret", "hush"),
    ];
    Verifier::GitHub.insist(&request_signed_by(&settings, &[], BODY).await, "hush");
    // And Stripe's.
    let settings = [
        ("scheme", "custom"),
        ("header", "Stripe-Signature"),
        ("signed", "{timestamp}.{body}"),
        ("lead", "t={timestamp},"),
        ("prefix", "v1="),
        ("separator", ","),
        ("keys.a.secret", "hush"),
    ];
    Verifier::Stripe.insist(&request_signed_by(&settings, &[], "{}").await, "hush");
}

#[tokio::test]
async fn no_publisher_sets_the_headers_of_a_signature() {
    let forged = [
        ("webhook-signature", "v1,AAAA"),
        ("Webhook_Timestamp", "1"),
        ("X-SIGN", "forged"),
        ("X_Sign", "forged"),
        ("X-Other", "kept"),
    ];
    let hook = Webhook::start();
    let settings = [("scheme", "custom"), ("header", "X-Sign"), ("keys.a.secret", "k")];
    let mut stage =
        Stage::set(&hook.url(), |daemon| signing(daemon, &settings).route("webhook.forward", "*")).await;
    stage.publish_with(&forged, "{}").await;
    hook.wait_for(|hook| hook.delivered() == 1, SOON).await;
    let request = hook.requests().remove(0);
    let names: Vec<_> = request.headers.keys().map(|name| name.as_str().replace('_', "-")).collect();
    let count = |wanted: &str| names.iter().filter(|name| *name == wanted).count();
    let counts = ["x-sign", "x-other", "webhook-signature", "webhook-timestamp"].map(count);
    assert_eq!(counts, [1, 1, 0, 0], "{names:?}");
    assert_eq!(request.header("x-sign").len(), 64, "it is no signature");
    assert_eq!(request.headers.get_all("x-sign").iter().count(), 1);
    stage.close().await;
}

#[tokio::test]
async fn a_body_that_is_made_is_signed_as_it_is_sent() {
    let hook = Webhook::start();
    let settings = [("keys.a.secret", SYMMETRIC)];
    let mut stage =
        Stage::set(&hook.url(), |daemon| signing(daemon, &settings).route("webhook.format", "envelope"))
            .await;
    stage.publish_with(&[("Nats-Msg-Id", "order.17")], BODY).await;
    hook.wait_for(|hook| hook.delivered() == 1, SOON).await;
    let request = hook.requests().remove(0);
    assert!(request.text().contains("\"subject\""), "{}", request.text());
    Verifier::StandardRust.insist(&request, SYMMETRIC);
    stage.close().await;
}
