//! The operation log: every request that reached the store, in the order they began.
//!
//! Golden tests of backups compare it with what the protocol says. [`OperationLog::script`] makes it
//! comparable: the random names of data files become numbers.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::observe::{Observer, Outcome, Verb};

/// One request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// What was asked for.
    pub verb: Verb,
    /// The object or prefix, from the collection's root.
    pub path: String,
    /// How it ended; `None` while it is under way, or if it was given up.
    pub outcome: Option<Outcome>,
}

impl fmt::Display for Operation {
    /// `put-if-absent metadata/COLLECTION`, and how it ended unless it went as asked.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.verb, self.path)?;
        match self.outcome {
            Some(Outcome::Done) => Ok(()),
            Some(outcome) => write!(f, " -> {}", outcome.as_str()),
            None => f.write_str(" -> unfinished"),
        }
    }
}

/// Records requests. Clones share one record; give one to
/// [`StoreOptions::log`](crate::StoreOptions::log).
#[derive(Debug, Clone, Default)]
pub struct OperationLog(Arc<Mutex<Vec<Operation>>>);

impl OperationLog {
    /// An empty log.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Everything so far.
    #[must_use]
    pub fn operations(&self) -> Vec<Operation> {
        self.0.lock().clone()
    }

    /// Everything so far; the log is empty afterwards.
    ///
    /// Call it between operations: a request under way now is not recorded at all.
    #[must_use]
    pub fn take(&self) -> Vec<Operation> {
        std::mem::take(&mut *self.0.lock())
    }

    /// [`OperationLog::take`], one request a line, with each word of 32 or 64 hex digits in a path (random
    /// names and hashes) replaced by `<n>`, counting up from 1 for the first that appears.
    #[must_use]
    pub fn script(&self) -> String {
        let mut names = HashMap::new();
        self.take()
            .iter()
            .map(|operation| number_hex_words(&operation.to_string(), &mut names) + "\n")
            .collect()
    }
}

/// Replaces each word of hex digits of such a length as random names and hashes have.
fn number_hex_words(line: &str, names: &mut HashMap<String, usize>) -> String {
    let mut out = String::with_capacity(line.len());
    let mut rest = line;
    while !rest.is_empty() {
        let word_end = rest
            .find(|c: char| !c.is_ascii_alphanumeric())
            .unwrap_or(rest.len());
        let (word, tail) = rest.split_at(word_end);
        let random =
            matches!(word.len(), 32 | 64) && word.bytes().all(|byte| byte.is_ascii_hexdigit());
        if random {
            let next = names.len() + 1;
            out.push_str(&format!(
                "<{}>",
                names.entry(word.to_owned()).or_insert(next)
            ));
        } else {
            out.push_str(word);
        }
        let separator = tail.chars().next();
        out.extend(separator);
        rest = tail
            .get(separator.map_or(0, char::len_utf8)..)
            .unwrap_or_default();
    }
    out
}

impl Observer for OperationLog {
    fn begin(&self, verb: Verb, path: &str) -> usize {
        let mut operations = self.0.lock();
        operations.push(Operation {
            verb,
            path: path.to_owned(),
            outcome: None,
        });
        operations.len() - 1
    }

    fn end(&self, token: usize, verb: Verb, outcome: Outcome, _elapsed: Duration) {
        let mut operations = self.0.lock();
        // The log may have been taken in between.
        if let Some(operation) = operations
            .get_mut(token)
            .filter(|operation| operation.verb == verb)
        {
            operation.outcome = Some(outcome);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_random_word_keeps_its_number() {
        let log = OperationLog::new();
        let first = "data/0123456789abcdef0123456789abcdef.sst";
        for path in [
            first,
            "data/ffffffffffffffffffffffffffffffff.sst",
            first,
            "slot-01644422020139999999",
        ] {
            let token = log.begin(Verb::PutIfAbsent, path);
            log.end(token, Verb::PutIfAbsent, Outcome::Done, Duration::ZERO);
        }
        let token = log.begin(Verb::Get, "metadata/COLLECTION");
        log.end(token, Verb::Get, Outcome::NotFound, Duration::ZERO);
        log.begin(Verb::List, "data");
        assert_eq!(
            log.script(),
            "put-if-absent data/<1>.sst\n\
             put-if-absent data/<2>.sst\n\
             put-if-absent data/<1>.sst\n\
             put-if-absent slot-01644422020139999999\n\
             get metadata/COLLECTION -> not-found\n\
             list data -> unfinished\n"
        );
        assert_eq!(log.script(), "");
    }
}
