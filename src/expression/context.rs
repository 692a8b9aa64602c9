//! What an expression can ask about a message. Nothing is read before it is asked for.

use std::{
    collections::HashSet,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use bytes::Bytes;
use minijinja::{
    Value,
    value::{Object, ObjectRepr},
};

use crate::{
    message::{Headers, Message},
    template::{self, HeaderValues},
};

const ALL: [&str; 9] =
    ["subject", "tokens", "headers", "id", "data", "is_json", "text", "stream", "sequence"];

/// Which of a message's parts an expression asks for: what it does not is not even copied.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Names {
    subject: bool,
    headers: bool,
    payload: bool,
    id: bool,
    origin: bool,
}

impl Names {
    /// Those that the expression `text` may ask for, or one of those that it is known to have `used` and that there is not.
    pub(super) fn of(text: &str, used: &HashSet<String>) -> Result<Self, String> {
        let mut unknown: Vec<_> = used.iter().filter(|name| !ALL.contains(&name.as_str())).collect();
        unknown.sort();
        if let Some(unknown) = unknown.first() {
            return Err((*unknown).clone());
        }
        // By its words, as the engine's list has gaps: it misses the `text` of `text[:80]`.
        let is_word = |letter: char| letter.is_alphanumeric() || letter == '_';
        let words: HashSet<_> = text.split(|letter| !is_word(letter)).collect();
        let uses = |names: &[&str]| names.iter().any(|name| words.contains(name));
        Ok(Self {
            subject: uses(&["subject", "tokens"]),
            headers: uses(&["headers"]),
            payload: uses(&["data", "is_json", "text"]),
            id: uses(&["id"]),
            origin: uses(&["stream", "sequence"]),
        })
    }

    pub(super) fn all() -> String {
        ALL.join(", ")
    }
}

/// What an expression can ask of a message. Its JSON is read only when it is asked for.
#[derive(Debug, Default)]
pub(super) struct Context {
    subject: Arc<str>,
    headers: Headers,
    payload: Bytes,
    id: Option<String>,
    origin: Option<(String, u64)>,
    /// The payload as JSON, once it was read; or why it is none.
    data: OnceLock<Result<Value, String>>,
    /// Whether `data` was asked for, and there is none.
    is_missing: AtomicBool,
}

impl Context {
    /// That of `message`, as far as it is asked for.
    pub(super) fn new(message: &Message, names: Names) -> Self {
        let mut context = Self::empty();
        if names.subject {
            context.subject = Arc::clone(&message.subject);
        }
        if names.headers {
            context.headers = message.headers.clone();
        }
        if names.payload {
            context.payload = message.payload.clone();
        }
        if names.id {
            context.id = Some(message.id.to_string());
        }
        if names.origin {
            context.origin = message.ack.as_ref().map(|ack| (ack.stream().to_owned(), ack.sequence()));
        }
        context
    }

    /// For finding mistakes in an expression before there is a message.
    pub(super) fn empty() -> Self {
        Self::default()
    }

    /// Why there is no `data`, where it was asked for.
    pub(super) fn missing_data(&self) -> Option<String> {
        let why = self.data.get()?.as_ref().err()?;
        self.is_missing.load(Relaxed).then(|| why.clone())
    }

    fn json(&self) -> Result<&Value, &String> {
        self.data.get_or_init(|| template::read_json(&self.payload)).as_ref()
    }

    fn data(&self) -> Value {
        self.json().cloned().unwrap_or_else(|_| {
            self.is_missing.store(true, Relaxed);
            Value::UNDEFINED
        })
    }
}

impl Object for Context {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Map
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.get_value_by_str(key.as_str()?)
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Value> {
        Some(match key {
            "subject" => Value::from(Arc::clone(&self.subject)),
            "tokens" => self.subject.split('.').map(Value::from).collect(),
            "headers" => Value::from_object(HeaderValues(self.headers.clone())),
            "id" => Value::from(self.id.as_deref()?),
            "data" => self.data(),
            "is_json" => Value::from(self.json().is_ok()),
            "text" => Value::from(String::from_utf8_lossy(&self.payload)),
            "stream" => Value::from(self.origin.as_ref()?.0.as_str()),
            "sequence" => Value::from(self.origin.as_ref()?.1),
            _ => return None,
        })
    }
}
