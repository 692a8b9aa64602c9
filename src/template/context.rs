//! What a template knows of a message.

use std::{collections::HashSet, sync::Arc};

use minijinja::value::{Enumerator, Object, Value};

use super::{data, secrets::Secrets};
use crate::{
    base::clock::{Time, rfc3339},
    message::{Headers, Message},
};

/// The names of all variables.
pub const VARIABLES: [&str; 11] = [
    "subject", "tokens", "headers", "id", "attempt", "time", "data", "text", "stream", "sequence", "secrets",
];

/// Functions of the engine, which look like variables where a template names them.
const FUNCTIONS: [&str; 2] = ["range", "dict"];

/// The variables that a template uses: only those are made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Variables([bool; VARIABLES.len()]);

/// The variables of one message. What a message does not have is undefined.
#[derive(Debug)]
pub(super) struct Context {
    values: [Value; VARIABLES.len()],
    /// Why there is no `data`, where the template uses it.
    pub(super) no_data: Option<Box<str>>,
}

/// The publisher's headers: the first value of a name, in any spelling of upper and lower case.
#[derive(Debug)]
pub(crate) struct HeaderValues(pub(crate) Headers);

impl Variables {
    /// The variables that are among `names`: only what a template uses is made for it.
    pub(super) fn among(names: &HashSet<&str>) -> Self {
        Self(VARIABLES.map(|variable| names.contains(variable)))
    }
}

/// Whether a template may use this name without having set it.
pub(super) fn exists(name: &str) -> bool {
    index(name).is_some() || FUNCTIONS.contains(&name)
}

impl Context {
    /// Those of `used` that `message` has, at an attempt that begins at `now`, and the operator's `secrets`.
    pub(super) fn new(used: Variables, message: &Message, now: Time, secrets: &Secrets) -> Self {
        let mut no_data = None;
        let mut values = [const { Value::UNDEFINED }; VARIABLES.len()];
        for ((value, name), is_used) in values.iter_mut().zip(VARIABLES).zip(used.0) {
            if !is_used {
                continue;
            }
            *value = match name {
                "subject" => Arc::clone(&message.subject).into(),
                "tokens" => message.subject.split('.').map(Value::from).collect::<Vec<_>>().into(),
                "headers" => Value::from_object(HeaderValues(message.headers.clone())),
                "id" => message.id.to_string().into(),
                "attempt" => message.attempts.into(),
                "time" => rfc3339(message.taken(now)).into(),
                "data" => data::read(&message.payload).unwrap_or_else(|problem| {
                    no_data = Some(problem.into());
                    Value::UNDEFINED
                }),
                "text" => String::from_utf8_lossy(&message.payload).into(),
                "stream" => message.ack.as_ref().map_or(Value::UNDEFINED, |ack| ack.stream().into()),
                "sequence" => message.ack.as_ref().map_or(Value::UNDEFINED, |ack| ack.sequence().into()),
                "secrets" => secrets.value(),
                _ => Value::UNDEFINED,
            };
        }
        Self { values, no_data }
    }
}

/// What to say of a variable that does not exist.
pub(super) fn unknown(name: &str) -> String {
    format!("there is no variable {name}: expected one of {}", VARIABLES.join(", "))
}

fn index(name: &str) -> Option<usize> {
    VARIABLES.iter().position(|variable| *variable == name)
}

impl Object for Context {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.get_value_by_str(key.as_str()?)
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Value> {
        self.values.get(index(key)?).filter(|value| !value.is_undefined()).cloned()
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Str(&VARIABLES)
    }
}

impl Object for HeaderValues {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.get_value_by_str(key.as_str()?)
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Value> {
        self.0.get(key).map(Value::from)
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        let mut names = Vec::<Value>::new();
        for (name, _) in self.0.iter() {
            let name = Value::from(name.to_ascii_lowercase());
            if !names.contains(&name) {
                names.push(name);
            }
        }
        Enumerator::Values(names)
    }
}
