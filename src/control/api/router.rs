//! From a method and a path to what answers it.

use std::{borrow::Cow, fmt};

use http::{HeaderValue, Method, StatusCode, header::ALLOW};
use percent_encoding::percent_decode_str;
use serde::de::DeserializeOwned;

use super::{
    audit,
    guard::{Access, Caller, Guard},
    input,
};
use crate::control::server::{Answer, Head, Problem, ProblemKind, Reply};

/// A request that has found what answers it.
pub struct Call<'a> {
    /// What is known of the request before its body.
    pub head: &'a Head,
    /// Who asks; nobody in particular where everybody may.
    pub caller: Option<Caller>,
    template: &'static str,
}

/// What can be asked for, by path and method, and by whom. `HEAD` is answered as `GET` is, without the body.
#[derive(Debug)]
pub struct Router {
    guard: Guard,
    operations: Vec<Operation>,
}

struct Operation {
    method: Method,
    /// The path; a part of it may be a `{name}`, for which anything may stand.
    template: &'static str,
    access: Access,
    /// The parameters that its query may have.
    parameters: &'static [&'static str],
    operate: Box<dyn Fn(&Call<'_>) -> Reply>,
}

impl Call<'_> {
    /// Who asks, in the words of the log.
    pub fn by(&self) -> String {
        self.caller.as_ref().map_or_else(|| "anybody".to_owned(), Caller::to_string)
    }

    /// Replies after some work.
    pub fn work(&self, work: impl Future<Output = Result<Answer, Problem>> + 'static) -> Reply {
        Reply::Later(Box::pin(async { work.await.unwrap_or_else(Into::into) }))
    }

    /// Replies after some work with the body, which has to be JSON. Without a body, all of it is left out.
    pub fn work_with<T, W>(&self, work: impl FnOnce(T) -> W + 'static) -> Reply
    where
        T: DeserializeOwned + 'static,
        W: Future<Output = Result<Answer, Problem>> + 'static,
    {
        if let Err(problem) = input::expects_json(self.head) {
            return Reply::Now(problem.into());
        }
        Reply::WithBody(Box::new(move |body| {
            Box::pin(async move {
                let done = async { work(input::json(&body?)?).await };
                done.await.unwrap_or_else(Into::into)
            })
        }))
    }

    /// What stands in the path where the template has `{name}`, decoded; empty where it has none.
    pub fn parameter(&self, name: &str) -> Cow<'_, str> {
        let mut parts = self.template.split('/').zip(self.head.path().split('/'));
        let part = parts.find(|(part, _)| placeholder(part) == Some(name));
        percent_decode_str(part.map_or("", |(_, value)| value)).decode_utf8_lossy()
    }
}

impl Router {
    /// One without anything, that lets those in whom `guard` does.
    pub const fn new(guard: Guard) -> Self {
        Self { guard, operations: Vec::new() }
    }

    /// Has `operate` answer `method` at `template`, a path whose parts may be `{name}`. It must not take long: what it
    /// replies may.
    pub fn add(
        &mut self,
        method: Method,
        template: &'static str,
        access: Access,
        operate: impl Fn(&Call<'_>) -> Reply + 'static,
    ) {
        self.add_taking(&[], method, template, access, operate);
    }

    /// The same, where the query may have these parameters.
    pub fn add_taking(
        &mut self,
        parameters: &'static [&'static str],
        method: Method,
        template: &'static str,
        access: Access,
        operate: impl Fn(&Call<'_>) -> Reply + 'static,
    ) {
        self.operations.push(Operation { method, template, access, parameters, operate: Box::new(operate) });
    }

    /// What there is, by path and method, who may ask for it, and with which parameters.
    #[cfg(test)]
    pub(super) fn operations(
        &self,
    ) -> impl Iterator<Item = ((String, String), (Access, &'static [&'static str]))> {
        let key = |operation: &Operation| (operation.template.to_owned(), operation.method.to_string());
        self.operations.iter().map(move |one| (key(one), (one.access, one.parameters)))
    }

    /// Answers the request with this head, where the guard lets its client in.
    pub fn answer(&self, head: &Head) -> Reply {
        self.answer_whom(head, |access| self.guard.admit(access, head))
    }

    /// Answers the request with this head as that of `caller`, whom somebody else has let in.
    pub fn answer_to(&self, caller: Caller, head: &Head) -> Reply {
        self.answer_whom(head, |_| Ok(Some(caller)))
    }

    /// Answers whoever `admit` lets in to what is asked for.
    fn answer_whom(
        &self,
        head: &Head,
        admit: impl FnOnce(Access) -> Result<Option<Caller>, Problem>,
    ) -> Reply {
        let mut here: Vec<_> =
            self.operations.iter().filter(|one| matches(one.template, head.path())).collect();
        // A name of its own comes before what may be any name.
        if here.iter().any(|one| one.template == head.path()) {
            here.retain(|one| one.template == head.path());
        }
        if here.is_empty() {
            let detail = "there is nothing at this path; docs/api.md lists what there is";
            return Reply::Now(Problem::new(ProblemKind::NotFound, detail).into());
        }
        let method = if head.method() == Method::HEAD { &Method::GET } else { head.method() };
        match here.iter().find(|operation| operation.method == *method) {
            Some(operation) => match admit(operation.access) {
                Ok(caller) => operation.run(head, caller),
                Err(problem) => Reply::Now(problem.into()),
            },
            None if head.method() == Method::OPTIONS => Reply::Now(options(&allowed(&here))),
            None => Reply::Now(Problem::method_not_allowed(&allowed(&here)).into()),
        }
    }
}

impl Operation {
    fn run(&self, head: &Head, caller: Option<Caller>) -> Reply {
        let reply = match self.check_query(head) {
            Ok(()) => (self.operate)(&Call { head, caller: caller.clone(), template: self.template }),
            Err(problem) => Reply::Now(problem.into()),
        };
        match caller.filter(|_| self.access == Access::Act) {
            Some(caller) => audit::audited(reply, head, caller),
            None => reply,
        }
    }

    /// Whether all parameters of the query are known here: one that was meant to limit what is done, and is passed over, lets
    /// more be done. Who only looks at what everybody may see is asked no such question: the address of a probe may have
    /// anything in it.
    fn check_query(&self, head: &Head) -> Result<(), Problem> {
        if self.access == Access::Open {
            return Ok(());
        }
        input::expects_parameters(head, self.parameters)
    }
}

/// The methods of these operations, as the header `Allow` has them.
fn allowed(operations: &[&Operation]) -> String {
    let mut methods: Vec<_> = operations.iter().map(|operation| operation.method.as_str()).collect();
    if methods.contains(&"GET") {
        methods.push("HEAD");
    }
    methods.push("OPTIONS");
    methods.join(", ")
}

fn options(allowed: &str) -> Answer {
    let mut answer = Answer::new("".into());
    *answer.status_mut() = StatusCode::NO_CONTENT;
    answer.headers_mut().extend(HeaderValue::from_str(allowed).ok().map(|allowed| (ALLOW, allowed)));
    answer
}

/// Whether `path` is one of those that `template` describes.
fn matches(template: &str, path: &str) -> bool {
    let mut parts = path.split('/');
    template.split('/').all(|wanted| {
        parts
            .next()
            .is_some_and(|part| if placeholder(wanted).is_some() { !part.is_empty() } else { part == wanted })
    }) && parts.next().is_none()
}

/// The name in `{name}`.
fn placeholder(part: &str) -> Option<&str> {
    part.strip_prefix('{')?.strip_suffix('}')
}

impl fmt::Debug for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} ({:?})", self.method, self.template, self.access)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_found_by_its_parts() {
        let template = "/api/v1/routes/{name}/pause";
        for (path, found) in [
            ("/api/v1/routes/todos/pause", true),
            ("/api/v1/routes/a%2Fb/pause", true),
            ("/api/v1/routes//pause", false),
            ("/api/v1/routes/todos", false),
            ("/api/v1/routes/todos/pause/", false),
            ("/api/v1/routes/todos/resume", false),
            ("/", false),
            ("*", false),
            ("", false),
        ] {
            assert_eq!(matches(template, path), found, "{path}");
        }
        assert!(matches("/", "/"));
        assert!(!matches("/", ""));
    }
}
