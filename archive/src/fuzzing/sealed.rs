//! Sealed objects and wrappers of one collection, whose keys are those of `archive/tests/golden/sealing-v1.json`.

use std::sync::Arc;

use zeroize::Zeroizing;

use crate::error::Result;
use crate::ids::{CollectionId, KeyId};
use crate::marker::content;
use crate::seal::object::{self, Role};
use crate::seal::secret::CollectionKey;
use crate::seal::wrapper::{Label, Method, Wrapper};

/// Where all objects lie.
const PLACE: &str = "2022/02/09-155340.13/data/0a.sst";

/// Roles, by a number below four.
const ROLES: [Role; 4] = [
    Role::DataFile,
    Role::Manifest,
    Role::FileList,
    Role::Checkpoint,
];

/// The collection's key.
#[must_use]
pub fn collection_key() -> [u8; 32] {
    std::array::from_fn(|at| at as u8 + 1)
}

/// The key that wraps it in the golden file.
const USERS_KEY: [u8; 32] = [0x44; 32];

fn collection() -> CollectionId {
    CollectionId::from_bytes([
        0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0x4d, 0xef, 0x81, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd,
        0xef,
    ])
}

fn key() -> CollectionKey {
    CollectionKey::new(collection(), Zeroizing::new(collection_key()))
}

fn role(number: u8) -> Role {
    let [first, ..] = ROLES;
    let at = usize::from(number) % ROLES.len();
    ROLES.get(at).copied().unwrap_or(first)
}

/// An object with that content.
///
/// # Errors
/// None: there is no randomness to fail.
pub fn seal(id: [u8; 16], number: u8, plain: &[u8]) -> Result<Vec<u8>> {
    object::seal(&key(), id, role(number), PLACE, plain)
}

/// What an object holds; why it does not open otherwise.
///
/// # Errors
/// The reason.
pub fn open(number: u8, sealed: &[u8]) -> Result<Vec<u8>, String> {
    object::open(&Arc::new(key()), role(number), PLACE, sealed)
        .map_err(|broken| format!("{broken:?}"))
}

/// A wrapper with this JSON in it, whatever it says.
#[must_use]
pub fn frame(json: &str) -> Vec<u8> {
    format!("{json}\n{:08x}\n", crc32fast::hash(json.as_bytes())).into_bytes()
}

/// A wrapper that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadWrapper {
    /// As it would be written.
    pub written: Vec<u8>,
    /// KiB and passes that trying a passphrase would take.
    pub cost: Option<(u32, u32)>,
    /// What the user's key gets out of it.
    pub opened: Option<[u8; 32]>,
}

/// Reads what lies at the golden wrapper's path.
///
/// # Errors
/// What is wrong with it.
pub fn read_wrapper(stored: &[u8]) -> Result<ReadWrapper, String> {
    let label = Label {
        id: KeyId::from_bytes([0x11; 16]),
        collection_id: collection(),
    };
    let wrapper = Wrapper::decode(label, stored)?;
    let (cost, wrapped) = match &wrapper.method {
        Method::Passphrase { argon2id, .. } => (Some((argon2id.memory_kib, argon2id.passes)), None),
        Method::Key { wrapped, .. } => (None, Some(wrapped)),
        Method::AwsKms { .. } => (None, None),
    };
    let users = Zeroizing::new(USERS_KEY);
    let opened = match wrapped {
        Some(wrapped) => wrapped
            .unwrap(label, &users)
            .map_err(|error| error.to_string())?,
        None => None,
    };
    Ok(ReadWrapper {
        written: content::encode(&wrapper)
            .map_err(|error| error.to_string())?
            .to_vec(),
        cost,
        opened: opened.map(|key| *key),
    })
}
