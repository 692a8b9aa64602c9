//! Writing the fields of requests (RFC 7541), all of which are much alike on one connection.
//!
//! The first request puts into the peer's table what may come again. From then on a field that is the same is one or
//! two bytes, and of one that is not, such as the id, its name is. Nothing is ever added after that, so no index moves,
//! and the beginning of all requests is made once. Credentials stay out of the table, here and behind any proxy
//! (section 7.1.3).

use super::{integer, static_table};

/// The size of a table at first (RFC 9113, section 6.5.2), and the most that is used.
const TABLE: usize = 4096;
/// What an entry costs beside its name and value (RFC 7541, section 4.1).
const ENTRY: usize = 32;

/// Begins a field that is in a table, a literal that is added to it, and literals that are not, or by nobody.
const INDEXED: u8 = 0x80;
const ADDED: u8 = 0x40;
const SIZE: u8 = 0x20;
const NEVER_ADDED: u8 = 0x10;
const NOT_ADDED: u8 = 0x00;

/// What one request has beside what all begin with. Names may have capitals, which HTTP/2 has not.
pub(in super::super) trait Fields {
    /// The path of this request, where it has one of its own.
    fn path(&self) -> Option<&str>;
    /// Calls `put` with each field that may be another one for each request, in the order in which they are sent.
    fn each(&self, put: impl FnMut(&str, &[u8]));
}

/// What all requests begin with.
#[derive(Debug)]
pub(in super::super) struct Beginning {
    /// Method, scheme and authority.
    pub(in super::super) pseudo: Vec<(&'static str, Box<[u8]>)>,
    /// The path of those that have none of their own.
    pub(in super::super) path: Box<str>,
    /// The fields that are always the same.
    pub(in super::super) fields: Vec<(Box<str>, Box<[u8]>)>,
    /// The names of those that may be other ones, and are worth a place in the table.
    pub(in super::super) steady: &'static [&'static str],
}

/// The encoder of one connection.
#[derive(Debug)]
pub struct Encoder {
    /// How large the table is, which the peer can make smaller.
    size: usize,
    /// Whether the peer has to be told of that.
    is_resized: bool,
    made: Option<Made>,
}

/// What was made by the first request.
#[derive(Debug)]
struct Made {
    pseudo: Vec<u8>,
    path: Vec<u8>,
    fields: Vec<u8>,
    known: Vec<Known>,
}

/// A field that is in the table.
#[derive(Debug)]
struct Known {
    name: &'static str,
    value: Box<[u8]>,
    index: usize,
}

/// Where a field of the first request has got to.
#[derive(Clone, Copy)]
enum Place {
    Static(usize),
    /// It is the so manieth in the table.
    Entry(usize),
    /// Nowhere: it is a secret, or there was no room.
    Literal,
}

impl Default for Encoder {
    fn default() -> Self {
        Self { size: TABLE, is_resized: false, made: None }
    }
}

impl Encoder {
    /// Takes note of how large a table the peer allows.
    pub(in super::super) fn allow(&mut self, size: u32) {
        let size = usize::try_from(size).unwrap_or(TABLE).min(TABLE);
        if size != self.size {
            *self = Self { size, is_resized: true, made: None };
        }
    }

    /// Appends the block of a request.
    pub(in super::super) fn encode(&mut self, all: &Beginning, request: &impl Fields, out: &mut Vec<u8>) {
        let Some(Made { pseudo, path, fields, known }) = &self.made else {
            return self.first(all, request, out);
        };
        out.extend_from_slice(pseudo);
        match request.path() {
            None => out.extend_from_slice(path),
            Some(own) => put_literal(out, ":path", own.as_bytes()),
        }
        out.extend_from_slice(fields);
        let mut known = known.as_slice();
        request.each(|name, value| match known {
            // The same name is mostly the same text: that costs less to see than to read it.
            [next, rest @ ..] if std::ptr::eq(next.name, name) || next.name == name => {
                known = rest;
                if *next.value == *value {
                    integer::put(out, INDEXED, 7, next.index);
                } else {
                    integer::put(out, NOT_ADDED, 4, next.index);
                    put_text(out, value);
                }
            }
            _ => put_literal(out, name, value),
        });
    }

    /// The first request, or the first after a change of the table's size.
    fn first(&mut self, all: &Beginning, request: &impl Fields, out: &mut Vec<u8>) {
        if std::mem::take(&mut self.is_resized) {
            // All the way down first: whatever is in the table goes.
            integer::put(out, SIZE, 5, 0);
            integer::put(out, SIZE, 5, self.size);
        }
        let mut table = Table { room: self.size, entries: 0 };
        let mut add = |out: &mut Vec<u8>, name: &str, value: &[u8]| table.add(out, name, value);
        let pseudo: Vec<_> = all.pseudo.iter().map(|(name, value)| add(out, name, value)).collect();
        let path = match request.path() {
            None => add(out, ":path", all.path.as_bytes()),
            Some(own) => {
                put_literal(out, ":path", own.as_bytes());
                Place::Literal
            }
        };
        let fields: Vec<_> = all.fields.iter().map(|(name, value)| add(out, name, value)).collect();
        let mut known = Vec::new();
        request.each(|name, value| match all.steady.iter().find(|steady| **steady == name) {
            Some(name) => known.push((*name, Box::<[u8]>::from(value), add(out, name, value))),
            None => put_literal(out, name, value),
        });
        let index = |place| match place {
            Place::Static(index) => Some(index),
            Place::Entry(number) => Some(static_table::STATIC.len() + table.entries - number),
            Place::Literal => None,
        };
        let again = |out: &mut Vec<u8>, name: &str, value: &[u8], place| match index(place) {
            Some(index) => integer::put(out, INDEXED, 7, index),
            None => put_literal(out, name, value),
        };
        let mut made = Made { pseudo: Vec::new(), path: Vec::new(), fields: Vec::new(), known: Vec::new() };
        for ((name, value), place) in all.pseudo.iter().zip(pseudo) {
            again(&mut made.pseudo, name, value, place);
        }
        again(&mut made.path, ":path", all.path.as_bytes(), path);
        for ((name, value), place) in all.fields.iter().zip(fields) {
            again(&mut made.fields, name, value, place);
        }
        let known = known
            .into_iter()
            .filter_map(|(name, value, place)| Some(Known { name, value, index: index(place)? }));
        made.known = known.collect();
        self.made = Some(made);
    }
}

/// The table of the peer, as the first request fills it.
struct Table {
    room: usize,
    entries: usize,
}

impl Table {
    /// Appends a field, and has it added to the table where that is of use.
    fn add(&mut self, out: &mut Vec<u8>, name: &str, value: &[u8]) -> Place {
        let lower = name.to_ascii_lowercase();
        let is_it =
            |known: &(&str, &str)| known.0 == lower && known.1.as_bytes() == value && !value.is_empty();
        if let Some(place) = static_table::STATIC.iter().position(is_it) {
            integer::put(out, INDEXED, 7, place + 1);
            return Place::Static(place + 1);
        }
        let size = name.len() + value.len() + ENTRY;
        if is_credential(&lower) || size > self.room {
            put_literal(out, name, value);
            return Place::Literal;
        }
        self.room -= size;
        put_name(out, ADDED, 6, &lower);
        put_text(out, value);
        self.entries += 1;
        Place::Entry(self.entries - 1)
    }
}

fn put_literal(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    let first = if is_credential(name) { NEVER_ADDED } else { NOT_ADDED };
    put_name(out, first, 4, name);
    put_text(out, value);
}

fn put_name(out: &mut Vec<u8>, first: u8, bits: u32, name: &str) {
    let index = static_table::index_of(name.to_ascii_lowercase().as_bytes());
    integer::put(out, first, bits, index.unwrap_or_default());
    if index.is_none() {
        integer::put(out, 0, 7, name.len());
        out.extend(name.bytes().map(|byte| byte.to_ascii_lowercase()));
    }
}

/// Appends a value. Blanks around it are allowed in HTTP/1.1, and not here (RFC 9113, section 8.2.1).
fn put_text(out: &mut Vec<u8>, value: &[u8]) {
    let value = value.trim_ascii();
    integer::put(out, 0, 7, value.len());
    out.extend_from_slice(value);
}

/// Whether a field of this name lets somebody in, as far as names tell.
fn is_credential(name: &str) -> bool {
    const PARTS: [&str; 6] = ["auth", "cookie", "key", "password", "secret", "token"];
    // Nearly all names are ours, and are asked for on the way of each message.
    !name.starts_with(':') && {
        let name = name.to_ascii_lowercase();
        name != "idempotency-key" && PARTS.iter().any(|part| name.contains(part))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deliver::h2::hpack::decoder;

    struct Request(Option<&'static str>, Vec<(&'static str, &'static [u8])>);

    impl Fields for Request {
        fn path(&self) -> Option<&str> {
            self.0
        }

        fn each(&self, mut put: impl FnMut(&str, &[u8])) {
            self.1.iter().for_each(|(name, value)| put(name, value));
        }
    }

    fn beginning() -> Beginning {
        Beginning {
            pseudo: vec![(":method", b"POST".as_slice().into()), (":authority", b"a:8080".as_slice().into())],
            path: "/hook".into(),
            fields: vec![
                ("User-Agent".into(), b"broadcaster".as_slice().into()),
                ("Authorization".into(), b"Bearer x".as_slice().into()),
            ],
            steady: &["webhook-id", "broadcaster-attempt"],
        }
    }

    fn request(id: &'static [u8]) -> Request {
        let fields = vec![("webhook-id", id), ("broadcaster-attempt", b"1".as_slice()), ("X-Own", b" o ")];
        Request(None, fields)
    }

    /// What a decoder with a table makes of `blocks`.
    fn decoded(blocks: &[Vec<u8>], size: usize) -> Vec<Vec<(String, String)>> {
        let (mut table, mut all) = (Vec::<(String, String)>::new(), Vec::new());
        for block in blocks {
            let mut rest = block.as_slice();
            let mut fields = Vec::new();
            while let Some(first) = rest.first().copied() {
                let at = |index: usize, table: &[(String, String)]| match static_table::field(index) {
                    Some((name, value)) => (name.to_owned(), value.to_owned()),
                    None => table[index - 62].clone(),
                };
                if first & 0x80 != 0 {
                    let (index, behind) = integer::read(rest, 7).unwrap();
                    fields.push(at(index, &table));
                    rest = behind;
                    continue;
                }
                if first & 0xe0 == 0x20 {
                    let (size, behind) = integer::read(rest, 5).unwrap();
                    if size == 0 {
                        table.clear();
                    }
                    rest = behind;
                    continue;
                }
                let (index, behind) = integer::read(rest, if first & 0x40 != 0 { 6 } else { 4 }).unwrap();
                let text = |bytes: &[u8]| {
                    let (length, behind) = integer::read(bytes, 7).unwrap();
                    let (text, behind) = behind.split_at(length);
                    (String::from_utf8(text.to_vec()).unwrap(), behind.to_vec())
                };
                let (name, behind) =
                    if index == 0 { text(behind) } else { (at(index, &table).0, behind.to_vec()) };
                let (value, behind) = text(&behind);
                if first & 0x40 != 0 {
                    table.insert(0, (name.clone(), value.clone()));
                    assert!(
                        table.iter().map(|(name, value)| name.len() + value.len() + 32).sum::<usize>()
                            <= size
                    );
                }
                fields.push((name, value));
                rest = &block[block.len() - behind.len()..];
            }
            all.push(fields);
        }
        all
    }

    #[test]
    fn every_request_says_the_same_as_the_first_in_fewer_bytes() {
        for size in [0, 60, 100, 200, 4096] {
            let mut encoder = Encoder::default();
            encoder.allow(size);
            let blocks: Vec<_> = [b"id-1".as_slice(), b"id-2", b"id-1"]
                .into_iter()
                .map(|id| {
                    let mut block = Vec::new();
                    encoder.encode(&beginning(), &request(id), &mut block);
                    block
                })
                .collect();
            let fields = decoded(&blocks, size as usize);
            for (fields, id) in fields.iter().zip(["id-1", "id-2", "id-1"]) {
                let expected = [
                    (":method", "POST"),
                    (":authority", "a:8080"),
                    (":path", "/hook"),
                    ("user-agent", "broadcaster"),
                    ("authorization", "Bearer x"),
                    ("webhook-id", id),
                    ("broadcaster-attempt", "1"),
                    ("x-own", "o"),
                ];
                let fields: Vec<_> = fields.iter().map(|(name, value)| (&**name, &**value)).collect();
                assert_eq!(fields, expected, "with a table of {size}");
            }
            assert!(
                size < 200 || blocks[1].len() < blocks[0].len() - 30,
                "{} {}",
                blocks[0].len(),
                blocks[1].len()
            );
        }
    }

    #[test]
    fn credentials_are_marked_and_never_in_the_table() {
        let mut encoder = Encoder::default();
        for _ in 0..2 {
            let mut block = Vec::new();
            encoder.encode(&beginning(), &request(b"1"), &mut block);
            let literal = [&[0x1f, 8, 8][..], b"Bearer x"].concat();
            assert!(block.windows(literal.len()).any(|window| window == literal), "{block:x?}");
        }
    }

    #[test]
    fn a_path_of_its_own_stands_before_the_fields() {
        let mut encoder = Encoder::default();
        let mut blocks = Vec::new();
        for path in ["/a", "/b"] {
            let mut block = Vec::new();
            encoder.encode(&beginning(), &Request(Some(path), Vec::new()), &mut block);
            blocks.push(block);
        }
        for (fields, path) in decoded(&blocks, 4096).iter().zip(["/a", "/b"]) {
            assert_eq!(fields[2], (":path".to_owned(), path.to_owned()));
            assert_eq!(fields.len(), 5);
        }
        // What it does not refer to can be read without a table.
        assert!(decoder::Fields::of(&blocks[1]).any(|field| field.is_err()));
    }

    #[test]
    fn a_table_that_becomes_smaller_is_emptied_and_filled_again() {
        let mut encoder = Encoder::default();
        let mut blocks = Vec::new();
        for size in [4096, 120, 120, 4096] {
            encoder.allow(size);
            let mut block = Vec::new();
            encoder.encode(&beginning(), &request(b"1"), &mut block);
            blocks.push(block);
        }
        assert!(blocks[1].starts_with(&[0x20, 0x3f, 89]) && !blocks[2].starts_with(&[0x20]), "{blocks:x?}");
        assert!(decoded(&blocks, 4096).windows(2).all(|two| two[0] == two[1]));
    }
}
