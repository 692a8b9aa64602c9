//! A reading of the daemon's `/metrics`.

use std::collections::BTreeMap;

/// One line: a name, its labels, a value.
struct Sample {
    name: String,
    labels: Vec<(String, String)>,
    value: f64,
}

/// A scrape.
pub struct Metrics {
    samples: Vec<Sample>,
    text: String,
}

impl Metrics {
    /// Reads the text format; a panic at a line that is not understood.
    pub fn parse(text: String) -> Self {
        let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        let samples =
            lines.map(|line| sample(line).unwrap_or_else(|| panic!("not a metric: {line}"))).collect();
        Self { samples, text }
    }

    /// The scrape as it was.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The value of the one sample with this name and, among others, these labels; a panic when there is none, or more
    /// than one.
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let found = self.found(name, labels);
        assert!(found.len() == 1, "{} samples are {name}{labels:?}, not one", found.len());
        found[0].value
    }

    /// The sum of all samples with this name and, among others, these labels; a panic when there is none.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.found(name, labels).iter().map(|sample| sample.value).sum()
    }

    /// The values of one label of all samples with this name, each with the sample's value, in the order of the scrape.
    pub fn by(&self, name: &str, label: &str) -> Vec<(String, f64)> {
        let found = self.found(name, &[]);
        let pairs = found.iter().filter_map(|sample| Some((sample.label(label)?.to_owned(), sample.value)));
        pairs.collect()
    }

    /// The values of one label, in their order, where the samples that have them together are not 0.
    pub fn counted(&self, name: &str, label: &str) -> BTreeMap<String, u64> {
        let mut counted = BTreeMap::new();
        for (value, count) in self.by(name, label) {
            if count != 0.0 {
                *counted.entry(value).or_default() +=
                    format!("{count}").parse::<u64>().expect("a count is whole");
            }
        }
        counted
    }

    /// Is there a sample with this name, whatever its labels?
    pub fn has(&self, name: &str) -> bool {
        self.samples.iter().any(|sample| sample.name == name)
    }

    fn found(&self, name: &str, labels: &[(&str, &str)]) -> Vec<&Sample> {
        let named: Vec<_> = self.samples.iter().filter(|sample| sample.name == name).collect();
        let fits = |sample: &&&Sample| labels.iter().all(|(key, value)| sample.label(key) == Some(*value));
        let found: Vec<_> = named.iter().filter(fits).copied().collect();
        if found.is_empty() {
            let others: Vec<_> = named.iter().map(|sample| &sample.labels).collect();
            panic!("no sample is {name}{labels:?}; with that name there are {others:?}");
        }
        found
    }
}

impl Sample {
    fn label(&self, key: &str) -> Option<&str> {
        self.labels.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }
}

/// `name{key="value",…} number`, with or without labels, whatever comes after the number.
fn sample(line: &str) -> Option<Sample> {
    let end = line.find(['{', ' '])?;
    let (name, mut rest) = line.split_at(end);
    let mut labels = Vec::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        while !rest.starts_with('}') {
            let (key, after) = rest.split_once("=\"")?;
            let (value, after) = quoted(after)?;
            labels.push((key.to_owned(), value));
            rest = after.strip_prefix(',').unwrap_or(after);
        }
        rest = rest.strip_prefix('}')?;
    }
    let value = rest.split_whitespace().next()?.parse().ok()?;
    Some(Sample { name: name.to_owned(), labels, value })
}

/// The text up to the closing quote with its escapes undone, and what comes after the quote.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut rest = text.chars();
    loop {
        match rest.next()? {
            '"' => return Some((value, rest.as_str())),
            '\\' => value.push(match rest.next()? {
                'n' => '\n',
                other => other,
            }),
            other => value.push(other),
        }
    }
}
