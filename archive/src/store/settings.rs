//! The settings of a client for a store in a network: who is asking, where, and how.
//!
//! They come from the environment's variables of that service; parameters of the URI win. What of them is
//! read and what is not is listed in `docs/guide/stores.md`, which tests compare with each service's
//! [`Key`].

use std::str::FromStr;

use object_store::ClientConfigKey;
use url::Url;

use super::transient::Redactor;
use crate::error::{Error, Result};

/// A setting that a service's client knows.
pub(in crate::store) trait Key: Copy + PartialEq + FromStr + 'static {
    /// What the service's variables begin with.
    const PREFIX: &'static str;

    /// Variables that the client does not know by these names.
    const OTHER_NAMES: &'static [(&'static str, Self)];

    /// Settings that say who is asking. Those of the environment are left out where the URI says it.
    const IDENTITY: &'static [Self];

    /// Known to the client, and not read.
    const DECIDED_ELSEWHERE: &'static [Self];

    /// The key of a setting of the connection.
    fn of_connection(key: ClientConfigKey) -> Self;

    /// The setting of the connection that it is, if it is one.
    fn connection(self) -> Option<ClientConfigKey>;

    /// What of a value must never be printed.
    fn secrets(self, value: &str) -> Vec<String>;
}

/// What a URI says.
pub(in crate::store) struct Given<K> {
    /// Its settings, in place of those of the environment.
    pub(in crate::store) settings: Vec<(K, String)>,
    /// Whether it says who is asking.
    pub(in crate::store) identity: bool,
    /// Settings of the environment that would win over one of its own.
    pub(in crate::store) instead_of: Vec<K>,
}

/// A client's settings, from the environment and the URI; later ones win.
pub(in crate::store) struct Settings<K>(Vec<(K, String)>);

impl<K: Key> Settings<K> {
    /// The settings of the environment, overridden by those of the URI.
    pub(in crate::store) fn find(given: Given<K>) -> Self {
        let environment = std::env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        });
        Self::combine(given, environment)
    }

    pub(in crate::store) fn combine(
        given: Given<K>,
        environment: impl Iterator<Item = (String, String)>,
    ) -> Self {
        let mut settings: Vec<(K, String)> = environment
            .filter(|(_, value)| !value.is_empty())
            .filter_map(|(name, value)| Some((key(&name)?, value)))
            .filter(|(key, _)| !K::DECIDED_ELSEWHERE.contains(key))
            .filter(|(key, _)| !(given.identity && K::IDENTITY.contains(key)))
            .filter(|(key, _)| !given.instead_of.contains(key))
            .collect();
        // Later settings win in the builder.
        settings.extend(given.settings);
        Self(settings)
    }

    /// Takes what must never be printed out of texts.
    pub(in crate::store) fn redactor(&self) -> Redactor {
        let secrets = self.0.iter().flat_map(|(key, value)| key.secrets(value));
        let mut secrets: Vec<String> = secrets.filter(|secret| !secret.is_empty()).collect();
        let proxy = self.proxy().and_then(|proxy| Url::parse(proxy).ok());
        let password = proxy.as_ref().and_then(Url::password);
        secrets.extend(password.map(str::to_owned));
        Redactor::new(secrets)
    }

    /// How to reach the store.
    ///
    /// # Errors
    /// [`Error::InvalidOptions`] for a proxy that is no URL.
    pub(in crate::store) fn of_the_connection(&self) -> Result<Vec<(ClientConfigKey, String)>> {
        if self.proxy().is_some_and(|proxy| !is_http(proxy)) {
            let reason = format!(
                "the variable {}PROXY_URL must begin with http:// or https:// and name a host",
                K::PREFIX
            );
            return Err(Error::InvalidOptions { reason });
        }
        let of_the_connection =
            |(key, value): &(K, String)| Some((key.connection()?, value.clone()));
        Ok(self.0.iter().filter_map(of_the_connection).collect())
    }

    /// All others.
    pub(in crate::store) fn of_the_store(&self) -> impl Iterator<Item = (K, String)> {
        let others = self.0.iter().cloned();
        others.filter(|(key, _)| key.connection().is_none())
    }

    pub(in crate::store) fn last(&self, wanted: K) -> Option<&str> {
        self.0
            .iter()
            .rev()
            .find(|(key, _)| *key == wanted)
            .map(|(_, value)| value.as_str())
    }

    fn proxy(&self) -> Option<&str> {
        self.last(K::of_connection(ClientConfigKey::ProxyUrl))
    }
}

/// The setting that a variable is, if it is one of the service's.
pub(in crate::store) fn key<K: Key>(name: &str) -> Option<K> {
    let mut others = K::OTHER_NAMES.iter();
    if let Some((_, key)) = others.find(|(other, _)| *other == name) {
        return Some(*key);
    }
    let own = name.starts_with(K::PREFIX);
    own.then(|| name.to_ascii_lowercase().parse().ok())?
}

fn is_http(text: &str) -> bool {
    let Ok(url) = Url::parse(text) else {
        return false;
    };
    matches!(url.scheme(), "http" | "https") && url.host().is_some()
}

#[cfg(test)]
impl<K> Given<K> {
    /// A URI that says nothing.
    pub(in crate::store) const fn nothing() -> Self {
        Self {
            settings: Vec::new(),
            identity: false,
            instead_of: Vec::new(),
        }
    }
}

/// Compares what a service reads with the guide.
#[cfg(test)]
pub(in crate::store) mod guide {
    use super::*;

    /// The quoted words in the first column of the first table below a heading of the guide.
    fn listed(heading: &str) -> Vec<String> {
        let guide = include_str!("../../../docs/guide/stores.md");
        let (_, below) = guide.split_once(heading).unwrap();
        let rows = below
            .lines()
            .skip_while(|line| !line.starts_with('|'))
            .take_while(|line| line.starts_with('|'));
        let names = |row: &str| -> Vec<String> {
            let cell = row.split('|').nth(1).unwrap_or_default();
            let quoted = cell.split('`').skip(1).step_by(2);
            quoted.map(str::to_owned).collect()
        };
        rows.flat_map(names).collect()
    }

    fn is_read<K: Key>(name: &str) -> bool {
        let variable = (name.to_owned(), "1".to_owned());
        let settings = Settings::<K>::combine(Given::nothing(), [variable].into_iter());
        settings.0.len() == 1
    }

    /// `service` is the guide's name of it.
    pub(in crate::store) fn compare<K: Key>(service: &str, more_unread: &[&str]) {
        let read = listed(&format!("### {service}: variables that are read"));
        assert!(read.len() > 15, "{read:?}");
        for name in &read {
            assert!(is_read::<K>(name), "{name} is not read");
        }
        for (name, _) in K::OTHER_NAMES {
            assert!(read.iter().any(|r| r == name), "{name} is not in the guide");
        }
        let unread = listed(&format!("### {service}: variables that are not read"));
        for name in &unread {
            assert!(!is_read::<K>(name), "{name} is read");
        }
        for decided in K::DECIDED_ELSEWHERE {
            let named = unread.iter().any(|name| key::<K>(name) == Some(*decided));
            assert!(named, "a setting of {unread:?} is not in the guide");
        }
        for name in more_unread {
            assert!(
                unread.iter().any(|u| u == name),
                "{name} is not in the guide"
            );
            assert!(key::<K>(name).is_none(), "{name} is read by now");
        }
    }
}

#[cfg(test)]
mod tests {
    use object_store::aws::AmazonS3ConfigKey;
    use object_store::azure::AzureConfigKey;
    use object_store::gcp::GoogleConfigKey;

    use super::*;

    fn decided_elsewhere_is_not_taken<K: Key + std::fmt::Debug + AsRef<str>>() {
        for decided in K::DECIDED_ELSEWHERE {
            let name = decided.as_ref().to_ascii_uppercase();
            let name = name.strip_prefix(K::PREFIX).unwrap_or(&name).to_owned();
            let name = format!("{}{name}", K::PREFIX);
            assert_eq!(key::<K>(&name), Some(*decided), "{name}");
            let variable = (name, "disabled".to_owned());
            let settings = Settings::<K>::combine(Given::nothing(), [variable].into_iter());
            assert!(settings.0.is_empty(), "{decided:?}");
        }
    }

    #[test]
    fn what_is_decided_elsewhere_is_not_taken_from_the_environment() {
        decided_elsewhere_is_not_taken::<AmazonS3ConfigKey>();
        decided_elsewhere_is_not_taken::<AzureConfigKey>();
        decided_elsewhere_is_not_taken::<GoogleConfigKey>();
    }

    fn a_bad_proxy_is_refused<K: Key>() {
        for wrong in ["proxy.example:3128", "socks5://proxy.example", "http://"] {
            let name = format!("{}PROXY_URL", K::PREFIX);
            let variable = (name.clone(), wrong.to_owned());
            let settings = Settings::<K>::combine(Given::nothing(), [variable].into_iter());
            let expected = format!(
                "invalid store options: the variable {name} must begin with http:// or https:// and name a host"
            );
            let error = settings.of_the_connection().unwrap_err();
            assert_eq!(error.to_string(), expected);
        }
    }

    #[test]
    fn a_proxy_that_is_no_url_is_refused_by_its_name() {
        a_bad_proxy_is_refused::<AmazonS3ConfigKey>();
        a_bad_proxy_is_refused::<AzureConfigKey>();
        a_bad_proxy_is_refused::<GoogleConfigKey>();
    }
}
