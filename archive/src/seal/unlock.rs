//! Opening a sealed collection with one of its keys, and wrapping its key for another.

use super::aws::{AwsKey, Kms};
use super::keys::{Keys, Passphrase};
use super::kms::{KmsUri, Source};
use super::passphrase::PassphraseCost;
use super::secret::{CollectionKey, Secret};
use super::wrapper::{self, Label, Method, PASSPHRASE_KIND, Wrapper};
use crate::error::{Error, Result};
use crate::ids::{CollectionId, KeyId};
use crate::local::blocking;
use crate::marker::{COLLECTION_PATH, MAX_MARKER_BYTES, Sealing};
use crate::options::StoreOptions;
use crate::store::Store;

/// The most wrappers of a collection: so many are read.
pub(crate) const MAX_WRAPPERS: usize = 64;

/// The wrappers that lie in a collection.
#[derive(Debug, Default)]
pub(crate) struct Wrappers {
    /// Those that read, by id.
    pub(crate) sound: Vec<Wrapper>,
    /// What is wrong with the others.
    pub(crate) damaged: Vec<Error>,
}

/// Reads the wrappers of that collection.
pub(crate) async fn read_wrappers(store: &Store, collection: CollectionId) -> Result<Wrappers> {
    let mut wrappers = Wrappers::default();
    let listed = store.list(&wrapper::prefix(collection)).await?;
    for object in listed.iter().take(MAX_WRAPPERS) {
        // Of a kind that came later: no wrapper of ours.
        let Some(id) = object
            .location
            .filename()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        let damaged = |reason: String| Error::DamagedMarker {
            path: object.location.to_string(),
            location: store.location().to_owned(),
            reason,
        };
        let label = Label {
            id,
            collection_id: collection,
        };
        let parse = |stored: &[u8]| Wrapper::decode(label, stored).map_err(damaged);
        match store.read(&object.location, MAX_MARKER_BYTES, parse).await {
            Ok(Some(wrapper)) => wrappers.sound.push(wrapper),
            // Removed meanwhile.
            Ok(None) => {}
            Err(error @ (Error::DamagedMarker { .. } | Error::TooLarge { .. })) => {
                wrappers.damaged.push(error);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(wrappers)
}

/// The key of a sealed collection, out of the first wrapper that one of the keys opens.
pub(crate) async fn unlock(
    store: &Store,
    collection: CollectionId,
    sealing: &Sealing,
    options: &StoreOptions,
) -> Result<CollectionKey> {
    let keys = &options.keys;
    let wrappers = read_wrappers(store, collection).await?;
    let mut attempt = Attempt::new(&wrappers.sound, options);
    let key = attempt.by_any().await?;
    let Some(secret) = key else {
        return Err(attempt.refusal(store, keys, wrappers.damaged.into_iter().next()));
    };
    let key = CollectionKey::new(collection, secret);
    if key.check()? != sealing.key_check {
        return Err(Error::Tampered {
            path: COLLECTION_PATH.to_owned(),
            reason: "its key check is not that of the collection's key".to_owned(),
        });
    }
    Ok(key)
}

/// What the first wrapper holds that one of the keys opens; `None` if there is none.
///
/// # Errors
/// If there is none, why a key could not be asked.
pub(crate) async fn open_any(
    wrappers: &[Wrapper],
    options: &StoreOptions,
) -> Result<Option<Secret>> {
    let mut attempt = Attempt::new(wrappers, options);
    match (attempt.by_any().await?, attempt.failures.into_iter().next()) {
        (None, Some(failure)) => Err(failure),
        (key, _) => Ok(key),
    }
}

/// One attempt to open a collection.
struct Attempt<'a> {
    wrappers: &'a [Wrapper],
    options: &'a StoreOptions,
    /// Whether there was a wrapper that some key could have been for.
    tried: bool,
    /// Keys that could not be asked.
    failures: Vec<Error>,
}

impl<'a> Attempt<'a> {
    const fn new(wrappers: &'a [Wrapper], options: &'a StoreOptions) -> Self {
        Self {
            wrappers,
            options,
            tried: false,
            failures: Vec::new(),
        }
    }

    /// The keys that cost least to try go first.
    async fn by_any(&mut self) -> Result<Option<Secret>> {
        let keys = &self.options.keys;
        for uri in &keys.kms {
            if let Some(key) = self.by_kms(uri).await? {
                return Ok(Some(key));
            }
        }
        for passphrase in &keys.passphrases {
            if let Some(key) = self.by_passphrase(passphrase).await? {
                return Ok(Some(key));
            }
        }
        Ok(None)
    }

    async fn by_kms(&mut self, uri: &KmsUri) -> Result<Option<Secret>> {
        let opened = match uri.source() {
            Ok(Source::Key(wrapping)) => self.by_key(&wrapping),
            Ok(Source::Aws(key)) => self.by_aws(key).await,
            Err(failure) => Err(failure),
        };
        // Another key may do.
        Ok(opened.unwrap_or_else(|failure| {
            self.failures.push(failure);
            None
        }))
    }

    fn by_key(&mut self, wrapping: &Secret) -> Result<Option<Secret>> {
        for wrapper in self.wrappers {
            if let Method::Key { wrapped, .. } = &wrapper.method {
                self.tried = true;
                if let Some(key) = wrapped.unwrap(wrapper.label(), wrapping)? {
                    return Ok(Some(key));
                }
            }
        }
        Ok(None)
    }

    async fn by_aws(&mut self, key: &AwsKey) -> Result<Option<Secret>> {
        let service = Kms::new(key, self.options)?;
        for wrapper in self.wrappers {
            if let Method::AwsKms { ciphertext, .. } = &wrapper.method {
                self.tried = true;
                if let Some(key) = service.unwrap(wrapper.label(), ciphertext).await? {
                    return Ok(Some(key));
                }
            }
        }
        Ok(None)
    }

    async fn by_passphrase(&mut self, passphrase: &Passphrase) -> Result<Option<Secret>> {
        for wrapper in self.wrappers {
            if let Method::Passphrase {
                argon2id,
                salt,
                wrapped,
            } = &wrapper.method
            {
                self.tried = true;
                let (cost, salt, passphrase) = (*argon2id, *salt, passphrase.clone());
                let wrapping = blocking(move || cost.derive(&passphrase, &salt)).await?;
                if let Some(key) = wrapped.unwrap(wrapper.label(), &wrapping)? {
                    return Ok(Some(key));
                }
            }
        }
        Ok(None)
    }

    /// Why no key opened it.
    fn refusal(self, store: &Store, keys: &Keys, damaged: Option<Error>) -> Error {
        if let Some(failure) = self.failures.into_iter().next() {
            return failure;
        }
        let location = store.location().to_owned();
        // It may be the one that the key is for.
        if let Some(damaged) = damaged {
            return damaged;
        }
        if self.tried {
            return Error::WrongKey { location };
        }
        let mut given: Vec<&str> = keys.kms.iter().map(KmsUri::kind).collect();
        given.extend((!keys.passphrases.is_empty()).then_some(PASSPHRASE_KIND));
        given.dedup();
        let mut there: Vec<&str> = self.wrappers.iter().map(|w| w.method.kind()).collect();
        there.sort_unstable();
        there.dedup();
        Error::NoKeyWrapper {
            location,
            given: given.join(" or "),
            there: match there.is_empty() {
                true => "none".to_owned(),
                false => there.join(", "),
            },
        }
    }
}

/// A key to wrap the collection's by.
#[derive(Debug, Clone)]
pub(crate) enum Wrapping {
    Passphrase(Passphrase, PassphraseCost),
    Kms(KmsUri),
}

impl Wrapping {
    /// All of these keys.
    pub(crate) fn all(keys: &Keys, cost: PassphraseCost) -> Vec<Self> {
        let passphrases = keys.passphrases.iter().cloned();
        let passphrases = passphrases.map(|passphrase| Self::Passphrase(passphrase, cost));
        let kms = keys.kms.iter().cloned().map(Self::Kms);
        kms.chain(passphrases).collect()
    }

    /// A new wrapper of the collection's key.
    pub(crate) async fn wrap(
        self,
        key: &CollectionKey,
        collection_id: CollectionId,
        options: &StoreOptions,
    ) -> Result<Wrapper> {
        let label = Label {
            id: KeyId::random(),
            collection_id,
        };
        let method = match self {
            Self::Kms(uri) => match uri.source()? {
                Source::Key(wrapping) => {
                    label.by_key(key, &wrapping, uri.to_string(), rand::random())?
                }
                Source::Aws(aws) => Kms::new(aws, options)?.wrap(label, key).await?,
            },
            Self::Passphrase(passphrase, cost) => {
                let key = CollectionKey::new(collection_id, key.secret().clone());
                let random = (rand::random(), rand::random());
                blocking(move || label.by_passphrase(&key, &passphrase, cost, random)).await?
            }
        };
        Ok(label.wrapper(options.clock.now(), method))
    }
}

/// Puts a new wrapper into the collection.
pub(crate) async fn put_wrapper(store: &Store, wrapper: &Wrapper) -> Result<()> {
    let path = wrapper::path(wrapper.collection_id, wrapper.id);
    store
        .put_mine(&path, wrapper.encode()?, MAX_MARKER_BYTES)
        .await
}
