//! `aws-kms:`: keys of AWS Key Management Service, which never leave it.
//!
//! The service wraps and unwraps the collection's key (`Encrypt`, `Decrypt`), and is told for which
//! collection and wrapper: without that it does not unwrap. Requests are signed as S3's are, by who the
//! URI's parameters or the environment say is asking. Only the endpoint that the user names is asked, never
//! one that a wrapper names.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use object_store::aws::{AwsAuthorizer, AwsCredential};
use object_store::client::{HttpClient, HttpConnector, HttpRequest, ReqwestConnector};
use serde::{Deserialize, Serialize};
use url::Url;
use zeroize::Zeroizing;

use super::secret::{CollectionKey, KEY_BYTES, Secret};
use super::wrapper::{Label, Method};
use crate::error::{Error, Result};
use crate::options::StoreOptions;
use crate::store::{AwsAccess, Redactor, pause};
use crate::uri::{Parameters, Service, check_endpoint};

/// The most of an answer's text that is repeated.
const MAX_REASON_CHARS: usize = 300;

/// A key, and how to reach it.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct AwsKey {
    /// Its id, ARN, or alias.
    pub(super) key: String,
    pub(super) parameters: Parameters,
}

impl AwsKey {
    /// Whether its parameters hold a credential.
    pub(super) fn has_credentials(&self) -> bool {
        self.parameters.hold_a_secret(Service::S3)
    }

    /// Reads what stands behind `aws-kms:`.
    ///
    /// # Errors
    /// What is wrong with it, without repeating it.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        const FORM: &str =
            "it must look like aws-kms:///KEY?region=REGION, the key an id, an ARN or alias/NAME";
        let url = Url::parse(text).map_err(|_| FORM.to_owned())?;
        let named = url.path().strip_prefix('/').unwrap_or_default();
        if !url.authority().is_empty() || named.is_empty() || url.fragment().is_some() {
            return Err(FORM.to_owned());
        }
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b":/_-.".contains(&byte);
        if !named.bytes().all(allowed) {
            return Err("a key's id is of letters, digits and ':/_-.'".to_owned());
        }
        let mut parameters = Parameters::default();
        for (name, value) in url.query_pairs() {
            let name = match name.as_ref() {
                "region" => "AWS_REGION",
                other => other,
            };
            if !parameters.take(Service::S3, name, value.into_owned())? {
                return Err(
                    "its parameters are region, AWS_ENDPOINT, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN"
                        .to_owned(),
                );
            }
        }
        parameters.check(Service::S3)?;
        if let Some(region) = parameters.get("AWS_REGION") {
            check_region(region)?;
        }
        Ok(Self {
            key: named.to_owned(),
            parameters,
        })
    }

    /// The region: the URI's, that of the key's ARN, or the environment's.
    fn region(&self) -> Result<String, String> {
        let named = self.parameters.get("AWS_REGION").map(str::to_owned);
        let of_arn = || match self.key.split(':').collect::<Vec<_>>().as_slice() {
            ["arn", _, "kms", region, ..] => Some((*region).to_owned()),
            _ => None,
        };
        let of_environment = || {
            let variables = ["AWS_REGION", "AWS_DEFAULT_REGION"];
            let mut values = variables.iter().filter_map(|name| std::env::var(name).ok());
            values.find(|value| !value.is_empty())
        };
        let region = named.or_else(of_arn).or_else(of_environment);
        let region = region.ok_or("no region is named: add ?region=REGION to its URI")?;
        check_region(&region)?;
        Ok(region)
    }

    /// Where requests go: the URI's endpoint, the environment's, or the region's.
    fn endpoint(&self, region: &str) -> Result<String, String> {
        let of_environment = || {
            let set = std::env::var("AWS_ENDPOINT_URL_KMS").ok();
            set.filter(|value| !value.is_empty())
        };
        if let Some(endpoint) = self.parameters.get("AWS_ENDPOINT") {
            return Ok(endpoint.to_owned());
        }
        if let Some(endpoint) = of_environment() {
            check_endpoint("AWS_ENDPOINT_URL_KMS", &endpoint)?;
            return Ok(endpoint);
        }
        let domain = match region.starts_with("cn-") {
            true => "amazonaws.com.cn",
            false => "amazonaws.com",
        };
        Ok(format!("https://kms.{region}.{domain}"))
    }
}

/// It becomes part of a host's name.
fn check_region(region: &str) -> Result<(), String> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    match !region.is_empty() && region.bytes().all(plain) {
        true => Ok(()),
        false => Err("a region is of lower-case letters, digits and '-'".to_owned()),
    }
}

impl fmt::Display for AwsKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "aws-kms:///{}", self.key)?;
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        let shown = [
            ("region", self.parameters.get("AWS_REGION")),
            ("AWS_ENDPOINT", self.parameters.get("AWS_ENDPOINT")),
        ];
        for (name, value) in shown {
            if let Some(value) = value {
                query.append_pair(name, value);
            }
        }
        match query.finish() {
            query if query.is_empty() => Ok(()),
            query => write!(f, "?{query}"),
        }
    }
}

/// What tells the service what is wrapped for whom.
#[derive(Serialize)]
struct Context {
    #[serde(rename = "icecore-collection")]
    collection: String,
    #[serde(rename = "icecore-wrapper")]
    wrapper: String,
}

impl Context {
    fn of(label: Label) -> Self {
        Self {
            collection: label.collection_id.to_string(),
            wrapper: label.id.to_string(),
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Encrypt<'a> {
    key_id: &'a str,
    plaintext: &'a str,
    encryption_context: Context,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Encrypted {
    ciphertext_blob: String,
    key_id: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Decrypt<'a> {
    key_id: &'a str,
    ciphertext_blob: &'a str,
    encryption_context: Context,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Decrypted {
    plaintext: String,
}

/// What the service says when it refuses.
#[derive(Default, Deserialize)]
struct Refusal {
    #[serde(rename = "__type", default)]
    kind: String,
    #[serde(alias = "Message", default)]
    message: String,
}

/// How a request ended that the service did not grant.
enum Failure {
    /// It does not unwrap with this key: wrapped by another, for another, or changed.
    NotThisKey,
    /// It may, later.
    Passing(String),
    /// It will not.
    Final(String),
}

/// Talks to the service about one key.
pub(super) struct Kms<'a> {
    key: &'a AwsKey,
    /// Without credentials: what errors call it.
    name: String,
    region: String,
    endpoint: String,
    access: AwsAccess,
    client: HttpClient,
    options: &'a StoreOptions,
}

impl<'a> Kms<'a> {
    /// Sends nothing yet.
    pub(super) fn new(key: &'a AwsKey, options: &'a StoreOptions) -> Result<Self> {
        let name = key.to_string();
        let invalid = |reason: String| Error::InvalidKey {
            key: name.clone(),
            reason,
        };
        let region = key.region().map_err(invalid)?;
        let endpoint = key.endpoint(&region).map_err(invalid)?;
        let plain_http = endpoint.starts_with("http://");
        // The endpoint is not where credentials are asked for.
        let parameters = key.parameters.without("AWS_ENDPOINT");
        let access = AwsAccess::find(&parameters, &region, plain_http, options).map_err(invalid)?;
        let connected: object_store::Result<HttpClient> =
            ReqwestConnector::default().connect(&access.client);
        let client = connected.map_err(|error| invalid(error.to_string()))?;
        Ok(Self {
            key,
            name: name.clone(),
            region,
            endpoint,
            access,
            client,
            options,
        })
    }

    /// Wraps the collection's key.
    pub(super) async fn wrap(&self, label: Label, key: &CollectionKey) -> Result<Method> {
        let plaintext = Zeroizing::new(STANDARD.encode(key.secret().as_ref()));
        let request = Encrypt {
            key_id: &self.key.key,
            plaintext: &plaintext,
            encryption_context: Context::of(label),
        };
        let encrypted: Option<Encrypted> = self.call("Encrypt", &request).await?;
        let encrypted =
            encrypted.ok_or_else(|| self.failed("encrypt", "it refused its own key"))?;
        Ok(Method::AwsKms {
            uri: self.name.clone(),
            key_arn: encrypted.key_id,
            ciphertext: encrypted.ciphertext_blob,
        })
    }

    /// Unwraps the collection's key; `None` if it was wrapped by another, for another, or changed.
    pub(super) async fn unwrap(&self, label: Label, ciphertext: &str) -> Result<Option<Secret>> {
        let request = Decrypt {
            key_id: &self.key.key,
            ciphertext_blob: ciphertext,
            encryption_context: Context::of(label),
        };
        let decrypted: Option<Decrypted> = self.call("Decrypt", &request).await?;
        let Some(decrypted) = decrypted else {
            return Ok(None);
        };
        let text = Zeroizing::new(decrypted.plaintext);
        let bytes = Zeroizing::new(STANDARD.decode(text.as_bytes()).unwrap_or_default());
        let key: &[u8; KEY_BYTES] = bytes
            .as_slice()
            .try_into()
            .map_err(|_| self.failed("decrypt", "what it unwrapped is no key of a collection"))?;
        Ok(Some(Secret::new(*key)))
    }

    /// Makes a request, again if it may pass; `None` where the key is another.
    async fn call<T: for<'de> Deserialize<'de>>(
        &self,
        operation: &'static str,
        request: &impl Serialize,
    ) -> Result<Option<T>> {
        let action = if operation == "Encrypt" {
            "encrypt"
        } else {
            "decrypt"
        };
        let body =
            serde_json::to_vec(request).map_err(|error| self.failed(action, &error.to_string()))?;
        let body = Bytes::from(body);
        let mut failed = 0;
        loop {
            match self.attempt(operation, body.clone()).await {
                Ok(answer) => {
                    let parsed = serde_json::from_slice(&answer);
                    // What it says may hold the key.
                    return parsed
                        .map(Some)
                        .map_err(|_| self.failed(action, "its answer does not read"));
                }
                Err(Failure::NotThisKey) => return Ok(None),
                Err(Failure::Final(reason)) => return Err(self.failed(action, &reason)),
                Err(Failure::Passing(reason)) => {
                    failed += 1;
                    if failed >= self.options.retry.max_attempts.get() {
                        return Err(self.failed(action, &reason));
                    }
                    pause(&self.options.retry, "ask a key service", failed, &reason).await;
                }
            }
        }
    }

    async fn attempt(&self, operation: &str, body: Bytes) -> Result<Bytes, Failure> {
        let timeout = self.options.request_timeout;
        let done = tokio::time::timeout(timeout, self.send(operation, body)).await;
        done.unwrap_or_else(|_| Err(Failure::Passing("no answer in time".to_owned())))
    }

    async fn send(&self, operation: &str, body: Bytes) -> Result<Bytes, Failure> {
        let credential = self.access.credentials.get_credential().await;
        let credential =
            credential.map_err(|error| Failure::Final(self.told(&error.to_string())))?;
        let request = self.signed(operation, body, &credential)?;
        let response = self.client.execute(request).await;
        let response = response.map_err(|error| Failure::Passing(self.told(&causes(&error))))?;
        let status = response.status().as_u16();
        let answer = response.into_body().bytes().await;
        let answer = answer.map_err(|error| Failure::Passing(self.told(&causes(&error))))?;
        match status {
            200 => Ok(answer),
            _ => Err(self.refused(status, &answer)),
        }
    }

    fn signed(
        &self,
        operation: &str,
        body: Bytes,
        credential: &AwsCredential,
    ) -> Result<HttpRequest, Failure> {
        let unfit = |_| Failure::Final("the request cannot be written".to_owned());
        let mut request = HttpRequest::new(body.into());
        *request.method_mut() = "POST".parse().map_err(|_| unfit(()))?;
        let url = format!("{}/", self.endpoint.trim_end_matches('/'));
        *request.uri_mut() = url.parse().map_err(|_| unfit(()))?;
        let headers = [
            ("content-type", "application/x-amz-json-1.1".to_owned()),
            ("x-amz-target", format!("TrentService.{operation}")),
        ];
        for (name, value) in headers {
            let value = value.parse().map_err(|_| unfit(()))?;
            request.headers_mut().insert(name, value);
        }
        AwsAuthorizer::new(credential, "kms", &self.region)
            .try_authorize(&mut request, None)
            .map_err(|error| Failure::Final(self.told(&error.to_string())))?;
        Ok(request)
    }

    /// What a refusal means.
    fn refused(&self, status: u16, answer: &[u8]) -> Failure {
        let refusal: Refusal = serde_json::from_slice(answer).unwrap_or_default();
        // `com.amazonaws.kms#NotFoundException` in some versions of the protocol.
        let kind = refusal.kind.rsplit('#').next().unwrap_or_default();
        if matches!(kind, "InvalidCiphertextException" | "IncorrectKeyException") {
            return Failure::NotThisKey;
        }
        let reason = self.told(&format!("{status} {kind} {}", refusal.message));
        let passes = matches!(
            kind,
            "ThrottlingException" | "KMSInternalException" | "DependencyTimeoutException"
        );
        match passes || status >= 500 || status == 429 {
            true => Failure::Passing(reason),
            false => Failure::Final(reason),
        }
    }

    /// A text of the service's as one short line without secrets.
    fn told(&self, text: &str) -> String {
        let redactor: &Redactor = &self.access.redactor;
        let words: Vec<&str> = text.split_whitespace().collect();
        let line: String = redactor.clean(&words.join(" "));
        line.chars().take(MAX_REASON_CHARS).collect()
    }

    fn failed(&self, action: &'static str, reason: &str) -> Error {
        Error::KeyService {
            action,
            key: self.name.clone(),
            reason: reason.to_owned(),
        }
    }
}

/// An error and what caused it, in one text.
fn causes(error: &dyn std::error::Error) -> String {
    let chain = std::iter::successors(error.source(), |error| error.source());
    chain.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> Result<AwsKey, String> {
        AwsKey::parse(text)
    }

    #[test]
    fn each_name_of_a_key_reads_and_prints_without_credentials() {
        for text in [
            "aws-kms:///1234abcd-12ab-34cd-56ef-1234567890ab?region=eu-west-1",
            "aws-kms:///alias/backup?region=eu-west-1&AWS_ENDPOINT=http%3A%2F%2F127.0.0.1%3A5000",
            "aws-kms:///arn:aws:kms:eu-west-1:111122223333:key/1234abcd",
        ] {
            assert_eq!(key(text).unwrap().to_string(), text);
        }
        let with = key(
            "aws-kms:///alias/b?region=eu-west-1&AWS_ACCESS_KEY_ID=AKIACANARY&AWS_SECRET_ACCESS_KEY=CANARY",
        );
        assert_eq!(
            with.unwrap().to_string(),
            "aws-kms:///alias/b?region=eu-west-1"
        );
    }

    #[test]
    fn what_names_no_key_is_refused_without_being_repeated() {
        for text in [
            "aws-kms:///",
            "aws-kms://host/key",
            "aws-kms:key",
            "aws-kms:///k?regio=CANARY",
            "aws-kms:///k?region=CANARY",
            "aws-kms:///k?region=eu-1&region=eu-2",
            "aws-kms:///k?AWS_SECRET_ACCESS_KEY=CANARY",
            "aws-kms:///k?AWS_ENDPOINT=CANARY",
            "aws-kms:///k#CANARY",
            "aws-kms:///k%20CANARY",
        ] {
            let reason = key(text).err();
            assert!(
                reason.is_some_and(|reason| !reason.contains("CANARY")),
                "{text}"
            );
        }
    }

    #[test]
    fn the_region_is_the_uris_or_the_arns() {
        let arn = "aws-kms:///arn:aws:kms:eu-west-1:111122223333:key/1";
        assert_eq!(key(arn).unwrap().region().unwrap(), "eu-west-1");
        let other = key(&format!("{arn}?region=us-east-2")).unwrap();
        assert_eq!(other.region().unwrap(), "us-east-2");
        let endpoint = other.endpoint("cn-north-1").unwrap();
        assert_eq!(endpoint, "https://kms.cn-north-1.amazonaws.com.cn");
        assert_eq!(
            other.endpoint("us-east-2").unwrap(),
            "https://kms.us-east-2.amazonaws.com"
        );
    }
}
