//! One keyspace's storage: its column family, descriptor, threshold and idle iterators.

mod pool;
mod space;

pub(crate) use pool::PooledIter;
pub(crate) use space::Space;
