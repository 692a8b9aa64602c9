//! Templates: text that is made for each message out of what the message says, in the language of Jinja.
//!
//! A template is an operator's, and what is put into it a stranger's. So it is checked when it is loaded, as far as that
//! can be known without a message, and whatever is inserted is written in the way of the [`Place`] that the text is for:
//! a value can't end the string, the part of a path or the field that it stands in. What is made is bounded, and so is
//! the work: a template with loops over a hostile payload ends.

mod around;
mod context;
mod data;
mod formatter;
mod output;
mod place;
mod secrets;
mod tags;

use std::{cell::Cell, marker::PhantomData, sync::Arc};

use minijinja::{AutoEscape, Environment, ErrorKind, UndefinedBehavior, Value};

pub use self::{
    around::{Around, AroundText},
    context::VARIABLES,
    place::Place,
    secrets::Secrets,
};
pub(crate) use self::{context::HeaderValues, data::read as read_json};
use self::{
    context::{Context, Variables},
    output::{Cursor, Output},
};
use crate::{base::clock::Time, message::Message};

/// A template that was checked: where a configuration keeps it. Two are equal when they are written the same and for the
/// same place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    text: Arc<str>,
    place: Place,
    secrets: Secrets,
}

/// A template that is ready to be rendered, by one thread: each lane has its own, so that they share nothing.
#[derive(Debug)]
pub struct Text {
    environment: Environment<'static>,
    cursor: Arc<Cursor>,
    used: Variables,
    secrets: Secrets,
    place: Place,
    /// The cursor follows one rendering at a time. This keeps a reference to it from being sent to another thread.
    one_at_a_time: PhantomData<Cell<()>>,
}

/// A mistake in a template, found without a message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem}, in line {line}")]
pub struct Mistake {
    /// The line of the template, from 1.
    pub line: usize,
    /// The mistake in words for the operator.
    pub problem: String,
}

/// The name that the engine knows a template by.
const NAME: &str = "template";
/// The variable that secrets are in.
const SECRETS: &str = "secrets";

impl Source {
    /// The template `text`, for a place. It has no secrets yet, and only bodies may have some.
    ///
    /// # Errors
    /// The first mistake in it: it can't be read, or names a variable, a filter or a test that does not exist.
    pub fn new(text: &str, place: Place) -> Result<Self, Mistake> {
        let compiled = Text::compile(text, place)?;
        tags::check(text, place, &compiled.environment)?;
        Ok(Self { text: text.into(), place, secrets: Secrets::default() })
    }

    /// A template that this program has, and that a test compiles: checking it takes longer than the rest of what a route
    /// has, and there may be thousands of routes.
    pub(crate) fn built_in(text: &str, place: Place) -> Self {
        Self { text: text.into(), place, secrets: Secrets::default() }
    }

    /// A template that may also use `secrets`.
    ///
    /// # Errors
    /// It uses another one.
    pub fn with_secrets(self, secrets: &Secrets) -> Result<Self, Mistake> {
        let used = self.compile().secrets_by_name();
        match used.into_iter().find(|name| !secrets.has(name)) {
            None => Ok(Self { secrets: secrets.clone(), ..self }),
            Some(name) => {
                let line = tags::line_of(&self.text, &name);
                Err(Mistake::at(line, format!("there is no secret {name}")))
            }
        }
    }

    /// The text of the template, as the operator wrote it.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The template, ready to be rendered by one thread.
    pub fn compile(&self) -> Text {
        let text = Text::compile(&self.text, self.place).expect("it was compiled when it was checked");
        Text { secrets: self.secrets.clone(), ..text }
    }
}

impl Text {
    fn compile(text: &str, place: Place) -> Result<Self, Mistake> {
        let cursor = Arc::<Cursor>::default();
        let mut environment = Environment::new();
        // What is missing is a mistake, but may be asked for: `{% if data.url %}`.
        environment.set_undefined_behavior(UndefinedBehavior::SemiStrict);
        // Errors say then which expression it was.
        environment.set_debug(true);
        environment.set_fuel(Some(place.fuel()));
        environment.set_auto_escape_callback(|_| AutoEscape::None);
        formatter::install(&mut environment, place, &cursor);
        environment
            .add_template_owned(NAME, text.to_owned())
            .map_err(|error| Mistake { line: error.line().unwrap_or(1), problem: describe(&error) })?;
        let template = environment.get_template(NAME).map_err(|error| Mistake::at(1, describe(&error)))?;
        if let Some(name) = template.undeclared_variables(false).iter().find(|name| !context::exists(name)) {
            return Err(Mistake::at(tags::line_of(text, name), context::unknown(name)));
        }
        // The engine's list has gaps: it misses the `text` of `text[:80]`.
        let words = tags::variables(text);
        if !place.is_body() && words.contains(SECRETS) {
            return Err(Mistake::at(
                tags::line_of(text, SECRETS),
                "only the template of a body may use secrets",
            ));
        }
        let used = Variables::among(&words);
        let secrets = Secrets::default();
        Ok(Self { environment, cursor, used, secrets, place, one_at_a_time: PhantomData })
    }

    fn secrets_by_name(&self) -> Vec<String> {
        let Ok(template) = self.environment.get_template(NAME) else { return Vec::new() };
        let used = template.undeclared_variables(true);
        let secret = |path: &String| path.strip_prefix("secrets.").map(str::to_owned);
        used.iter().filter_map(secret).collect()
    }

    /// The text for `message`, at an attempt that begins at `now`.
    ///
    /// # Errors
    /// Why there is none, in words: something is missing in the message, or what was made can't stand in its place or is
    /// larger than may be.
    pub fn render(&self, message: &Message, now: Time) -> Result<String, String> {
        let context = Context::new(self.used, message, now, &self.secrets);
        let no_data = context.no_data.clone();
        let mut output = Output::new(&self.cursor, self.place.limit(), self.place == Place::Json);
        let template = self.environment.get_template(NAME).map_err(|error| describe(&error))?;
        let rendered = template.render_captured_to(Value::from_object(context), &mut output).map(drop);
        if output.is_full {
            return Err(format!("it would be larger than {} KiB", self.place.limit() >> 10));
        }
        rendered.map_err(|error| match no_data {
            Some(why) if error.kind() == ErrorKind::UndefinedError => {
                format!("{}; {why}", describe(&error))
            }
            _ => describe(&error),
        })?;
        let text = output.into_text();
        self.place.check(&text)?;
        Ok(text)
    }
}

impl Mistake {
    fn at(line: usize, problem: impl Into<String>) -> Self {
        Self { line, problem: problem.into() }
    }
}

/// An error of the engine on one line, without the name that it knows the template by.
fn describe(error: &minijinja::Error) -> String {
    match (error.kind(), error.detail()) {
        (ErrorKind::OutOfFuel, _) => "it takes too many steps".to_owned(),
        // Of those the detail says it all.
        (ErrorKind::UndefinedError | ErrorKind::SyntaxError, Some(detail)) => detail.to_owned(),
        (kind, Some(detail)) => format!("{kind}: {detail}"),
        (kind, None) => kind.to_string(),
    }
}

#[cfg(test)]
mod tests;
