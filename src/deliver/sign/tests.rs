//! Literal messages and times against what the conventions publish.

use std::{fs, time::Duration};

use super::*;
use crate::config::{self, Sources};

const SYMMETRIC: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const ASYMMETRIC: &str =
    "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg==";

fn signer(settings: &[(&str, &str)]) -> Signer {
    signer_with(settings, &WatchedFiles::default())
}

fn signer_with(settings: &[(&str, &str)], files: &WatchedFiles) -> Signer {
    let url = ("url", "https://example.com/");
    let flag = |(key, value): &(&str, &str)| {
        (format!("routes.a.webhook.{key}"), (*value).to_owned(), "--set".to_owned())
    };
    let flags = [url].iter().chain(settings).map(flag).collect();
    let config = config::load(Sources { flags, ..Sources::default() }).unwrap();
    Signer::new(config.routes[0].webhook.signing.as_ref().unwrap(), files)
}

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

/// The fields as lines.
fn lines(signer: &Signer, id: &str, body: &str, now: SystemTime) -> Vec<String> {
    let fields = signer.sign(id.as_bytes(), body.as_bytes(), now).unwrap();
    let line = |(name, value): Field<'_>| format!("{name}: {}", str::from_utf8(&value).unwrap());
    fields.into_iter().flatten().map(line).collect()
}

#[test]
fn the_examples_of_standard_webhooks_are_met() {
    let both = signer(&[("signing.keys.a.secret", SYMMETRIC), ("signing.keys.b.secret", ASYMMETRIC)]);
    let message = ("msg_p5jXN8AQM9LWM0D4loKWxJek", r#"{"test": 2432232314}"#, at(1_614_265_330));
    let expected = [
        "webhook-timestamp: 1614265330",
        "webhook-signature: v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE= \
         v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg==",
    ];
    assert_eq!(lines(&both, message.0, message.1, message.2), expected);
}

#[test]
fn the_example_of_github_is_met() {
    let github =
        signer(&[("signing.scheme", "github"), ("signing.keys.a.secret", "It's a Secret to Everybody")]);
    let expected =
        "X-Hub-Signature-256: sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
    assert_eq!(lines(&github, "1", "Hello, World!", at(1)), [expected]);
}

#[test]
fn what_separates_is_escaped_in_an_id_where_it_is_signed() {
    let standard = signer(&[("signing.keys.a.secret", SYMMETRIC)]);
    assert_eq!(standard.escaped(b"order.17.5%2E").as_deref(), Some("order%2E17%2E5%2E"));
    assert_eq!(standard.escaped(b"TODOS:17:99"), None);
    let settings = [("signing.scheme", "custom"), ("signing.header", "x"), ("signing.keys.a.secret", "k")];
    let signed = ("signing.signed", "v1:{id}:{body}");
    let custom = signer(&[&settings[..], &[signed]].concat());
    assert_eq!(custom.escaped(b"TODOS:17.v1").as_deref(), Some("TODOS%3A17.v1"));
    assert_eq!(signer(&settings).escaped(b"a.b:c"), None);
}

#[test]
fn a_key_is_used_until_its_end() {
    let (old, new) = ("signing.keys.old", "signing.keys.new");
    let (now, end) = (at(4_000_000_000 - 1), at(4_000_000_000));
    let keys = |scheme: &str, secrets: [&str; 2]| {
        signer(&[
            ("signing.scheme", scheme),
            (&format!("{old}.secret"), secrets[0]),
            (&format!("{old}.until"), "2096-10-02T07:06:40Z"),
            (&format!("{new}.secret"), secrets[1]),
        ])
    };
    let signatures = |signer: &Signer, now| lines(signer, "1", "a", now).pop().unwrap();
    let standard = keys("standard-webhooks", [ASYMMETRIC, SYMMETRIC]);
    assert!(signatures(&standard, now).contains(" v1a,") && !signatures(&standard, end).contains("v1a,"));
    let stripe = keys("stripe", ["a", "b"]);
    assert_eq!(
        (signatures(&stripe, now).matches("v1=").count(), signatures(&stripe, end).matches("v1=").count()),
        (2, 1)
    );
    // Where there is room for one, the key that ends next makes it.
    let github = keys("github", ["a", "b"]);
    let of =
        |secret| signatures(&signer(&[("signing.scheme", "github"), ("signing.keys.a.secret", secret)]), now);
    assert_eq!((signatures(&github, now), signatures(&github, end)), (of("a"), of("b")));
}

#[test]
fn nothing_is_signed_when_all_keys_have_ended_and_nobody_pays_for_it() {
    let ending = [("signing.keys.a.secret", SYMMETRIC), ("signing.keys.a.until", "2096-10-02T07:06:40Z")];
    let fault = signer(&ending).sign(b"1", b"a", at(4_000_000_000)).unwrap_err();
    assert_eq!(fault.failure, Failure::Local);
}

#[test]
fn a_key_in_a_file_is_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    let swap = |text: &str| {
        fs::write(folder.path().join("new"), text).unwrap();
        fs::rename(folder.path().join("new"), &path).unwrap();
    };
    swap(SYMMETRIC);
    let files = WatchedFiles::default();
    let signer = signer_with(&[("signing.keys.a.secret_file", path.to_str().unwrap())], &files);
    let version = || lines(&signer, "1", "a", at(1)).pop().unwrap().split(',').next().unwrap().to_owned();
    assert_eq!(version(), "webhook-signature: v1");
    swap("no key");
    swap(ASYMMETRIC);
    let end = std::time::Instant::now() + Duration::from_secs(20);
    while version() != "webhook-signature: v1a" {
        assert!(std::time::Instant::now() < end, "the new key is not used");
        std::thread::yield_now();
    }
}
