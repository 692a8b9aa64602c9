//! What can be said of a template without rendering it, beyond what the engine says: it looks for filters and tests when it
//! comes to them, which is too late for a name that is only mistyped.

use std::collections::HashSet;

use minijinja::{Environment, ErrorKind};

use super::{Mistake, place::Place};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Piece<'t> {
    Text(&'t str),
    /// What is between `{{` and `}}`, or `{%` and `%}`.
    Tag(&'t str),
}

/// A word or a sign of a tag. Literals are left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token<'t> {
    Word(&'t str),
    Sign(char),
}

/// The first filter or test in the template `text` that `environment` does not have, or the first character that `place`
/// can't have.
pub(super) fn check(text: &str, place: Place, environment: &Environment<'_>) -> Result<(), Mistake> {
    for (line, piece) in pieces(text) {
        match piece {
            Piece::Text(text) => {
                if let Some(odd) = text.chars().find(|character| !place.may_have(*character)) {
                    return Err(Mistake::at(line, format!("{odd:?} can't stand here")));
                }
            }
            Piece::Tag(tag) => check_tag(tag, environment).map_err(|problem| Mistake::at(line, problem))?,
        }
    }
    Ok(())
}

/// The words in the tags of the template `text` that can be variables: all but attributes and filters.
pub(super) fn variables(text: &str) -> HashSet<&str> {
    let mut variables = HashSet::new();
    for (_, piece) in pieces(text) {
        let Piece::Tag(tag) = piece else { continue };
        let mut before = None;
        for token in tokens(tag) {
            if let (Token::Word(word), None | Some(Token::Word(_))) = (token, before) {
                variables.insert(word);
            }
            before = Some(token).filter(|token| !matches!(token, Token::Sign(sign) if !".|".contains(*sign)));
        }
    }
    variables
}

/// The line of a template that has this word in a tag first, from 1.
pub(super) fn line_of(text: &str, word: &str) -> usize {
    let has = |piece| matches!(piece, Piece::Tag(tag) if tokens(tag).contains(&Token::Word(word)));
    pieces(text).into_iter().find(|(_, piece)| has(*piece)).map_or(1, |(line, _)| line)
}

fn check_tag(tag: &str, environment: &Environment<'_>) -> Result<(), String> {
    let tokens = tokens(tag);
    let mut state = environment.empty_state();
    for (index, token) in tokens.iter().enumerate() {
        let behind = |offset: usize| match tokens.get(index + offset) {
            Some(Token::Word(word)) => Some(*word),
            _ => None,
        };
        let is_filter = *token == Token::Sign('|') || (index == 0 && *token == Token::Word("filter"));
        if is_filter
            && let Some(name) = behind(1)
            && state.apply_filter(name, &[]).is_err_and(|error| error.kind() == ErrorKind::UnknownFilter)
        {
            return Err(format!("there is no filter {name}"));
        }
        if *token == Token::Word("is")
            && let Some(name) = behind(1).and_then(|word| if word == "not" { behind(2) } else { Some(word) })
            && state.perform_test(name, &[]).is_err_and(|error| error.kind() == ErrorKind::UnknownTest)
        {
            return Err(format!("there is no test {name}"));
        }
    }
    Ok(())
}

/// The pieces of a template that the engine can read, each with the line that it begins in.
fn pieces(text: &str) -> Vec<(usize, Piece<'_>)> {
    let mut pieces = Vec::new();
    let mut rest = text;
    let line = |rest: &str| 1 + text.get(..text.len() - rest.len()).unwrap_or_default().matches('\n').count();
    while let Some(start) = ["{{", "{%", "{#"].iter().filter_map(|start| rest.find(start)).min() {
        let (before, tag) = rest.split_at(start);
        pieces.push((line(rest), Piece::Text(before)));
        let is_comment = tag.starts_with("{#");
        let end = if is_comment { tag.find("#}") } else { end_of_tag(tag) }.unwrap_or(tag.len());
        let inner = tag.get(2..end).unwrap_or_default();
        if !is_comment {
            pieces.push((line(tag), Piece::Tag(inner)));
        }
        rest = tag.get(end + 2..).unwrap_or_default();
        if tag.starts_with("{%") && inner.trim_matches(['-', '+', ' ']) == "raw" {
            // Nothing in it is a tag; the end is found as one.
            let end = rest.find("endraw").and_then(|end| rest.get(..end)?.rfind("{%")).unwrap_or(rest.len());
            pieces.push((line(rest), Piece::Text(rest.get(..end).unwrap_or_default())));
            rest = rest.get(end..).unwrap_or_default();
        }
    }
    pieces.push((line(rest), Piece::Text(rest)));
    pieces
}

/// Where the tag ends that `tag` begins with: before the first `}}` or `%}` that is in no literal.
fn end_of_tag(tag: &str) -> Option<usize> {
    let end = if tag.starts_with("{{") { "}}" } else { "%}" };
    let mut quote = None;
    let mut is_escaped = false;
    tag.char_indices().skip(2).find_map(|(at, character)| {
        match (quote, character) {
            _ if is_escaped => is_escaped = false,
            (Some(_), '\\') => is_escaped = true,
            (Some(open), _) if open == character => quote = None,
            (None, '"' | '\'') => quote = Some(character),
            (None, _) if tag.get(at..).is_some_and(|rest| rest.starts_with(end)) => return Some(at),
            _ => {}
        }
        None
    })
}

fn tokens(tag: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut rest = tag.trim_start_matches(['-', '+']).trim_start();
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '"' | '\'' => literal(rest),
            _ if first.is_alphanumeric() || first == '_' => {
                let end = rest.find(|character: char| !character.is_alphanumeric() && character != '_');
                let end = end.unwrap_or(rest.len());
                tokens.push(Token::Word(rest.get(..end).unwrap_or_default()));
                end
            }
            _ => {
                tokens.push(Token::Sign(first));
                first.len_utf8()
            }
        };
        rest = rest.get(length..).unwrap_or_default().trim_start();
    }
    tokens
}

/// The length of the literal that `text` begins with, with its quotes.
fn literal(text: &str) -> usize {
    let mut is_escaped = false;
    let quote = text.chars().next();
    let end = text.char_indices().skip(1).find(|(_, character)| {
        let ends = !is_escaped && Some(*character) == quote;
        is_escaped = !is_escaped && *character == '\\';
        ends
    });
    end.map_or(text.len(), |(at, _)| at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_falls_into_pieces() {
        let text = "a{{ \"}}\" }}b\n{# {{ c }} #}{% raw %}{{ d }}{% endraw %}{%- if e -%}";
        let tags: Vec<_> =
            pieces(text).into_iter().filter(|(_, piece)| matches!(piece, Piece::Tag(_))).collect();
        assert_eq!(
            tags,
            [
                (1, Piece::Tag(" \"}}\" ")),
                (2, Piece::Tag(" raw ")),
                (2, Piece::Tag(" endraw ")),
                (2, Piece::Tag("- if e -"))
            ]
        );
    }

    #[test]
    fn attributes_and_filters_are_no_variables() {
        let mut found: Vec<_> = variables("id {{ a.b[c] | d(e) }}{% if f %}").into_iter().collect();
        found.sort_unstable();
        assert_eq!(found, ["a", "c", "e", "f", "if"]);
    }

    #[test]
    fn words_in_literals_are_none() {
        use Token::{Sign, Word};
        assert_eq!(
            tokens("- a.b|c('| \\' d', e)"),
            [
                Word("a"),
                Sign('.'),
                Word("b"),
                Sign('|'),
                Word("c"),
                Sign('('),
                Sign(','),
                Word("e"),
                Sign(')'),
            ]
        );
    }
}
