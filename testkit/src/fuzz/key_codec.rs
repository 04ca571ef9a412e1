//! The key codec: round trip, order, ranges, and bytes that are no stored key.

use arbitrary::{Arbitrary, Unstructured};
use icecore_mvcc::{Error, KeyRange, Timestamp, key};

use super::Bug;
use crate::failure::{Failure, Result, ensure};

/// Two versions whose keys are likely to meet.
#[derive(Debug, Arbitrary)]
struct Pair {
    first: Vec<u8>,
    first_nanos: u64,
    second: Second,
    second_nanos: u64,
}

#[derive(Debug, Arbitrary)]
enum Second {
    Same,
    Longer(Vec<u8>),
    Other(Vec<u8>),
}

/// Takes the bytes for a stored key, and makes two versions of them.
///
/// # Errors
/// The first check that does not hold.
pub fn check(bytes: &[u8], bug: Option<Bug>) -> Result<()> {
    decodes_or_refuses(bytes, bug)?;
    let Ok(pair) = Pair::arbitrary_take_rest(Unstructured::new(bytes)) else {
        return Ok(());
    };
    let (second, second_ts) = (pair.second_key(), Timestamp::from_nanos(pair.second_nanos));
    let (first, first_ts) = (pair.first, Timestamp::from_nanos(pair.first_nanos));
    round_trips(&first, first_ts, bug)?;
    round_trips(&second, second_ts, bug)?;
    orders((&first, first_ts), (&second, second_ts), bug)?;
    bounds(&first, &second, second_ts, bug)
}

impl Pair {
    fn second_key(&self) -> Vec<u8> {
        match &self.second {
            Second::Same => self.first.clone(),
            Second::Longer(more) => [self.first.as_slice(), more].concat(),
            Second::Other(other) => other.clone(),
        }
    }
}

/// The codec, or a broken one.
fn encode(user: &[u8], ts: Timestamp, bug: Option<Bug>) -> Vec<u8> {
    match bug {
        Some(Bug::KeysAreNotEscaped) => {
            [user, &key::TERMINATOR, &key::encode_timestamp(ts)].concat()
        }
        Some(Bug::KeysSortOldestFirst) => [
            &key::encode_prefix(user),
            ts.nanos().to_be_bytes().as_slice(),
        ]
        .concat(),
        _ => key::encode_key(user, ts),
    }
}

fn decode(stored: &[u8], bug: Option<Bug>) -> icecore_mvcc::Result<(Vec<u8>, Timestamp)> {
    let decoded = key::decode_key(stored);
    match (decoded, bug) {
        (Ok((user, ts)), Some(Bug::KeysSortOldestFirst)) => {
            Ok((user, Timestamp::from_nanos(!ts.nanos())))
        }
        (Err(Error::KeyEscape { .. }), Some(Bug::KeysDecodeLoosely)) => {
            let (prefix, ts) = key::split(stored).unwrap_or_default();
            Ok((prefix.to_vec(), ts))
        }
        (decoded, _) => decoded,
    }
}

/// Any bytes: an error of the codec's own, or a key that encodes to just these bytes.
fn decodes_or_refuses(bytes: &[u8], bug: Option<Bug>) -> Result<()> {
    match decode(bytes, bug) {
        Ok((user, ts)) => {
            let again = encode(&user, ts, bug);
            ensure!(
                again == bytes,
                "{bytes:02x?} decodes to {user:02x?} at {ts:?}, which encodes to {again:02x?}"
            );
            ensure!(
                key::is_stored_key(bytes),
                "{bytes:02x?} decodes and is no stored key"
            );
        }
        Err(Error::KeyTerminator { .. }) => {
            ensure!(
                !key::is_stored_key(bytes),
                "{bytes:02x?} is a stored key without its terminator"
            );
        }
        Err(Error::KeyEscape { .. }) => {}
        Err(other) => return Err(Failure::Model(other)),
    }
    if let Ok(user) = key::decode_prefix(bytes) {
        ensure!(
            key::encode_prefix(&user) == bytes,
            "prefix {bytes:02x?} has a second spelling"
        );
    }
    Ok(())
}

fn round_trips(user: &[u8], ts: Timestamp, bug: Option<Bug>) -> Result<()> {
    let stored = encode(user, ts, bug);
    let decoded = decode(&stored, bug);
    ensure!(
        decoded
            .as_ref()
            .is_ok_and(|(key, at)| key == user && *at == ts),
        "{user:02x?} at {ts:?} is stored as {stored:02x?}, which decodes to {decoded:?}"
    );
    let mut appended = b"before".to_vec();
    key::encode_into(&mut appended, user, ts);
    ensure!(
        appended.strip_prefix(b"before") == Some(&key::encode_key(user, ts)),
        "appending {user:02x?} gives {appended:02x?}"
    );
    Ok(())
}

/// Stored keys sort by key, and within a key newest first.
fn orders(a: (&[u8], Timestamp), b: (&[u8], Timestamp), bug: Option<Bug>) -> Result<()> {
    let expected = a.0.cmp(b.0).then(b.1.cmp(&a.1));
    let found = encode(a.0, a.1, bug).cmp(&encode(b.0, b.1, bug));
    ensure!(
        found == expected,
        "{a:02x?} and {b:02x?} sort {found:?}, not {expected:?}"
    );
    let (a, b) = (key::encode_prefix(a.0), key::encode_prefix(b.0));
    ensure!(
        a == b || !b.starts_with(&a),
        "prefix {a:02x?} begins {b:02x?}"
    );
    Ok(())
}

/// The bounds of a range hold every version of every key in it, and none of any other.
fn bounds(first: &[u8], second: &[u8], ts: Timestamp, bug: Option<Bug>) -> Result<()> {
    let ranges = [
        KeyRange::new(first.to_vec(), None),
        KeyRange::new(first.to_vec(), Some(second.to_vec())),
        KeyRange::new(Vec::new(), Some(first.to_vec())),
        KeyRange::prefix(first),
        KeyRange::single(first),
    ];
    for range in &ranges {
        for user in [first, second] {
            let (lower, upper) = key::range_bounds(range);
            let stored = key::encode_key(user, ts);
            let end_too = bug == Some(Bug::RangesIncludeTheirEnd);
            let below = |upper: &Vec<u8>| stored < *upper || (end_too && stored.starts_with(upper));
            let bounded = stored >= lower && upper.as_ref().is_none_or(below);
            ensure!(
                bounded == range.contains(user),
                "{user:02x?} at {ts:?} and the bounds of {range}: {bounded}"
            );
        }
    }
    Ok(())
}
