//! Who may ask for what: the tokens of the API, and how often they are listened to.

use std::{fmt, num::NonZeroU32, time::Duration};

use http::{
    HeaderValue,
    header::{AUTHORIZATION, ORIGIN, WWW_AUTHENTICATE},
};
use tracing::{field::display, warn};

use crate::{
    base::{
        clock::{Clock, Time},
        throttle::SharedThrottle,
        watched_file::{Watched, WatchedFiles},
    },
    config::{ApiToken, RateLimit, Role, Secret, SecretText, TokenName},
    control::server::{Head, Problem, ProblemKind},
    route::schedule::{
        gate::Gate as _,
        rate_limit::{Limiter, SharedLimit},
    },
};

/// How many requests with a token are taken in a second, and at once after a quiet time.
const REQUESTS: (u32, u32) = (50, 100);
/// The same of requests with a wrong token. They have a limit of their own, so that those who guess keep nobody out.
const WRONG: (u32, u32) = (5, 20);
/// How many lines the log has in a minute of requests that were turned away.
const NAMED: u32 = 10;

/// Who may ask for something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Everybody who reaches the port. It shows neither secrets nor payloads.
    Open,
    /// Whoever has a token.
    Read,
    /// Whoever has a token with the role `act`. The log has a line of it.
    Act,
}

/// Who has asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caller {
    /// Whoever has the token of this name.
    Token(TokenName),
    /// A client of NATS, which has let it in.
    Nats,
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Token(name) => name.fmt(f),
            Self::Nats => f.write_str("a client of NATS"),
        }
    }
}

/// Lets those in who may.
pub struct Guard {
    tokens: Vec<Token>,
    /// Keeps the files of tokens watched.
    _files: WatchedFiles,
    requests: Limiter,
    wrong: Limiter,
    named: SharedThrottle,
    clock: Clock,
}

struct Token {
    name: TokenName,
    role: Role,
    secret: Place,
}

enum Place {
    Settings(Secret),
    File(Watched<Secret>),
}

impl Guard {
    /// Lets those in who have one of `tokens`. A token in a file is what is in it at present.
    pub fn new(tokens: &[ApiToken], clock: Clock) -> Self {
        let files = WatchedFiles::default();
        let token = |token: &ApiToken| Token {
            name: token.name.clone(),
            role: token.role,
            secret: match &token.token {
                SecretText::Inline(secret) => Place::Settings(secret.clone()),
                SecretText::InFile(file) => {
                    Place::File(files.watch(&file.path, file.contents.clone(), ApiToken::read))
                }
            },
        };
        Self {
            tokens: tokens.iter().map(token).collect(),
            _files: files.clone(),
            requests: limiter(REQUESTS),
            wrong: limiter(WRONG),
            named: SharedThrottle::new(NAMED, Duration::from_secs(60)),
            clock,
        }
    }

    /// Who asks for something that `access` is needed for; nobody in particular where everybody may.
    ///
    /// # Errors
    /// Why it may not be had.
    pub fn admit(&self, access: Access, head: &Head) -> Result<Option<Caller>, Problem> {
        let needed = match access {
            Access::Open => return Ok(None),
            Access::Read => Role::Read,
            Access::Act => Role::Act,
        };
        self.check(needed, head, self.clock.now()).map(Some).inspect_err(|problem| {
            if let Some(held_back) = self.named.pass(self.clock.now()) {
                let peer = head.peer().map(|peer| display(peer.ip()));
                let (method, path) = (head.method(), head.path());
                warn!(peer, %method, path, reason = problem.name(), held_back, "a request was turned away");
            }
        })
    }

    fn check(&self, needed: Role, head: &Head, now: Time) -> Result<Caller, Problem> {
        // Browsers say which page a request is of, and leave it out where somebody types the address: then there is no
        // token either. No page may act here, wherever a name server says that it is from.
        if head.header(ORIGIN).is_some() {
            let detail = "requests of pages in a browser, which have the header Origin, are not answered";
            return Err(Problem::new(ProblemKind::FromBrowser, detail));
        }
        if self.tokens.is_empty() {
            let detail = "this needs a token, and none is configured: set server.tokens.NAME.token_file, and \
                          server.tokens.NAME.role to \"act\" for changes";
            return Err(Problem::new(ProblemKind::NoTokens, detail));
        }
        let Some(token) = bearer(head).and_then(|text| self.find(text)) else {
            self.wrong.admit(now).map_err(|until| too_many(until, now))?;
            let scheme = HeaderValue::from_static("Bearer realm=\"broadcaster\"");
            let detail = "send the header \"Authorization: Bearer TOKEN\" with one of server.tokens";
            return Err(Problem::new(ProblemKind::Unauthorized, detail).header(WWW_AUTHENTICATE, scheme));
        };
        self.requests.admit(now).map_err(|until| too_many(until, now))?;
        if token.role < needed {
            let detail =
                format!("the token {0} may only look: set server.tokens.{0}.role to \"act\"", token.name);
            return Err(Problem::new(ProblemKind::RoleTooSmall, detail));
        }
        Ok(Caller::Token(token.name.clone()))
    }

    /// The token that is `text`. All are compared, so that the time tells nothing.
    fn find(&self, text: &str) -> Option<&Token> {
        self.tokens.iter().fold(None, |found, token| if token.is(text) { Some(token) } else { found })
    }
}

impl Token {
    fn is(&self, text: &str) -> bool {
        match &self.secret {
            Place::Settings(secret) => secret.is(text),
            Place::File(watched) => watched.current().is(text),
        }
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.tokens.iter().map(|token| &token.name)).finish()
    }
}

fn limiter((per_second, burst): (u32, u32)) -> Limiter {
    let count = |number| NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN);
    Limiter::new(SharedLimit::new(RateLimit { per_second: count(per_second), burst: count(burst) }))
}

fn too_many(until: Time, now: Time) -> Problem {
    let seconds = until.since(now).as_secs() + 1;
    let detail = "requests come faster than they are taken";
    Problem::new(ProblemKind::TooManyRequests, detail).retry_after(seconds)
}

/// The token that a request shows (RFC 6750).
fn bearer(head: &Head) -> Option<&str> {
    let (scheme, token) = head.header(AUTHORIZATION)?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Sources, load};

    const TOKENS: [(&str, &str); 3] = [
        ("server.tokens.looker.token", "0123456789abcdef"),
        ("server.tokens.actor.token", "fedcba9876543210"),
        ("server.tokens.actor.role", "act"),
    ];

    fn guard(settings: &[(&str, &str)]) -> Guard {
        let flag = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned(), "--set".to_owned());
        let flags = settings.iter().chain(&[("routes.a.webhook.url", "http://a/")]).map(flag).collect();
        let config = load(Sources { flags, ..Sources::default() }).unwrap();
        Guard::new(&config.server.tokens, Clock::start())
    }

    fn asked(
        guard: &Guard,
        access: Access,
        headers: &[(&str, &str)],
        seconds: u64,
    ) -> Result<String, &'static str> {
        let mut request = http::Request::get("/api/v1/routes");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let head = Head::new(request.body(()).unwrap().into_parts().0, "127.0.0.1:1".parse().unwrap());
        let needed = if access == Access::Act { Role::Act } else { Role::Read };
        let caller = guard.check(needed, &head, Time::from_start(Duration::from_secs(seconds)));
        caller.map(|caller| caller.to_string()).map_err(|problem| problem.name())
    }

    #[test]
    fn a_token_opens_what_its_role_goes_to() {
        let guard = guard(&TOKENS);
        let (looker, actor) = ("Bearer 0123456789abcdef", "bearer  fedcba9876543210");
        let ask = |access, token| asked(&guard, access, &[("authorization", token)], 1);
        assert_eq!(ask(Access::Read, looker), Ok("looker".to_owned()));
        assert_eq!(ask(Access::Read, actor), Ok("actor".to_owned()));
        assert_eq!(ask(Access::Act, actor), Ok("actor".to_owned()));
        assert_eq!(ask(Access::Act, looker), Err("role-too-small"));
        for wrong in [
            "",
            "Bearer",
            "Bearer ",
            "Basic 0123456789abcdef",
            "Bearer 0123456789abcde",
            "Bearer 0123456789abcdef0",
        ] {
            assert_eq!(ask(Access::Read, wrong), Err("unauthorized"), "{wrong:?}");
        }
        assert_eq!(asked(&guard, Access::Read, &[], 1), Err("unauthorized"));
        let page = [("authorization", actor), ("origin", "http://127.0.0.1:8002")];
        assert_eq!(asked(&guard, Access::Act, &page, 1), Err("from-browser"));
    }

    #[test]
    fn without_tokens_nothing_is_open() {
        let headers = [("authorization", "Bearer ")];
        assert_eq!(asked(&guard(&[]), Access::Read, &headers, 1), Err("no-tokens"));
    }

    #[test]
    fn who_guesses_keeps_nobody_out_and_nobody_asks_without_end() {
        let guard = guard(&TOKENS);
        let many = |token: &str, times, seconds| {
            let headers = [("authorization", token)];
            let answers = (0..times).map(|_| asked(&guard, Access::Read, &headers, seconds));
            answers.filter(|answer| *answer == Err("too-many-requests")).count()
        };
        assert_eq!(many("Bearer wrong", 1_000, 1), 980);
        assert_eq!(many("Bearer 0123456789abcdef", 100, 1), 0);
        assert_eq!(many("Bearer 0123456789abcdef", 10, 1), 10);
        assert_eq!(many("Bearer 0123456789abcdef", 51, 2), 1, "fifty a second");
    }
}
