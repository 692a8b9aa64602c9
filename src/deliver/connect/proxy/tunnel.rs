//! A tunnel by HTTP's CONNECT (RFC 9110, section 9.3.6).

use data_encoding::BASE64;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::{Destination, Refusal, exposed};
use crate::config::ProxyLogin;

/// How long the head of an answer may be, in bytes.
const LONGEST: usize = 16 * 1024;
/// What a head ends with.
const END: &[u8] = b"\r\n\r\n";
/// How much of a reason is told.
const TOLD: usize = 100;

/// Asks for a tunnel to `to`, and reads the answer to the end of its head and no further.
pub(super) async fn ask<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    to: Destination<'_>,
    login: Option<&ProxyLogin>,
) -> Result<(), Refusal> {
    let mut request =
        format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\nUser-Agent: broadcaster/{}\r\n", crate::VERSION);
    if let Some(login) = login {
        let (user, password) = exposed(login);
        let login = BASE64.encode(format!("{user}:{password}").as_bytes());
        request.push_str(&format!("Proxy-Authorization: Basic {login}\r\n"));
    }
    request.push_str("\r\n");
    stream.write_all(request.as_bytes()).await?;
    // Encrypted bytes would wait for more otherwise.
    stream.flush().await?;
    judge(&head(stream).await?, login.is_some())
}

/// The head of the answer, without the empty line at its end. What follows is not the proxy's: a server of HTTP/2 speaks
/// first, and what it says may come together with this. So it is read byte by byte, which a connection does once.
async fn head<S: AsyncRead + Unpin>(stream: &mut S) -> Result<Vec<u8>, Refusal> {
    let mut head = Vec::new();
    while head.len() <= LONGEST {
        head.push(stream.read_u8().await?);
        if head.ends_with(END) {
            head.truncate(head.len() - END.len());
            return Ok(head);
        }
    }
    Err(Refusal::OfProxy("its answer has no end".to_owned()))
}

/// The status that an answer begins with, and its reason.
fn status(head: &[u8]) -> Option<(u16, &[u8])> {
    let line = head.split(|byte| *byte == b'\r').next()?;
    let rest = line.strip_prefix(b"HTTP/1.1 ").or_else(|| line.strip_prefix(b"HTTP/1.0 "))?;
    let (code, reason) = rest.split_at_checked(3)?;
    let is_code = code.iter().all(u8::is_ascii_digit) && matches!(reason, [] | [b' ', ..]);
    let status = is_code.then(|| code.iter().fold(0, |status, digit| status * 10 + u16::from(digit - b'0')));
    Some((status.filter(|status| *status >= 100)?, reason.trim_ascii()))
}

fn judge(head: &[u8], has_login: bool) -> Result<(), Refusal> {
    let Some((status, reason)) = status(head) else {
        return Err(Refusal::OfProxy("it answers CONNECT with what is no HTTP/1.1".to_owned()));
    };
    let reason = String::from_utf8_lossy(reason.get(..TOLD).unwrap_or(reason)).into_owned();
    let advice = match status {
        200..=299 => return Ok(()),
        407 if has_login => ": it does not know the login of webhook.egress.proxy",
        407 => ": it wants a login, http://user:password@… in webhook.egress.proxy",
        _ => "",
    };
    Err(Refusal::OfProxy(format!("it answers CONNECT with {status} {reason}{advice}")))
}

#[cfg(test)]
mod tests {
    use tokio::io::duplex;
    use url::Host;

    use super::*;

    /// What comes of it where the proxy says this, in pieces of so many bytes; what it was asked; and what is left to read.
    async fn asked(answer: &[u8], piece: usize) -> (Result<(), String>, String, Vec<u8>) {
        let (mut ours, mut theirs) = duplex(64 * 1024);
        let host = Host::parse("hook.example").unwrap();
        let login = ProxyLogin { user: "user".to_owned().into(), password: "pass".to_owned().into() };
        let to = Destination { host: &host, port: 443 };
        let proxy = async {
            let mut request = vec![0; 1024];
            let length = theirs.read(&mut request).await.unwrap();
            for piece in answer.chunks(piece) {
                if theirs.write_all(piece).await.is_err() {
                    break;
                }
                tokio::task::yield_now().await;
            }
            drop(theirs);
            String::from_utf8_lossy(&request[..length]).into_owned()
        };
        let (result, request) = tokio::join!(ask(&mut ours, to, Some(&login)), proxy);
        let mut rest = Vec::new();
        ours.read_to_end(&mut rest).await.unwrap();
        let words = result.map_err(|refusal| match refusal {
            Refusal::OfProxy(words) | Refusal::OfDestination(words) => words,
        });
        (words, request, rest)
    }

    #[tokio::test]
    async fn it_asks_for_host_and_port_with_the_login() {
        let (result, request, _) = asked(b"HTTP/1.1 200 Connection established\r\n\r\n", 1024).await;
        assert_eq!(result, Ok(()));
        let lines: Vec<_> = request.split("\r\n").collect();
        assert_eq!(lines[..2], ["CONNECT hook.example:443 HTTP/1.1", "Host: hook.example:443"]);
        assert!(lines.contains(&"Proxy-Authorization: Basic dXNlcjpwYXNz") && request.ends_with("\r\n\r\n"));
    }

    #[tokio::test]
    async fn an_answer_is_read_to_its_end_and_no_further() {
        let endless = [b"HTTP/1.1 200 OK\r\n".to_vec(), vec![b'x'; 20_000]].concat();
        for (answer, words) in [
            (&b"HTTP/1.1 200 OK\r\nVia: x\r\nContent-Length: 7\r\n\r\n"[..], None),
            (b"HTTP/1.0 204\r\n\r\n", None),
            (b"HTTP/1.1 200 OK\r\n", Some("it hangs up")),
            (b"", Some("it hangs up")),
            (b"HTTP/1.1 407 Who are you\r\n\r\nbody", Some("407 Who are you: it does not know the login")),
            (b"HTTP/1.1 503 Service Unavailable\r\nx: y\r\n\r\n", Some("with 503 Service Unavailable")),
            (b"HTTP/1.1 100 Continue\r\n\r\n", Some("with 100 Continue")),
            (b"HTTP/2 200\r\n\r\n", Some("no HTTP/1.1")),
            (b"HTTP/1.1 2000 OK\r\n\r\n", Some("no HTTP/1.1")),
            (b"220 mail.example\r\n\r\n", Some("no HTTP/1.1")),
            (&endless, Some("no end")),
        ] {
            for piece in [1, 7, 4096] {
                let (result, ..) = asked(answer, piece).await;
                let fits = match (&result, words) {
                    (Ok(()), None) => true,
                    (Err(said), Some(words)) => said.contains(words),
                    _ => false,
                };
                assert!(fits, "{}: {result:?}", answer.escape_ascii());
            }
        }
        for piece in [1, 4096] {
            let (result, _, rest) = asked(b"HTTP/1.1 200 OK\r\n\r\nmore", piece).await;
            assert_eq!((result, &*rest), (Ok(()), &b"more"[..]), "what is behind it belongs to the tunnel");
        }
    }
}
