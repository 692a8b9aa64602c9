//! What broadcaster logs in to a webhook with: the header `Authorization` of its requests.
//!
//! A request takes what is there and waits for nothing: files are read and tokens fetched elsewhere, once for all lanes.
//! That there is nothing to log in with is no failure of a message: its route waits until there is
//! ([`Readiness`]).

pub mod aws;
mod keeper;
pub mod oauth2;
pub mod readiness;
mod renewal;
mod secret;

use std::{path::Path, sync::Arc, time::Duration};

use http::HeaderValue;
use secrecy::ExposeSecret as _;

use self::{aws::Signer, keeper::Keeper, oauth2::TokenServer, readiness::Readiness};
use super::{connect::network::Network, fault::Fault};
use crate::{
    base::{
        clock::{Clock, Time},
        watched_file::{Watched, WatchedFiles},
    },
    config::{Egress, Oauth2, Route, SecretFile, SecretText, WebhookAuth},
    message::outcome::Failure,
};

/// The login of a route, as all lanes share it. Clones are the same one.
#[derive(Clone, Debug)]
pub struct Login(Arc<Kind>);

#[derive(Debug)]
enum Kind {
    /// Stands in the configuration, and so is the same for all requests.
    Fixed(HeaderValue),
    InFile(Watched<Credential>),
    Fetched(Keeper),
    /// A signature of the request (AWS).
    Signed(Signer),
}

/// What one request logs in with.
#[derive(Debug, PartialEq, Eq)]
pub struct Credential {
    /// The value of `Authorization`.
    pub header: HeaderValue,
    /// Tells a token that was fetched from those before it; 0 for all others.
    number: u64,
}

impl From<HeaderValue> for Credential {
    fn from(header: HeaderValue) -> Self {
        Self { header, number: 0 }
    }
}

/// Why a login has nothing to log in with, and what is done about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lack {
    /// When it is tried again; none where that is under way.
    pub next: Option<Time>,
    /// Why there is none, where a try has failed.
    pub cause: Option<Arc<str>>,
}

/// Requests for tokens since the route was configured so, by what came of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fetches {
    /// Those that were answered with a token.
    pub fetched: u64,
    /// Those that were not.
    pub failed: u64,
}

impl Login {
    /// That of `route`, where it has one. Tokens are fetched from now on, for as long as there is a clone of this: that
    /// needs a runtime that takes local tasks.
    pub fn of(route: &Route, files: &WatchedFiles, network: &Network, clock: Clock) -> Option<Self> {
        let Route { name, webhook, .. } = route;
        Some(Self(Arc::new(match webhook.auth.as_ref()? {
            WebhookAuth::Basic(basic) => {
                let header = basic.header(basic.password.secret().expose_secret());
                match &basic.password {
                    SecretText::Inline(_) => Kind::Fixed(header),
                    SecretText::InFile(file) => {
                        let basic = basic.clone();
                        in_file(files, file, header, move |path| basic.header_of(path))
                    }
                }
            }
            WebhookAuth::Bearer(token) => {
                let header =
                    WebhookAuth::bearer(token.secret()).expect("the configuration has checked the token");
                match token {
                    SecretText::Inline(_) => Kind::Fixed(header),
                    SecretText::InFile(file) => in_file(files, file, header, WebhookAuth::bearer_of),
                }
            }
            WebhookAuth::Oauth2(settings) => Kind::Fetched(Keeper::start(
                token_server(settings, &webhook.egress, files, network, clock),
                name.clone(),
                clock,
            )),
            WebhookAuth::Aws(aws) => Kind::Signed(Signer::new(aws, &webhook.url, files)),
        })))
    }

    /// What signs the requests, where each has a header of its own.
    pub fn signer(&self) -> Option<&Signer> {
        match &*self.0 {
            Kind::Signed(signer) => Some(signer),
            Kind::Fixed(_) | Kind::InFile(_) | Kind::Fetched(_) => None,
        }
    }

    /// The header, where it is the same for all requests.
    pub fn fixed(&self) -> Option<&HeaderValue> {
        match &*self.0 {
            Kind::Fixed(header) => Some(header),
            Kind::InFile(_) | Kind::Fetched(_) | Kind::Signed(_) => None,
        }
    }

    /// What a request logs in with; none where that is the same for all requests, or its signature.
    ///
    /// # Errors
    /// There is nothing yet: [`Failure::Login`].
    pub fn credential(&self) -> Result<Option<Arc<Credential>>, Fault> {
        match &*self.0 {
            Kind::Fixed(_) | Kind::Signed(_) => Ok(None),
            Kind::InFile(file) => Ok(Some(file.current())),
            Kind::Fetched(keeper) => {
                let lack = || Fault::new(Failure::Login, "there is no token yet");
                keeper.token().ok_or_else(lack).map(Some)
            }
        }
    }

    /// The webhook has answered 401 to `credential` at `now`. Where that is answered by another token, which is fetched
    /// once for all lanes, it is no refusal: the failure that it is instead.
    pub fn refused(&self, credential: &Credential, now: Time) -> Option<Fault> {
        let Kind::Fetched(keeper) = &*self.0 else { return None };
        let words = "the webhook does not take this token any more (401), another one is fetched";
        keeper.refused(credential.number, now).then(|| Fault::new(Failure::Login, words))
    }

    /// Whether there is something to log in with; none where there always is.
    pub fn readiness(&self) -> Option<Readiness> {
        match &*self.0 {
            Kind::Fetched(keeper) => Some(keeper.readiness()),
            Kind::Fixed(_) | Kind::InFile(_) | Kind::Signed(_) => None,
        }
    }

    /// How often tokens were asked for.
    pub fn fetches(&self) -> Fetches {
        match &*self.0 {
            Kind::Fetched(keeper) => keeper.fetches(),
            Kind::Fixed(_) | Kind::InFile(_) | Kind::Signed(_) => Fetches::default(),
        }
    }

    /// Why there is nothing to log in with at `now`; none where there is.
    pub fn lack(&self, now: Time) -> Option<Lack> {
        match &*self.0 {
            Kind::Fetched(keeper) => keeper.lack(now),
            Kind::Fixed(_) | Kind::InFile(_) | Kind::Signed(_) => None,
        }
    }

    /// Returns when there is something to log in with. The error says why the last try to get it has failed.
    pub async fn ready(&self, clock: Clock) -> Result<(), Arc<str>> {
        /// How often it is looked at: nothing tells of it.
        const LOOK: Duration = Duration::from_millis(20);
        loop {
            match self.lack(clock.now()) {
                None => return Ok(()),
                Some(Lack { cause: Some(cause), .. }) => return Err(cause),
                Some(Lack { cause: None, .. }) => tokio::time::sleep(LOOK).await,
            }
        }
    }
}

/// The header that `read` makes of `file`, which made `first` of it before.
fn in_file(
    files: &WatchedFiles,
    file: &SecretFile,
    first: HeaderValue,
    read: impl Fn(&Path) -> Result<HeaderValue, String> + Send + Sync + 'static,
) -> Kind {
    Kind::InFile(files.watch(&file.path, first.into(), move |path| read(path).map(Credential::from)))
}

/// Where the tokens of `settings` come from. Its connections are made as those to webhooks are, by the same rules of
/// `egress`.
pub fn token_server(
    settings: &Oauth2,
    egress: &Egress,
    files: &WatchedFiles,
    network: &Network,
    clock: Clock,
) -> TokenServer {
    let transport = network.transport_to(&settings.token_url, egress, &settings.tls, files);
    TokenServer::new(settings.clone(), files, transport, clock)
}
