//! Signatures: what the daemon sends is verified by the libraries that its receivers use, in three languages.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use data_encoding::BASE64;
use serde_json::json;

use testkit::daemon::Daemon;
use testkit::process::tool;
use testkit::stage::Stage;
use testkit::webhook::{Received, Webhook};

mod keys;
mod lives;
mod schemes;

const SOON: Duration = Duration::from_secs(60);

pub(crate) const SYMMETRIC: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const OTHER_SYMMETRIC: &str = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const ASYMMETRIC: &str =
    "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg==";
const PUBLIC: &str = "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=";

/// A library, or where there is none what its documents say, and the language that it runs in.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Verifier {
    /// `standardwebhooks` of crates.io.
    StandardRust,
    /// `standardwebhooks` of `PyPI`.
    StandardPython,
    /// `standardwebhooks` of npm.
    StandardNode,
    /// Ed25519 by Node's own cryptography.
    Asymmetric,
    /// `stripe` of npm.
    Stripe,
    /// `@octokit/webhooks-methods` of npm.
    GitHub,
    /// Shopify's documents, by Node's own cryptography.
    Shopify,
    /// `slack_sdk` of `PyPI`.
    Slack,
}

impl Verifier {
    /// Whether `request` is signed by the key `secret`; else why not.
    pub(crate) fn verify(self, request: &Received, secret: &str) -> Result<(), String> {
        let (program, script, how) = match self {
            Self::StandardRust => {
                let webhook = standardwebhooks::Webhook::new(secret).expect("it is a key");
                return webhook.verify(&request.body, &request.headers).map_err(|error| error.to_string());
            }
            Self::StandardPython => ("webhook-python", "verify.py", "standard"),
            Self::Slack => ("webhook-python", "verify.py", "slack"),
            Self::StandardNode => ("webhook-node", "verify.cjs", "standard"),
            Self::Asymmetric => ("webhook-node", "verify.cjs", "asymmetric"),
            Self::Stripe => ("webhook-node", "verify.cjs", "stripe"),
            Self::GitHub => ("webhook-node", "verify.cjs", "github"),
            Self::Shopify => ("webhook-node", "verify.cjs", "shopify"),
        };
        let headers = request.headers.iter();
        let headers: serde_json::Map<_, _> = headers
            .map(|(name, value)| (name.to_string(), value.to_str().expect("it is text").into()))
            .collect();
        let body = BASE64.encode(&request.body);
        let input = json!({ "how": how, "secret": secret, "headers": headers, "body": body }).to_string();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/verifiers").join(script);
        let mut command = Command::new(tool(program, &program.to_uppercase().replace('-', "_")));
        command.arg(script).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the library's language is there");
        child.stdin.take().expect("it is piped").write_all(input.as_bytes()).expect("it is read");
        let output = child.wait_with_output().expect("it ends");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.success() { Ok(()) } else { Err(said) }
    }

    /// A panic unless `request` is signed by the key `secret`, and would not be with another body.
    pub(crate) fn insist(self, request: &Received, secret: &str) {
        assert_eq!(self.verify(request, secret), Ok(()), "{self:?} with {secret}");
        let forged = Received { body: [&request.body[..], b" "].concat().into(), ..request.clone() };
        assert!(self.verify(&forged, secret).is_err(), "{self:?} takes a body that was changed");
    }
}

/// A daemon whose route signs with these settings of `webhook.signing`.
pub(crate) fn signing(daemon: Daemon, settings: &[(&str, &str)]) -> Daemon {
    let set =
        |daemon: Daemon, (key, value): &(&str, &str)| daemon.route(&format!("webhook.signing.{key}"), value);
    settings.iter().fold(daemon, set)
}

/// What a webhook gets for one message with this body and these headers, signed as `settings` say.
pub(crate) async fn request_signed_by(
    settings: &[(&str, &str)],
    headers: &[(&str, &str)],
    body: &str,
) -> Received {
    let hook = Webhook::start();
    let mut stage = Stage::set(&hook.url(), |daemon| signing(daemon, settings)).await;
    stage.publish_with(headers, body.to_owned()).await;
    hook.wait_for(|hook| hook.delivered() == 1, SOON).await;
    stage.close().await;
    hook.requests().remove(0)
}
