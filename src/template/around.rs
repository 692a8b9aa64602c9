//! What stands around the messages of a batch, in a body of them all.

use std::sync::Arc;

use minijinja::{Environment, UndefinedBehavior, context};
use serde::de::IgnoredAny;

use super::{Mistake, NAME, describe, tags};

/// What such a template knows: the messages, an array of JSON, and how many they are.
const VARIABLES: [&str; 2] = ["messages", "count"];

/// A template that makes JSON of the messages of a batch, and was checked. Its author is the operator, and what it is
/// given is JSON already: unlike in other templates, nothing has to be kept from breaking out of its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Around(Arc<str>);

/// The same, ready to be rendered.
#[derive(Debug)]
pub struct AroundText(Environment<'static>);

impl Around {
    /// The template `text`.
    ///
    /// # Errors
    /// It can't be read, names another variable, leaves the messages out, or makes what is no JSON.
    pub fn new(text: &str) -> Result<Self, Mistake> {
        let environment = compiled(text)
            .map_err(|error| Mistake { line: error.line().unwrap_or(1), problem: describe(&error) })?;
        let template = environment.get_template(NAME).map_err(|error| Mistake::at(1, describe(&error)))?;
        let used = template.undeclared_variables(false);
        if let Some(name) = used.iter().find(|name| !VARIABLES.contains(&name.as_str())) {
            let problem = format!("there is no variable {name}: expected one of {}", VARIABLES.join(", "));
            return Err(Mistake::at(tags::line_of(text, name), problem));
        }
        if !used.contains("messages") {
            return Err(Mistake::at(1, "expected {{ messages }} in it, which is the array of them"));
        }
        let text_of = AroundText(environment);
        for (messages, count) in [("[1]", 1), ("[1,2]", 2)] {
            let made = text_of.render(messages, count).map_err(|problem| Mistake::at(1, problem))?;
            if let Err(error) = serde_json::from_str::<IgnoredAny>(&made) {
                return Err(Mistake::at(1, format!("what it makes is no JSON: {error}")));
            }
        }
        Ok(Self(text.into()))
    }

    /// The text of the template, as the operator wrote it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The template, ready to be rendered by one thread.
    pub fn compile(&self) -> AroundText {
        AroundText(compiled(&self.0).expect("it was compiled when it was checked"))
    }
}

impl AroundText {
    /// The body of `messages`, an array of `count` entries in JSON.
    ///
    /// # Errors
    /// Why there is none, in words.
    pub fn render(&self, messages: &str, count: usize) -> Result<String, String> {
        let template = self.0.get_template(NAME).map_err(|error| describe(&error))?;
        template.render(context! { messages, count }).map_err(|error| describe(&error))
    }
}

fn compiled(text: &str) -> Result<Environment<'static>, minijinja::Error> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::SemiStrict);
    environment.set_debug(true);
    environment.add_template_owned(NAME, text.to_owned())?;
    Ok(environment)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_stand_where_they_are_wanted_byte_for_byte() {
        let around = Around::new(r#"{"n": {{ count }}, "records": {{ messages }}}"#).unwrap();
        let made = around.compile().render("[\"a<\\\"b\",1.0]", 2);
        assert_eq!(made.unwrap(), r#"{"n": 2, "records": ["a<\"b",1.0]}"#);
        let one =
            Around::new("{% if count == 1 %}{{ messages }}{% else %}[{{ messages }}]{% endif %}").unwrap();
        assert_eq!(one.compile().render("[7]", 1).unwrap(), "[7]");
    }

    #[test]
    fn what_could_never_work_is_said_at_once() {
        for (text, problem) in [
            (
                r#"{"records": {{ message }}}"#,
                "there is no variable message: expected one of messages, count",
            ),
            ("\n\n{{ messages", "in line 3"),
            (r#"{"count": {{ count }}}"#, "expected {{ messages }} in it"),
            (r#"{"records": "{{ messages }}""#, "what it makes is no JSON"),
            ("{{ messages }}{{ range(10000) }}", "there is no variable range"),
        ] {
            let mistake = Around::new(text).expect_err(text).to_string();
            assert!(mistake.contains(problem), "{text}: {mistake}");
        }
    }
}
