//! The parameters of a URI: which each service knows, which of them are secret, and what goes together.

use std::collections::BTreeMap;

use url::Url;

/// A store in a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Service {
    S3,
    Azure,
    Gcs,
}

/// What a parameter says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Says {
    /// Who is asking, and must not be shown.
    Secret,
    /// Who is asking, but no secret in it.
    Identity,
    /// Where the store is.
    Place,
}

type Known = (&'static str, Says);

const S3: [Known; 5] = [
    ("AWS_ACCESS_KEY_ID", Says::Secret),
    ("AWS_SECRET_ACCESS_KEY", Says::Secret),
    ("AWS_SESSION_TOKEN", Says::Secret),
    ("AWS_REGION", Says::Place),
    ("AWS_ENDPOINT", Says::Place),
];

const AZURE: [Known; 7] = [
    ("AZURE_ACCOUNT_NAME", Says::Place),
    ("AZURE_ACCOUNT_KEY", Says::Secret),
    ("AZURE_SAS_TOKEN", Says::Secret),
    ("AZURE_CLIENT_ID", Says::Identity),
    ("AZURE_CLIENT_SECRET", Says::Secret),
    ("AZURE_TENANT_ID", Says::Identity),
    ("AZURE_ENDPOINT", Says::Place),
];

const GCS: [Known; 4] = [
    ("AUTH", Says::Identity),
    ("CREDENTIALS", Says::Secret),
    ("BEARER_TOKEN", Says::Secret),
    ("GOOGLE_ENDPOINT", Says::Place),
];

impl Service {
    /// The service of a scheme, if it is one's.
    pub(super) fn of_scheme(scheme: &str) -> Option<Self> {
        match scheme {
            "s3" => Some(Self::S3),
            // The second is how CockroachDB has it.
            "azure" | "azure-blob" => Some(Self::Azure),
            "gs" => Some(Self::Gcs),
            _ => None,
        }
    }

    pub(super) const fn scheme(self) -> &'static str {
        match self {
            Self::S3 => "s3",
            Self::Azure => "azure",
            Self::Gcs => "gs",
        }
    }

    /// What the name after the scheme is of.
    pub(super) const fn bucket(self) -> &'static str {
        match self {
            Self::S3 | Self::Gcs => "bucket",
            Self::Azure => "container",
        }
    }

    pub(crate) const fn endpoint(self) -> &'static str {
        match self {
            Self::S3 => "AWS_ENDPOINT",
            Self::Azure => "AZURE_ENDPOINT",
            Self::Gcs => "GOOGLE_ENDPOINT",
        }
    }

    const fn known(self) -> &'static [Known] {
        match self {
            Self::S3 => &S3,
            Self::Azure => &AZURE,
            Self::Gcs => &GCS,
        }
    }

    /// The names of all its parameters, for an error.
    pub(super) fn names(self) -> String {
        let names: Vec<&str> = self.known().iter().map(|(name, _)| *name).collect();
        names.join(", ")
    }
}

/// What a URI says beside the place.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Parameters(BTreeMap<&'static str, String>);

impl Parameters {
    /// Takes a parameter in; `false` if the service does not know it.
    pub(crate) fn take(
        &mut self,
        service: Service,
        name: &str,
        value: String,
    ) -> Result<bool, String> {
        let Some((known, _)) = service.known().iter().find(|(known, _)| *known == name) else {
            return Ok(false);
        };
        if value.is_empty() {
            return Err(format!("parameter '{name}' is empty"));
        }
        match self.0.insert(known, value) {
            Some(_) => Err(format!("parameter '{name}' is given twice")),
            None => Ok(true),
        }
    }

    /// What a parameter says, if it was given.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Of these names those that were given, each as the client's setting that it is.
    pub(crate) fn as_settings<K: Copy>(&self, names: &[(K, &str)]) -> Vec<(K, String)> {
        let given = names.iter();
        given
            .filter_map(|(key, name)| Some((*key, self.get(name)?.to_owned())))
            .collect()
    }

    fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Whether it says who is asking: then nothing else does.
    pub(crate) fn name_an_identity(&self, service: Service) -> bool {
        let known = service.known().iter();
        let mut of_identity = known.filter(|(_, says)| *says != Says::Place);
        of_identity.any(|(name, _)| self.has(name))
    }

    /// Without that one.
    pub(crate) fn without(&self, name: &str) -> Self {
        let mut others = self.0.clone();
        others.remove(name);
        Self(others)
    }

    /// Whether a secret is among them.
    pub(crate) fn hold_a_secret(&self, service: Service) -> bool {
        let mut known = service.known().iter();
        known.any(|(name, says)| *says == Says::Secret && self.has(name))
    }

    /// Without what says who is asking.
    pub(super) fn without_identity(&self, service: Service) -> Self {
        let place = |name: &str| {
            let mut known = service.known().iter();
            known.any(|(known, says)| *known == name && *says == Says::Place)
        };
        let kept = self.0.iter().filter(|(name, _)| place(name));
        Self(kept.map(|(name, value)| (*name, value.clone())).collect())
    }

    /// Names and values in their fixed order, secrets replaced.
    pub(super) fn redacted(&self, service: Service) -> impl Iterator<Item = (&'static str, &str)> {
        service.known().iter().filter_map(|(name, says)| {
            let value = self.get(name)?;
            let shown = match says {
                Says::Secret => "redacted",
                Says::Identity | Says::Place => value,
            };
            Some((*name, shown))
        })
    }

    /// Says what is missing or contradicts itself, without repeating a value.
    pub(crate) fn check(&self, service: Service) -> Result<(), String> {
        match service {
            Service::S3 => self.check_s3(),
            Service::Azure => self.check_azure(),
            Service::Gcs => self.check_gcs(),
        }?;
        let endpoint = self.get(service.endpoint());
        endpoint.map_or(Ok(()), |endpoint| {
            check_endpoint(service.endpoint(), endpoint)
        })
    }

    fn check_s3(&self) -> Result<(), String> {
        let wrong = |reason: &str| Err(reason.to_owned());
        if self.has("AWS_ACCESS_KEY_ID") != self.has("AWS_SECRET_ACCESS_KEY") {
            return wrong("AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY go together");
        }
        if self.has("AWS_SESSION_TOKEN") && !self.has("AWS_ACCESS_KEY_ID") {
            return wrong(
                "AWS_SESSION_TOKEN goes with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
            );
        }
        Ok(())
    }

    fn check_azure(&self) -> Result<(), String> {
        let wrong = |reason: &str| Err(reason.to_owned());
        let client = ["AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET", "AZURE_TENANT_ID"];
        let of_client = client.iter().filter(|name| self.has(name)).count();
        if of_client != 0 && of_client != client.len() {
            return wrong("AZURE_CLIENT_ID, AZURE_CLIENT_SECRET and AZURE_TENANT_ID go together");
        }
        let ways = [
            self.has("AZURE_ACCOUNT_KEY"),
            self.has("AZURE_SAS_TOKEN"),
            of_client != 0,
        ];
        if ways.iter().filter(|given| **given).count() > 1 {
            return wrong(
                "AZURE_ACCOUNT_KEY, AZURE_SAS_TOKEN and AZURE_CLIENT_ID exclude each other",
            );
        }
        Ok(())
    }

    fn check_gcs(&self) -> Result<(), String> {
        let wrong = |reason: &str| Err(reason.to_owned());
        let given = self.has("CREDENTIALS") || self.has("BEARER_TOKEN");
        if self.has("CREDENTIALS") && self.has("BEARER_TOKEN") {
            return wrong("CREDENTIALS and BEARER_TOKEN exclude each other");
        }
        match self.get("AUTH") {
            None => {}
            Some("implicit") if !given => {}
            Some("implicit") => {
                return wrong("AUTH=implicit takes neither CREDENTIALS nor BEARER_TOKEN");
            }
            Some("specified") if given => {}
            Some("specified") => {
                return wrong("AUTH=specified needs CREDENTIALS or BEARER_TOKEN");
            }
            // A secret may have been put into the wrong place.
            Some(_) => return wrong("AUTH is either 'implicit' or 'specified'"),
        }
        Ok(())
    }
}

/// Says what is wrong with an endpoint's URL, without repeating it.
pub(crate) fn check_endpoint(name: &str, endpoint: &str) -> Result<(), String> {
    let wrong = |reason: &str| Err(format!("{name} {reason}"));
    let Ok(url) = Url::parse(endpoint) else {
        return wrong("is not a URL");
    };
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return wrong("must begin with https:// or http:// and name a host");
    }
    if !url.username().is_empty()
        || url.password().is_some()
        || url.query().is_some()
        || url.fragment().is_some()
    {
        return wrong("may hold a host, a port and a path only");
    }
    Ok(())
}
