//! Finds out how the dead letters of a route have to be published: to a stream that confirms each, or as plain
//! messages. It asks JetStream and may create a stream; it never changes one.

use serde::Deserialize;
use serde_json::{Value, json};
use thiserror::Error;

use super::keeper::{ConsumerSettings, Keeper, StreamSettings, Unfit};
use crate::{
    config::{DeadLetter, RouteName, StreamName},
    nats::jetstream::{Api, Asked, Unanswered},
};

/// Where the dead letters of a route go, as the operator wants it.
#[derive(Clone, Debug)]
pub struct Destination {
    /// The route.
    pub route: RouteName,
    /// Its settings.
    pub to: DeadLetter,
    /// Whether its messages come from a stream, so that a letter counts only when a stream has confirmed it.
    pub is_durable: bool,
}

/// How letters are published, as JetStream is at the moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// To a stream, which confirms each.
    Stream(Keeper),
    /// As plain messages, for whoever listens: nobody keeps them.
    Core,
}

/// Why letters can't be published at present, by whatever mode. It may be over the next time.
#[derive(Debug, Error)]
pub(super) enum Unavailable {
    #[error(transparent)]
    Unanswered(#[from] Unanswered),
    #[error("JetStream is not available: {0}")]
    Refused(String),
    #[error("the stream {0} is missing, or does not keep the subject")]
    Missing(StreamName),
    #[error(
        "no stream keeps the subject, and the letters of a durable route count only when a stream has confirmed them \
         (set dead_letter.stream and dead_letter.create)"
    )]
    NoStream,
    #[error("the stream that has kept the subject so far is gone")]
    Gone,
    #[error("the stream {found} keeps the subject, not {wanted}")]
    Elsewhere { found: String, wanted: StreamName },
    #[error("the stream {0} can't be created: {1}")]
    NotCreated(StreamName, String),
    #[error("the stream {0} can't keep letters: {1}")]
    Unfit(String, #[source] Unfit),
    #[error("the stream {0} keeps only what a consumer wants (interest), and none wants the subject")]
    Unwanted(String),
}

/// Who keeps a subject.
enum SubjectOwner {
    Stream(String),
    Nobody,
    /// JetStream is not enabled, so that there are no streams at all.
    NoJetStream,
    /// The user of this connection may not ask.
    Forbidden,
}

/// Asks JetStream in which mode to publish to `destination`, and creates the stream where the operator wants that.
/// `before` is the mode that was found the last time.
///
/// Letters that a stream has kept so far never become plain messages by themselves, and those of a durable route are none at
/// any time: they wait.
pub(super) async fn find(
    destination: &Destination,
    before: Option<&Mode>,
    api: &mut Api<'_>,
) -> Result<Mode, Unavailable> {
    let Destination { to, is_durable, .. } = destination;
    let was_kept = matches!(before, Some(Mode::Stream(_)));
    match (owner(destination, api).await?, &to.stream) {
        (SubjectOwner::Stream(found), Some(wanted)) if found != wanted.as_str() => {
            Err(Unavailable::Elsewhere { found, wanted: wanted.clone() })
        }
        (SubjectOwner::Stream(found), _) => keeper(destination, &found, api).await.map(Mode::Stream),
        (SubjectOwner::Nobody, Some(wanted)) if to.create => {
            create(wanted, destination, api).await?;
            keeper(destination, wanted.as_str(), api).await.map(Mode::Stream)
        }
        (SubjectOwner::Nobody, Some(wanted)) => Err(Unavailable::Missing(wanted.clone())),
        // The operator names a stream, and its acknowledgements will show whether it is there; or any one will do.
        (SubjectOwner::Forbidden, Some(wanted)) => {
            keeper(destination, wanted.as_str(), api).await.map(Mode::Stream)
        }
        (SubjectOwner::Forbidden, None) if *is_durable || was_kept => Ok(Mode::Stream(Keeper::default())),
        (SubjectOwner::NoJetStream, Some(_)) => {
            Err(Unavailable::Refused("it is not enabled on this server, or for this account".to_owned()))
        }
        (SubjectOwner::Nobody | SubjectOwner::NoJetStream, None) if was_kept => Err(Unavailable::Gone),
        (SubjectOwner::Nobody | SubjectOwner::NoJetStream, None) if *is_durable => Err(Unavailable::NoStream),
        (SubjectOwner::Nobody | SubjectOwner::NoJetStream | SubjectOwner::Forbidden, None) => Ok(Mode::Core),
    }
}

async fn owner(destination: &Destination, api: &mut Api<'_>) -> Result<SubjectOwner, Unavailable> {
    #[derive(Deserialize)]
    struct Names {
        streams: Option<Vec<String>>,
    }

    let question = json!({ "subject": destination.to.subject.as_str() });
    Ok(match api.ask("STREAM.NAMES", &question).await? {
        Asked::Answer(Names { streams }) => {
            streams.unwrap_or_default().into_iter().next().map_or(SubjectOwner::Nobody, SubjectOwner::Stream)
        }
        Asked::NoJetStream => SubjectOwner::NoJetStream,
        Asked::Forbidden => SubjectOwner::Forbidden,
        Asked::Refused(refusal) => return Err(Unavailable::Refused(refusal.description)),
    })
}

/// The stream as the keeper of letters. Where the user may not ask for its settings, nothing is known of them.
async fn keeper(destination: &Destination, stream: &str, api: &mut Api<'_>) -> Result<Keeper, Unavailable> {
    #[derive(Deserialize)]
    struct Info {
        config: StreamSettings,
    }

    let unknown = Keeper { stream: Some(stream.into()), ..Keeper::default() };
    let Asked::Answer(Info { config }) = api.ask(&format!("STREAM.INFO.{stream}"), &json!({})).await? else {
        return Ok(unknown);
    };
    let keeper = config.keeper(stream).map_err(|unfit| Unavailable::Unfit(stream.to_owned(), unfit))?;
    wanted(destination, &keeper, api).await?;
    Ok(keeper)
}

/// Whether `keeper` keeps what it confirms.
pub(super) async fn wanted(
    destination: &Destination,
    keeper: &Keeper,
    api: &mut Api<'_>,
) -> Result<(), Unavailable> {
    /// So many pages of 256 are looked through for one consumer.
    const PAGES: usize = 64;

    #[derive(Deserialize)]
    struct List {
        consumers: Option<Vec<Consumer>>,
    }
    #[derive(Deserialize)]
    struct Consumer {
        config: ConsumerSettings,
    }

    let Some(stream) = keeper.stream.as_deref().filter(|_| keeper.needs_interest) else { return Ok(()) };
    let mut offset = 0;
    for _ in 0..PAGES {
        let question = json!({ "offset": offset });
        // Without the permission to ask, nothing is known.
        let Asked::Answer(List { consumers }) =
            api.ask(&format!("CONSUMER.LIST.{stream}"), &question).await?
        else {
            return Ok(());
        };
        let consumers = consumers.unwrap_or_default();
        if consumers.iter().any(|consumer| consumer.config.wants(&destination.to.subject)) {
            return Ok(());
        }
        if consumers.is_empty() {
            break;
        }
        offset += consumers.len();
    }
    Err(Unavailable::Unwanted(stream.to_owned()))
}

/// Creates the stream. One of that name that is there already with other settings is never changed: then the server
/// refuses, and the operator has to decide.
async fn create(name: &StreamName, destination: &Destination, api: &mut Api<'_>) -> Result<(), Unavailable> {
    let config = json!({
        "name": name.as_str(),
        "subjects": [destination.to.subject.as_str()],
        "storage": "file",
        "retention": "limits",
        "description": "dead letters of broadcaster",
    });
    let refused = |reason: String| Err(Unavailable::NotCreated(name.clone(), reason));
    match api.ask::<Value>(&format!("STREAM.CREATE.{name}"), &config).await? {
        Asked::Answer(_) => Ok(()),
        Asked::Refused(refusal) => refused(refusal.description),
        Asked::NoJetStream => refused("JetStream is not enabled".to_owned()),
        Asked::Forbidden => refused("the user lacks the permission".to_owned()),
    }
}
