//! From an open connection to one that is logged in: INFO, TLS, CONNECT, and the PONG that says that we are in.

use std::{rc::Rc, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{Instant, timeout_at},
};

use super::{
    info::ServerInfo,
    login::{Introduction, connect_line},
    reader::{Operation, Reader},
    tls::{broken, encrypt, no_thread},
};
use crate::{
    base::{blocking::BlockingThreads, network::stream::Stream},
    config::Nats,
};

/// How long a server may take from the first packet to the PONG.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);
/// What is said of one that takes longer.
pub(super) const TOO_LONG: &str = "within 5s";
/// A server that says more than this before its PONG never comes to it.
const MOST_OPERATIONS: usize = 100;
/// No words of a server are told at greater length, in characters.
const LONGEST: usize = 200;

/// What is the same for each login.
#[derive(Clone, Debug)]
pub(super) struct Terms {
    pub(super) config: Rc<Nats>,
    /// Whether what we publish comes back to us where we have subscribed to it.
    pub(super) echo: bool,
    pub(super) threads: BlockingThreads,
}

/// A connection that is logged in.
#[derive(Debug)]
pub(super) struct LoggedIn {
    pub(super) stream: Stream,
    pub(super) reader: Reader,
    pub(super) info: ServerInfo,
}

/// Logs in over `tcp`, with TLS for a server that is certified as `name` where it `is_tls` or wants that itself.
///
/// # Errors
/// Why we are not in, in words: those of the server where it has said some.
pub(super) async fn log_in(
    mut tcp: TcpStream,
    name: &str,
    is_tls: bool,
    terms: &Terms,
    deadline: Instant,
) -> Result<LoggedIn, String> {
    let tls = &terms.config.tls;
    let encrypted = async |tcp| {
        let stream = timeout_at(deadline, encrypt(tcp, name, tls, &terms.threads)).await;
        stream.map_err(|_elapsed| format!("TLS: no answer {TOO_LONG}"))?.map(Stream::Tls)
    };
    let mut reader = Reader::default();
    if tls.handshake_first {
        let mut stream = encrypted(tcp).await?;
        let info = greeting(&mut stream, &mut reader, deadline, true).await?;
        return introduce(stream, reader, info, terms, deadline).await;
    }
    let info = greeting(&mut tcp, &mut reader, deadline, false).await?;
    if !is_tls && !info.tls_required && tls.ca_file.is_none() && tls.client.is_none() {
        return introduce(Stream::Plain(tcp), reader, info, terms, deadline).await;
    }
    if !info.tls_required && !info.tls_available {
        return Err("it does not offer TLS, which the configuration asks for".to_owned());
    }
    // Whoever stands between us and the server could have said it.
    if !reader.is_empty() {
        return Err("it says something in plain text before TLS".to_owned());
    }
    introduce(encrypted(tcp).await?, Reader::default(), info, terms, deadline).await
}

/// The INFO with which a server begins.
async fn greeting(
    stream: &mut (impl AsyncRead + Unpin),
    reader: &mut Reader,
    deadline: Instant,
    is_encrypted: bool,
) -> Result<ServerInfo, String> {
    // With TLS first, a server waits in silence for what does not come, and hangs up then.
    let hint =
        if is_encrypted { "" } else { " (nats.tls.handshake_first is for those that expect TLS first)" };
    let operation = match timeout_at(deadline, next(stream, reader)).await {
        Err(_elapsed) => return Err(format!("no INFO {TOO_LONG}{hint}")),
        Ok(Err(End::Closed)) => return Err(format!("it closes the connection before INFO{hint}")),
        Ok(Err(End::Broken(words))) => return Err(words),
        Ok(Ok(operation)) => operation,
    };
    match operation {
        Operation::Info(json) => {
            ServerInfo::parse(&json).ok_or_else(|| format!("its INFO is no JSON: {:?}", words(&json)))
        }
        Operation::Error(text) => Err(words(&text)),
        _ => Err("it does not begin with INFO".to_owned()),
    }
}

/// Logs in, once all else is settled.
async fn introduce(
    mut stream: Stream,
    mut reader: Reader,
    mut info: ServerInfo,
    terms: &Terms,
    deadline: Instant,
) -> Result<LoggedIn, String> {
    let login = terms.config.login();
    let login = timeout_at(deadline, terms.threads.run(move || login.read_again())).await;
    let login = login.map_err(|_elapsed| "reading the files of the login takes more than 5s".to_owned())?;
    let login = login.map_err(|error| no_thread(&error))??;
    let introduction =
        Introduction { name: &terms.config.name, echo: terms.echo, is_tls: matches!(stream, Stream::Tls(_)) };
    let mut line = connect_line(&login, &info, introduction)?;
    line.extend_from_slice(b"PING\r\n");
    let answer = timeout_at(deadline, async {
        let written = stream.write_all(&line).await;
        let answer = accepted(&mut stream, &mut reader, &mut info).await;
        // What the server has said before it hung up tells more than that it has.
        match (answer, written) {
            (Err(End::Closed), Err(error)) => Err(broken(&error)),
            (Err(End::Closed), Ok(())) => Err("it closes the connection at the login".to_owned()),
            (Err(End::Broken(words)), _) => Err(words),
            (Ok(()), _) => Ok(()),
        }
    });
    answer.await.map_err(|_elapsed| format!("no answer to the login {TOO_LONG}"))??;
    Ok(LoggedIn { stream, reader, info })
}

/// Returns when the server has let us in.
async fn accepted(stream: &mut Stream, reader: &mut Reader, info: &mut ServerInfo) -> Result<(), End> {
    for _ in 0..MOST_OPERATIONS {
        match next(stream, reader).await? {
            Operation::Pong => return Ok(()),
            Operation::Error(text) => return Err(End::Broken(words(&text))),
            Operation::Info(json) => {
                if let Some(newer) = ServerInfo::parse(&json) {
                    *info = newer;
                }
            }
            Operation::Ping => {
                stream.write_all(b"PONG\r\n").await.map_err(|error| End::Broken(broken(&error)))?;
            }
            Operation::Ok => {}
            Operation::Message(_) => {
                return Err(End::Broken("it sends messages before the login".to_owned()));
            }
        }
    }
    Err(End::Broken("it says anything but PONG".to_owned()))
}

/// Why nothing more comes.
enum End {
    Closed,
    /// Or it makes no sense; in words.
    Broken(String),
}

async fn next(stream: &mut (impl AsyncRead + Unpin), reader: &mut Reader) -> Result<Operation, End> {
    loop {
        if let Some(operation) = reader.next().map_err(|error| End::Broken(error.to_string()))? {
            return Ok(operation);
        }
        let read = stream.read_buf(reader.room()).await;
        if read.map_err(|error| End::Broken(broken(&error)))? == 0 {
            return Err(End::Closed);
        }
    }
}

/// What a server has said, fit to be told.
fn words(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text).replace(char::is_control, " ");
    let text = text.trim().trim_matches('\'').to_lowercase();
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}
