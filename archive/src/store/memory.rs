//! `memory://name`: stores of this process, found again by name, for tests and examples.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use object_store::ObjectStore;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use parking_lot::Mutex;

/// Every named store, for the life of the process. The lock guards the map alone.
static STORES: LazyLock<Mutex<HashMap<String, Arc<InMemory>>>> = LazyLock::new(Mutex::default);

/// The store of that name, made if it is new, below the prefix.
pub(super) fn open(name: &str, prefix: &str) -> Arc<dyn ObjectStore> {
    let store = STORES.lock().entry(name.to_owned()).or_default().clone();
    if prefix.is_empty() {
        store
    } else {
        Arc::new(PrefixStore::new(store, Path::from(prefix)))
    }
}
