//! `[endpoints]`: routes that stand in a key-value bucket of NATS, beside those of the file.

use std::{num::NonZeroUsize, path::PathBuf, str::FromStr, sync::Arc};

use super::{
    FleetKeys, Limits, NameError, ProxyVariables, PublishSubject, files, limits, parse,
    reader::{Reported, Section},
    route::reserved::Reserved,
};

/// `[endpoints]`: the bucket whose values are routes, and what those may do.
#[derive(Debug, Clone, PartialEq)]
pub struct Endpoints {
    /// `bucket`: its name. Required in this section.
    pub bucket: BucketName,
    /// `prefix`: what all keys of these routes begin with, so that several daemons, or tenants, share a bucket. Default:
    /// nothing.
    pub prefix: Option<PublishSubject>,
    /// `create`: whether the bucket is made where it is missing at the start. Default false.
    pub create: bool,
    /// `secrets_dir`: the folder in which the files are that values name. Default: none, a value names no files.
    pub secrets_dir: Option<PathBuf>,
    /// `identity_file`: the file with the key that opens what values have sealed, and that key. Default: none, values have nothing
    /// sealed.
    pub identity: Option<(PathBuf, FleetKeys)>,
    /// `max_routes`: how many routes of the bucket run at most. Default 10,000.
    pub max_routes: NonZeroUsize,
    /// `limits`: what no value goes beyond. Default: nothing is limited.
    pub limits: Limits,
    /// What values are read with, beside this section.
    pub(super) around: Around,
}

/// What a route is read with that stands outside of it.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Around {
    /// How many threads divide the numbers of a route, where that is fixed.
    pub(super) threads: Option<NonZeroUsize>,
    /// What the subjects for answers begin with.
    pub(super) inboxes: Option<PublishSubject>,
    /// What else broadcaster itself uses.
    pub(super) reserved: Vec<Reserved>,
    /// Whether a route that takes any of that among other things is a mistake, and not only to be warned of.
    pub(super) is_strict: bool,
    /// The proxies that the environment names.
    pub(super) proxies: Arc<ProxyVariables>,
}

/// The name of a key-value bucket: 1 to 200 letters, digits, `_` and `-`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketName(Arc<str>);

impl BucketName {
    /// The name as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for BucketName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        let good = (1..=200).contains(&text.len()) && text.bytes().all(allowed);
        if good { Ok(Self(text.into())) } else { Err(NameError::Bucket) }
    }
}

impl Endpoints {
    /// The bucket of this name, of which no value is read as a route.
    fn alone(bucket: BucketName, prefix: Option<PublishSubject>) -> Self {
        Self {
            bucket,
            prefix,
            create: false,
            secrets_dir: None,
            identity: None,
            max_routes: MAX_ROUTES,
            limits: Limits::default(),
            around: Around::default(),
        }
    }
}

const MAX_ROUTES: NonZeroUsize = NonZeroUsize::new(10_000).expect("it is not 0");

/// Where the bucket is, for whoever reads no value as a route.
pub(super) fn read_place(at: &Section<'_>) -> Result<Endpoints, Reported> {
    let (bucket, prefix) = (at.required("bucket", parse::name), at.optional("prefix", parse::name));
    Ok(Endpoints::alone(bucket?, prefix?))
}

pub(super) fn read(at: &Section<'_>, around: Around) -> Result<Endpoints, Reported> {
    let bucket = at.required("bucket", parse::name);
    let prefix = at.optional("prefix", parse::name);
    let create = at.or("create", false, parse::switch);
    let secrets_dir = at.optional("secrets_dir", files::path);
    let identity = at.optional("identity_file", |value| files::named_by(value, FleetKeys::read));
    let max_routes = at.or("max_routes", MAX_ROUTES, parse::count(1_000_000));
    let limits = at.section("limits", limits::read);
    Ok(Endpoints {
        bucket: bucket?,
        prefix: prefix?,
        create: create?,
        secrets_dir: secrets_dir?,
        identity: identity?,
        max_routes: max_routes?,
        limits: limits?,
        around,
    })
}
