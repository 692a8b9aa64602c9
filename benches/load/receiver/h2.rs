//! The receiver's HTTP/2, by hand: as little as it takes to tell bodies apart and to answer 200. It trusts its client.

use std::{cmp::Ordering, collections::BTreeMap, io};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::{Bodies, Manner};

/// How a connection begins (RFC 9113, section 3.4).
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// How much may be sent before more is allowed: all that there is.
const WINDOW: u32 = 0x7fff_ffff;
/// How much of it is used before the window is opened again.
const OPEN_AFTER: usize = 1 << 28;
const HEAD: usize = 9;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const ACK: u8 = 1;
const PADDED: u8 = 8;

/// Answers the requests of one connection until it is closed. `buffer` has what has come already.
pub(super) async fn answer_all(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    mut buffer: Vec<u8>,
    bodies: &Bodies,
) -> io::Result<()> {
    let mut out = Vec::with_capacity(64 * 1024);
    put(&mut out, SETTINGS, 0, 0, &settings());
    put(&mut out, WINDOW_UPDATE, 0, 0, &(WINDOW - 65_535).to_be_bytes());
    let (mut taken, mut used) = (PREFACE.len(), 0);
    // Of bodies that came in several frames.
    let mut begun = BTreeMap::<u32, Vec<u8>>::new();
    loop {
        while let Some((kind, flags, id, payload)) = frame(buffer.get(taken..).unwrap_or_default()) {
            taken += HEAD + payload.len();
            match kind {
                DATA => {
                    used += payload.len();
                    let payload = unpadded(flags, payload);
                    if flags & END_STREAM == 0 {
                        begun.entry(id).or_default().extend_from_slice(payload);
                        continue;
                    }
                    let manner = match begun.remove(&id) {
                        None => bodies.take(payload),
                        Some(body) => bodies.take(&[&body, payload].concat()),
                    };
                    if let Some(status) = status(manner) {
                        put(&mut out, HEADERS, END_STREAM | END_HEADERS, id, status);
                    }
                }
                SETTINGS if flags & ACK == 0 => put(&mut out, SETTINGS, ACK, 0, &[]),
                PING if flags & ACK == 0 => put(&mut out, PING, ACK, 0, payload),
                _ => {}
            }
        }
        if used > OPEN_AFTER {
            let more = u32::try_from(used).expect("it is a window");
            put(&mut out, WINDOW_UPDATE, 0, 0, &more.to_be_bytes());
            used = 0;
        }
        stream.write_all(&out).await?;
        stream.flush().await?;
        out.clear();
        match taken.cmp(&buffer.len()) {
            Ordering::Less => drop(buffer.drain(..taken)),
            _ if taken >= PREFACE.len() => buffer.clear(),
            _ => {}
        }
        taken = 0;
        if stream.read_buf(&mut buffer).await? == 0 {
            return Ok(());
        }
    }
}

/// The header block of an answer, where there is one: by the static table (RFC 7541, appendix A), or a literal.
fn status(manner: Manner) -> Option<&'static [u8]> {
    match manner {
        Manner::Accept(pause) => {
            assert!(pause.is_zero(), "a slow receiver speaks HTTP/1.1");
            Some(&[0x88])
        }
        Manner::Refuse => Some(b"\x08\x03503"),
        Manner::Hang => None,
    }
}

/// As many streams, and as much in each, as there may be.
fn settings() -> Vec<u8> {
    const MAX_CONCURRENT_STREAMS: u16 = 3;
    const INITIAL_WINDOW_SIZE: u16 = 4;
    let setting = |id: u16, value: u32| [id.to_be_bytes().to_vec(), value.to_be_bytes().to_vec()].concat();
    [setting(MAX_CONCURRENT_STREAMS, 1 << 20), setting(INITIAL_WINDOW_SIZE, WINDOW)].concat()
}

/// The frame at the start of `bytes`, if all of it is there: kind, flags, stream and payload.
fn frame(bytes: &[u8]) -> Option<(u8, u8, u32, &[u8])> {
    let (head, rest) = bytes.split_first_chunk::<HEAD>()?;
    let [a, b, c, kind, flags, stream @ ..] = *head;
    let length = u32::from_be_bytes([0, a, b, c]) as usize;
    Some((kind, flags, u32::from_be_bytes(stream), rest.get(..length)?))
}

fn unpadded(flags: u8, payload: &[u8]) -> &[u8] {
    match payload {
        [padding, payload @ ..] if flags & PADDED != 0 => &payload[..payload.len() - usize::from(*padding)],
        _ => payload,
    }
}

fn put(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    let length = u32::try_from(payload.len()).expect("it is small").to_be_bytes();
    out.extend_from_slice(&length[1..]);
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
}
