//! What a page of Markdown links to, and what it can be linked by, as GitHub reads it.

use std::collections::{BTreeSet, HashMap};

/// The links and the anchors of a page.
pub(super) struct Page {
    /// Where links and pictures lead, as written.
    pub(super) links: Vec<String>,
    /// What may stand behind the `#` of a link to this page.
    pub(super) anchors: BTreeSet<String>,
}

impl Page {
    pub(super) fn read(text: &str) -> Self {
        let mut seen = HashMap::new();
        let mut page = Self { links: Vec::new(), anchors: BTreeSet::new() };
        let prose = without_blocks(text);
        for title in prose.lines().filter_map(title) {
            let anchor = anchor(title);
            let times = seen.entry(anchor.clone()).and_modify(|times| *times += 1).or_insert(0);
            page.anchors.insert(if *times == 0 { anchor } else { format!("{anchor}-{times}") });
        }
        page.links = links(&without_code(&prose));
        page
    }
}

/// The text without its fenced blocks.
fn without_blocks(text: &str) -> String {
    let mut in_block = false;
    let outside = |line: &&str| {
        let is_fence = line.trim_start().starts_with("```");
        in_block ^= is_fence;
        !in_block && !is_fence
    };
    text.lines().filter(outside).flat_map(|line| [line, "\n"]).collect()
}

/// The text without what stands between backticks.
fn without_code(text: &str) -> String {
    text.split('`').step_by(2).collect()
}

/// The words of a heading.
fn title(line: &str) -> Option<&str> {
    let words = line.trim_start_matches('#');
    let level = line.len() - words.len();
    ((1..=6).contains(&level) && words.starts_with(' ')).then(|| words.trim())
}

/// The anchor that GitHub gives to a heading: in lower case, without punctuation, with dashes for blanks.
fn anchor(title: &str) -> String {
    let kept = title.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.flat_map(char::to_lowercase).map(|c| if c == ' ' { '-' } else { c }).collect()
}

/// Where `[text](target)`, `![text](target)` and `[name]: target` lead.
fn links(text: &str) -> Vec<String> {
    let first_word = |target: &str| target.split_whitespace().next().unwrap_or_default().to_owned();
    let inline = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let named = text.lines().filter(|line| line.starts_with('[')).filter_map(|line| line.split_once("]: "));
    inline.chain(named.map(|(_, target)| target)).map(first_word).collect()
}

#[test]
fn links_are_found_but_not_in_code() {
    let page = Page::read(
        "[a](a.md) and ![b](b.svg \"a title\"), `[c](c.md)`\n```sh\n[d](d.md)\n```\n[e][e]\n\n[e]: e.md#part\n",
    );
    assert_eq!(page.links, ["a.md", "b.svg", "e.md#part"]);
}

#[test]
fn headings_are_anchors_but_not_in_blocks() {
    let page = Page::read(
        "# Metrics, health: `a_b`\n```sh\n# a comment\n```\n## What to do\n## What to do\n#not one\n",
    );
    let expected = ["metrics-health-a_b", "what-to-do", "what-to-do-1"];
    assert_eq!(page.anchors, expected.map(str::to_owned).into());
}
