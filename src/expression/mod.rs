//! What operators write about a message: expressions of Jinja2, by minijinja. One language for all of them.
//!
//! An expression is compiled when the configuration is loaded. Whatever a message holds, evaluating one ends: after so
//! many steps and bytes that it makes (its fuel), and JSON is read to a depth of 128. What is missing in a message is
//! undefined, and so is all below it, so that `data.user.name == "Zoë"` is false where there is no user.

mod context;

use std::{fmt, sync::Arc, sync::LazyLock};

use minijinja::{Environment, Error, UndefinedBehavior, Value};
use thiserror::Error;

use self::context::{Context, Names};
use crate::message::Message;

/// How much an evaluation may do: instructions, and for each 64 bytes that it makes as much as for one.
const FUEL: u64 = 20_000;
/// No reason is longer, in bytes: it may quote what is in a message, or all of an expression.
const LONGEST: usize = 300;

/// The language, the same for all: it is never changed.
static LANGUAGE: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut language = Environment::new();
    language.set_undefined_behavior(UndefinedBehavior::Chainable);
    language.set_fuel(Some(FUEL));
    language
});

/// An expression about a message. Two are equal when their texts are.
#[derive(Clone)]
pub struct Expression {
    text: Arc<str>,
    compiled: Arc<minijinja::Expression<'static, 'static>>,
    names: Names,
}

/// What is wrong with a text that is to be an expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpressionError {
    problem: String,
    /// Line and column, from 1, where they are known.
    place: Option<(usize, usize)>,
}

/// An expression could not be evaluated for a message: why, on one line.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct Unclear(String);

impl Expression {
    /// Compiles an expression, and finds what is wrong with it before there is a message.
    ///
    /// # Errors
    /// What is no expression, and names, filters, tests and functions that there are not.
    pub fn parse(text: &str) -> Result<Self, ExpressionError> {
        let compiled =
            LANGUAGE.compile_expression_owned(text.to_owned()).map_err(|error| mistake(&error, text))?;
        let used = compiled.undeclared_variables(false);
        let names = Names::of(text, &used).map_err(|unknown| ExpressionError {
            problem: format!("there is no {}, only {}", short(&unknown), Names::all()),
            place: text.find(&*unknown).map(|at| position(text, at)),
        })?;
        let expression = Self { text: text.into(), compiled: Arc::new(compiled), names };
        // What it calls is looked up when it is evaluated.
        match expression.compiled.eval(Value::from_object(Context::empty())) {
            Err(error) if is_unknown(&error) => Err(mistake(&error, text)),
            _ => Ok(expression),
        }
    }

    /// Whether it holds for `message`. What is not empty, not 0 and not false counts as true.
    ///
    /// # Errors
    /// It can't be told: an operation that the values in the message don't allow, too much to do, or `data` of a payload
    /// that is no JSON.
    pub fn holds(&self, message: &Message) -> Result<bool, Unclear> {
        let context = Arc::new(Context::new(message, self.names));
        let holds = self.compiled.eval(Value::from_dyn_object(Arc::clone(&context)));
        let holds = holds.map_err(|error| Unclear(reason(&error)))?.is_true();
        match context.missing_data() {
            Some(why) => Err(Unclear(why)),
            None => Ok(holds),
        }
    }

    /// The text of the expression, as the operator wrote it.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

fn is_unknown(error: &Error) -> bool {
    use minijinja::ErrorKind::{UnknownFilter, UnknownFunction, UnknownMethod, UnknownTest};
    matches!(error.kind(), UnknownFilter | UnknownFunction | UnknownMethod | UnknownTest)
}

fn mistake(error: &Error, text: &str) -> ExpressionError {
    ExpressionError { problem: reason(error), place: error.range().map(|range| position(text, range.start)) }
}

fn reason(error: &Error) -> String {
    short(&error.detail().map_or_else(|| error.kind().to_string(), str::to_owned))
}

/// `text` on one line of bounded length.
fn short(text: &str) -> String {
    let end = (0..=LONGEST.min(text.len())).rev().find(|&end| text.is_char_boundary(end));
    text.get(..end.unwrap_or_default()).unwrap_or_default().replace(char::is_control, " ")
}

/// The line and the column, from 1, of an offset in bytes.
fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.rsplit('\n').next().unwrap_or_default();
    (before.matches('\n').count() + 1, line.chars().count() + 1)
}

impl std::error::Error for ExpressionError {}

impl fmt::Display for ExpressionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected an expression such as subject == \"todos.created\": {}", self.problem)?;
        match self.place {
            None => Ok(()),
            Some((1, column)) => write!(f, ", at column {column}"),
            Some((line, column)) => write!(f, ", at line {line}, column {column}"),
        }
    }
}

impl PartialEq for Expression {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Expression {}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Expression").field(&self.text).finish()
    }
}

#[cfg(test)]
mod tests;
