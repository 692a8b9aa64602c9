//! Secrets in values of the bucket that whoever reads the bucket does not see: `{"sealed": "…"}`, which only the key of the fleet opens.
//!
//! By curve keys of NATS (xkeys): whoever seals needs the public key only. The name of the route is sealed in with the secret, so
//! that it is of no use in another route, with another webhook.

use std::{fmt, path::Path};

use data_encoding::BASE64;
use nkeys::XKey;

use super::{RouteName, files};

/// What the public key of a fleet begins with, and that of whoever has sealed something.
const PUBLIC: char = 'X';
/// What the key itself begins with.
pub const SEED: &str = "SX";

/// The keys that open what is sealed: one, or several while they are rotated.
#[derive(Clone)]
pub struct FleetKeys(Vec<XKey>);

impl FleetKeys {
    /// Those in the file at `path`, each on a line of its own.
    pub(super) fn read(path: &Path) -> Result<Self, String> {
        let (file, text) = files::lines(path)?;
        let keys = text.lines().map(str::trim).filter(|line| !line.is_empty()).map(XKey::from_seed);
        let keys = keys.collect::<Result<Vec<_>, _>>();
        let wrong =
            |_| format!("expected keys as broadcaster keys new --sealing makes them, {SEED}…, in {file}");
        keys.map(Self).map_err(wrong)
    }

    /// What is `sealed` for the route of this name.
    fn open(&self, sealed: &str, route: &RouteName) -> Option<String> {
        let (sender, text) = sealed.split_once('.')?;
        let (sender, text) = (XKey::from_public_key(sender).ok()?, BASE64.decode(text.as_bytes()).ok()?);
        let opened = self.0.iter().find_map(|key| key.open(&text, &sender).ok())?;
        let opened = String::from_utf8(opened).ok()?;
        let (name, secret) = opened.split_once('\n')?;
        (name == route.as_str()).then(|| secret.to_owned())
    }
}

/// Opens what is `sealed` for the route of this name, where there is an `identity`.
pub(super) fn open(identity: Option<&FleetKeys>, sealed: &str, route: &RouteName) -> Result<String, String> {
    let Some(identity) = identity else {
        return Err(
            "expected nothing that is sealed: the operator has set no endpoints.identity_file".to_owned()
        );
    };
    identity.open(sealed, route).ok_or_else(|| {
        format!("expected what broadcaster keys seal makes for the route {route} with the public key of this fleet")
    })
}

/// Whether a text is what [`seal`] makes.
pub(super) fn is_sealed(text: &str) -> bool {
    text.split_once('.')
        .is_some_and(|(sender, _)| sender.starts_with(PUBLIC) && XKey::from_public_key(sender).is_ok())
}

/// Seals `secret` for the fleet with this public key, and for the route of this name.
///
/// # Errors
/// What is no public key, in words without the secret.
pub fn seal(secret: &str, route: &RouteName, public_key: &str) -> Result<String, String> {
    let wrong = |_| format!("expected the public key of a fleet, {PUBLIC}…");
    let fleet = XKey::from_public_key(public_key).map_err(wrong)?;
    let sender = XKey::new();
    let sealed = sender.seal(format!("{route}\n{secret}").as_bytes(), &fleet).map_err(wrong)?;
    Ok(format!("{}.{}", sender.public_key(), BASE64.encode(&sealed)))
}

/// A new key to open with, as it is written, and the public key that belongs to it; none where the system has no randomness.
pub fn new_key() -> Option<(String, String)> {
    let key = XKey::new();
    Some((key.seed().ok()?, key.public_key()))
}

/// The public key of the key that is written as `seed`.
pub fn public_key(seed: &str) -> Option<String> {
    XKey::from_seed(seed).ok().map(|key| key.public_key())
}

/// By what everybody may know of them.
impl PartialEq for FleetKeys {
    fn eq(&self, other: &Self) -> bool {
        self.0.iter().map(XKey::public_key).eq(other.0.iter().map(XKey::public_key))
    }
}

impl fmt::Debug for FleetKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(XKey::public_key)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_key_of_the_fleet_opens_it_and_for_its_route_only() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("identity");
        let (seed, public) = new_key().unwrap();
        let (other, _) = new_key().unwrap();
        std::fs::write(&file, format!("{other}\n{seed}\n")).unwrap();
        let identity = FleetKeys::read(&file).unwrap();
        let [todos, mails] = ["todos", "mails"].map(|name| name.parse::<RouteName>().unwrap());
        let sealed = seal("s3cret\nsecond line", &todos, &public).unwrap();
        assert!(is_sealed(&sealed) && !sealed.contains("s3cret"));
        assert_eq!(open(Some(&identity), &sealed, &todos).unwrap(), "s3cret\nsecond line");
        assert!(open(Some(&identity), &sealed, &mails).is_err(), "it is another route's");
        assert!(open(None, &sealed, &todos).unwrap_err().contains("endpoints.identity_file"));
        let cut = sealed.get(..sealed.len() - 8).unwrap();
        for wrong in [cut, "X.", "", &sealed.to_lowercase(), &format!("{public}.AAAA")] {
            assert!(open(Some(&identity), wrong, &todos).is_err(), "{wrong}");
        }
        std::fs::write(&file, &other).unwrap();
        assert!(
            open(Some(&FleetKeys::read(&file).unwrap()), &sealed, &todos).is_err(),
            "it is another fleet's"
        );
        assert!(!format!("{identity:?}").contains(&seed), "a key is printed");
        std::fs::write(&file, "SUAC").unwrap();
        assert!(FleetKeys::read(&file).unwrap_err().contains("expected keys as"));
        assert!(seal("s3cret", &todos, &seed).is_err() && !is_sealed("Xa.b") && !is_sealed("plain"));
        assert_eq!(public_key(&seed), Some(public));
    }
}
