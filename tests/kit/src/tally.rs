//! Which messages arrived, and which of them twice.

use std::fmt;
use std::ops::Range;

/// Numbers from here on are not taken for the number of a message: the set below would need too much memory.
const NUMBERS: u64 = 1 << 27;

/// How many numbers a failure message shows.
const SHOWN: usize = 10;

/// A set of message numbers, and the list of those that came again.
#[derive(Default)]
pub struct Tally {
    /// One bit for each number.
    seen: Vec<u64>,
    unique: usize,
    again: Vec<u64>,
    unnumbered: usize,
}

impl Tally {
    /// Counts the message with this body.
    pub fn add(&mut self, body: &[u8]) {
        let Some(number) = number(body) else {
            self.unnumbered += 1;
            return;
        };
        let (word, bit) = place(number);
        if word >= self.seen.len() {
            self.seen.resize(word + 1, 0);
        }
        if self.seen[word] & bit == 0 {
            self.seen[word] |= bit;
            self.unique += 1;
        } else {
            self.again.push(number);
        }
    }

    /// How many different messages came; one without a number counts as different from all others.
    pub fn distinct(&self) -> usize {
        self.unique + self.unnumbered
    }

    /// How many different numbers came.
    pub fn unique(&self) -> usize {
        self.unique
    }

    /// The numbers that came when they had come before: a number that came three times is here twice.
    pub fn again(&self) -> &[u64] {
        &self.again
    }

    /// The numbers of `expected` that did not come.
    pub fn missing(&self, expected: Range<u64>) -> Vec<u64> {
        expected.filter(|&number| !self.contains(number)).collect()
    }

    fn contains(&self, number: u64) -> bool {
        let (word, bit) = place(number);
        self.seen.get(word).is_some_and(|bits| bits & bit != 0)
    }
}

fn place(number: u64) -> (usize, u64) {
    let word = usize::try_from(number / 64).expect("numbers are below the bound");
    (word, 1 << (number % 64))
}

/// The number of the message with this body: the digits it starts with, or those after a JSON `"n":`.
pub fn number(body: &[u8]) -> Option<u64> {
    const KEY: &[u8] = b"\"n\":";
    let body = if body.first() == Some(&b'{') {
        let at = body.windows(KEY.len()).position(|window| window == KEY)?;
        body[at + KEY.len()..].trim_ascii_start()
    } else {
        body
    };
    let digits = body.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let number = std::str::from_utf8(&body[..digits]).ok()?.parse().ok()?;
    (number < NUMBERS).then_some(number)
}

/// How many numbers these are, and the first few of them.
pub struct Numbers(pub Vec<u64>);

impl fmt::Display for Numbers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.len())?;
        if !self.0.is_empty() {
            let more = if self.0.len() > SHOWN { ", …" } else { "" };
            write!(f, " {:?}{more}", &self.0[..self.0.len().min(SHOWN)])?;
        }
        Ok(())
    }
}
