//! `broadcaster keys`: makes keys to sign requests with, and to seal secrets. The key itself goes to the standard output, so that it can be sent
//! into a file, and what is said about it to the standard error.

use std::io::{self, Read, Write};

use clap::{Args, Subcommand};
use data_encoding::BASE64;
use ring::{
    rand::{SecureRandom as _, SystemRandom},
    signature::{Ed25519KeyPair, KeyPair as _},
};
use secrecy::zeroize::Zeroizing;
use serde_json::json;
use thiserror::Error;

use crate::config::{self, RouteName, SECRET_PREFIX, SEED, SYMMETRIC_PREFIX, SigningSecret, new_key, seal};

/// What is to be done with keys.
#[derive(Debug, Args)]
pub struct KeysOptions {
    /// What to do.
    #[command(subcommand)]
    pub action: KeysAction,
}

/// What can be done with keys.
#[derive(Clone, Debug, Subcommand)]
#[expect(clippy::doc_markdown, reason = "these comments are the help text")]
pub enum KeysAction {
    /// Print a new key for routes.NAME.webhook.signing.keys: whsec_..., which the receiver needs too.
    New {
        /// A pair instead: whsk_... to sign with, of which the receiver gets only the public key, whpk_...
        #[arg(long, conflicts_with = "sealing")]
        asymmetric: bool,
        /// A key for endpoints.identity_file instead, SX..., to whose public key, X..., secrets are sealed.
        #[arg(long)]
        sealing: bool,
    },
    /// Print the public key, whpk_... or X..., of the secret key whsk_... or SX... on standard input.
    Public,
    /// Seal the secret on standard input, to stand in a value of the bucket of endpoints.
    Seal {
        /// The route in whose value it will stand: it is of no use in another one.
        #[arg(long, value_name = "NAME")]
        route: RouteName,
        /// The public key of the fleet, X...
        #[arg(long, value_name = "KEY")]
        to: String,
    },
}

/// Why there is no key.
#[derive(Debug, Error)]
pub enum KeysError {
    /// The standard input can't be read, or nothing can be written.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The system has no randomness.
    #[error("the system gives no random numbers")]
    Random,
    /// What was read is no secret key.
    #[error("{0}")]
    Wrong(String),
    /// What was read is a key of the other kind.
    #[error("a whsec_ key has no public part: the receiver needs the key itself")]
    Symmetric,
}

/// No secret that is sealed is longer, in bytes.
const LARGEST: u64 = 64 * 1024;
/// No key is longer, in bytes.
const LONGEST: u64 = 1024;

/// Does what `action` says.
///
/// # Errors
/// Why there is no key. What was read is not repeated.
pub fn run(
    action: KeysAction,
    input: impl Read,
    mut output: impl Write,
    mut explanation: impl Write,
) -> Result<(), KeysError> {
    match action {
        KeysAction::New { sealing: true, .. } => {
            let (seed, public) = new_key().ok_or(KeysError::Random)?;
            let seed = Zeroizing::new(seed);
            writeln!(output, "{}", *seed)?;
            writeln!(
                explanation,
                "A secret: keep it in the file that endpoints.identity_file names. Secrets are sealed to the public key:"
            )?;
            writeln!(explanation, "{public}")?;
        }
        KeysAction::New { asymmetric: false, .. } => {
            let key = random()?;
            let secret = Zeroizing::new(format!("{SYMMETRIC_PREFIX}{}", BASE64.encode(&*key)));
            writeln!(output, "{}", *secret)?;
            writeln!(
                explanation,
                "A secret: keep it in a file that only broadcaster reads, and give it to the receiver."
            )?;
        }
        KeysAction::New { asymmetric: true, .. } => {
            let seed = random()?;
            let pair = Ed25519KeyPair::from_seed_unchecked(&*seed).map_err(|_| KeysError::Random)?;
            let whole = Zeroizing::new([&*seed, pair.public_key().as_ref()].concat());
            let secret = Zeroizing::new(format!("{SECRET_PREFIX}{}", BASE64.encode(&whole)));
            let public = public_key(&secret)?;
            writeln!(output, "{}", *secret)?;
            writeln!(
                explanation,
                "A secret: keep it in a file that only broadcaster reads. The receiver needs the public key:"
            )?;
            writeln!(explanation, "{public}")?;
        }
        KeysAction::Public => {
            let mut text = Zeroizing::new(String::new());
            input.take(LONGEST).read_to_string(&mut text)?;
            writeln!(output, "{}", public_key(text.trim())?)?;
        }
        KeysAction::Seal { route, to } => {
            let mut text = Zeroizing::new(String::new());
            input.take(LARGEST).read_to_string(&mut text)?;
            let secret = text.trim_end_matches(['\r', '\n']);
            let sealed = seal(secret, &route, &to).map_err(KeysError::Wrong)?;
            writeln!(output, "{}", json!({ "sealed": sealed }))?;
        }
    }
    Ok(())
}

fn public_key(secret: &str) -> Result<String, KeysError> {
    if secret.starts_with(SEED) {
        return config::public_key(secret).ok_or_else(|| KeysError::Wrong("expected a key, SX…".to_owned()));
    }
    SigningSecret::standard(secret).map_err(KeysError::Wrong)?.public_key().ok_or(KeysError::Symmetric)
}

fn random() -> Result<Zeroizing<[u8; 32]>, KeysError> {
    let mut bytes = Zeroizing::new([0; 32]);
    SystemRandom::new().fill(&mut *bytes).map_err(|_| KeysError::Random)?;
    Ok(bytes)
}
