//! Every name of a header that broadcaster writes or gives a meaning to, in HTTP and in NATS. They stand together
//! because what writes a header, what reads it again and what keeps others from setting it must agree.

/// Names in HTTP requests, as they are written: the case makes no difference to HTTP, but to receivers that look for it
/// themselves. So those of HTTP have their usual case, and ours the one of the documents: that of Standard Webhooks, and
/// lower case.
pub mod http {
    /// Marks a message that somebody sends to try the webhook: `true`.
    pub const TEST: &str = "broadcaster-test";
    /// What the receiver says to do with the message, in its answer.
    pub const VERDICT: &str = "webhook-delivery";
    /// Which attempt at this message it is, from 1.
    pub const ATTEMPT: &str = "broadcaster-attempt";
    /// How many messages are in a batch.
    pub const COUNT: &str = "broadcaster-count";
    /// What the message was published to.
    pub const SUBJECT: &str = "broadcaster-subject";
    /// What the body is.
    pub const CONTENT_TYPE: &str = "Content-Type";
    /// How the body is compressed.
    pub const CONTENT_ENCODING: &str = "Content-Encoding";
    /// What the request logs in with.
    pub const AUTHORIZATION: &str = "Authorization";
    /// How long the body is, in bytes.
    pub const CONTENT_LENGTH: &str = "Content-Length";
    /// The host and port that the request is for.
    pub const HOST: &str = "Host";
    /// Who sends it.
    pub const USER_AGENT: &str = "User-Agent";
    /// The message's id, the same on every attempt (Standard Webhooks).
    pub const WEBHOOK_ID: &str = "webhook-id";

    /// Which span of which trace the request is a part of (W3C Trace Context).
    pub const TRACEPARENT: &str = "traceparent";
    /// What tracing systems have to say about that trace (W3C Trace Context).
    pub const TRACESTATE: &str = "tracestate";

    /// Whether a header of this name is about a trace.
    pub fn is_of_trace(name: &str) -> bool {
        is_same(name, TRACEPARENT) || is_same(name, TRACESTATE)
    }

    /// Whether broadcaster or HTTP itself sets the header of this name, so that an operator may not.
    pub fn is_set_by_us(name: &str) -> bool {
        const OURS: [&str; 6] = [ATTEMPT, COUNT, SUBJECT, CONTENT_LENGTH, HOST, WEBHOOK_ID];
        /// These are about a connection and not about a request (RFC 9110, section 7.6.1), or, as `expect`, ask for an
        /// exchange that the client does not take part in.
        const CONNECTION: [&str; 8] = [
            "connection",
            "expect",
            "keep-alive",
            "proxy-connection",
            "te",
            "trailer",
            "transfer-encoding",
            "upgrade",
        ];
        OURS.iter().chain(&CONNECTION).any(|other| is_same(other, name))
    }

    /// What all names begin with that only broadcaster sets: those of signatures (Standard Webhooks), and its own.
    pub const OUR_PREFIXES: [&str; 2] = ["webhook-", "broadcaster-"];

    /// What an event in binary mode has at least (CloudEvents).
    pub const EVENT: [&str; 4] = ["ce-specversion", "ce-id", "ce-source", "ce-type"];
    /// What the names of all its attributes begin with.
    pub const EVENT_PREFIX: &str = "ce-";

    /// Whether a header of this name is an attribute of an event in binary mode.
    pub fn is_of_event(name: &str) -> bool {
        name.get(..EVENT_PREFIX.len()).is_some_and(|start| is_same(start, EVENT_PREFIX))
    }

    /// Whether a publisher's header of this name never goes with a request: broadcaster sets it, or HTTP. Many receivers,
    /// those with CGI's variables for example, take `_` for `-`, and so does this.
    pub fn is_never_forwarded(name: &str) -> bool {
        /// Of a request of our own there is one, or none.
        const SINGLE: [&str; 3] = [CONTENT_TYPE, USER_AGENT, "proxy-authorization"];
        let begins = |prefix: &&str| name.get(..prefix.len()).is_some_and(|start| is_same(start, prefix));
        is_set_by_us(name)
            || SINGLE.iter().any(|single| is_same(single, name))
            || OUR_PREFIXES.iter().any(begins)
    }

    /// Whether a header of this name is a command to NATS.
    pub fn is_command(name: &str) -> bool {
        let prefix = super::nats::NATS_PREFIX;
        name.get(..prefix.len()).is_some_and(|start| is_same(start, prefix))
    }

    /// Whether two names are the same to a receiver that takes `_` for `-`.
    pub fn is_same(left: &str, right: &str) -> bool {
        let plain = |byte: u8| if byte == b'_' { b'-' } else { byte.to_ascii_lowercase() };
        left.len() == right.len() && left.bytes().map(plain).eq(right.bytes().map(plain))
    }

    /// Whether `name` can be the name of a header (RFC 9110, section 5.6.2).
    pub fn is_token(name: &str) -> bool {
        let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        !name.is_empty() && name.bytes().all(is_letter)
    }

    /// Whether the header of this name, which is in lower case, has a meaning to receivers that only a signature
    /// (Standard Webhooks), a trace (W3C Trace Context) or a CloudEvent in binary mode may give it.
    pub fn is_kept(name: &str) -> bool {
        const KEPT: [&str; 4] = ["webhook-timestamp", "webhook-signature", TRACEPARENT, TRACESTATE];
        KEPT.contains(&name) || name.starts_with(EVENT_PREFIX)
    }
}

/// Names in NATS messages: of dead letters, and of messages that are handed over.
pub mod nats {
    /// What all names of ours begin with.
    pub const PREFIX: &str = "Broadcaster-";
    /// What all names begin with that are commands to NATS.
    pub const NATS_PREFIX: &str = "Nats-";
    /// Stands before a header of the publisher that would not be taken for the publisher's.
    pub const ORIGINAL_PREFIX: &str = "Broadcaster-Original-";

    /// The publisher's id of a message, by which a stream drops duplicates.
    pub const MESSAGE_ID: &str = "Nats-Msg-Id";
    /// The only stream that may keep a message.
    pub const EXPECTED_STREAM: &str = "Nats-Expected-Stream";
    /// The size of a payload that was left out, as the server tells it.
    pub const MESSAGE_SIZE: &str = "Nats-Msg-Size";
    /// The revision that a key of a bucket has to have for a value to be taken.
    pub const EXPECTED_REVISION: &str = "Nats-Expected-Last-Subject-Sequence";
    /// What became of a key of a bucket, where it has no value any more: `DEL` or `PURGE`.
    pub const BUCKET_OPERATION: &str = "KV-Operation";
    /// Why the server has ended a key of a bucket by itself.
    pub const MARKER_REASON: &str = "Nats-Marker-Reason";
    /// How many messages a consumer has delivered, as the server tells it with a heartbeat.
    pub const LAST_CONSUMER: &str = "Nats-Last-Consumer";
    /// How many messages of a pull request will not come, as the server tells it.
    pub const PENDING_MESSAGES: &str = "Nats-Pending-Messages";

    /// The message's id.
    pub const ID: &str = "Broadcaster-Id";
    /// What the message was published to.
    pub const SUBJECT: &str = "Broadcaster-Subject";
    /// The name of the route.
    pub const ROUTE: &str = "Broadcaster-Route";
    /// How often the message was attempted.
    pub const ATTEMPTS: &str = "Broadcaster-Attempts";
    /// How the last attempt failed.
    pub const LAST_FAILURE: &str = "Broadcaster-Last-Failure";

    /// The status of the webhook's answer.
    pub const STATUS: &str = "Broadcaster-Status";
    /// Why its body is not there.
    pub const BODY_LEFT_OUT: &str = "Broadcaster-Body-Left-Out";
    /// What went wrong with a request, as NATS's services say it (NATS ADR-32).
    pub const SERVICE_ERROR: &str = "Nats-Service-Error";
    /// The same as a number.
    pub const SERVICE_ERROR_CODE: &str = "Nats-Service-Error-Code";

    /// Why a letter died.
    pub const REASON: &str = "Broadcaster-Reason";
    /// When the message came out of NATS. Times are in RFC 3339.
    pub const RECEIVED: &str = "Broadcaster-Received";
    /// When the last attempt ended.
    pub const LAST_ATTEMPT: &str = "Broadcaster-Last-Attempt";
    /// When it became a dead letter.
    pub const DIED: &str = "Broadcaster-Died";
    /// Why the last attempt failed, in words.
    pub const LAST_CAUSE: &str = "Broadcaster-Last-Cause";
    /// The status that the last attempt was answered with.
    pub const LAST_STATUS: &str = "Broadcaster-Last-Status";
    /// How that answer began.
    pub const LAST_ANSWER: &str = "Broadcaster-Last-Answer";
    /// How many of the publisher's headers are not in the letter.
    pub const LEFT_OUT: &str = "Broadcaster-Headers-Left-Out";
    /// The stream a message came from.
    pub const STREAM: &str = "Broadcaster-Stream";
    /// Its sequence in that stream.
    pub const SEQUENCE: &str = "Broadcaster-Sequence";

    /// The subject of the route, which may have wildcards.
    pub const ROUTE_SUBJECT: &str = "Broadcaster-Route-Subject";
    /// How long ago a message was received, in milliseconds: the clocks of two machines differ.
    pub const AGE: &str = "Broadcaster-Age";
    /// In how many milliseconds the next attempt is due.
    pub const DUE: &str = "Broadcaster-Due";
    /// Where the publisher waits for an answer.
    pub const REPLY: &str = "Broadcaster-Reply";
    /// The publisher's headers, in one: under their own names, some would be commands to NATS.
    pub const HEADERS: &str = "Broadcaster-Headers";

    /// Whether a header of a letter or an offer under this name would not be taken for the publisher's.
    pub fn is_reserved(name: &str) -> bool {
        let starts_with =
            |prefix: &str| name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix));
        starts_with(NATS_PREFIX) || starts_with(PREFIX)
    }
}
