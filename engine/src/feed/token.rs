//! Resume tokens: where a feed stood, and in which database.

use std::fmt;
use std::str::FromStr;

use icecore_mvcc::{EngineId, Timestamp};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::engine::Engine;
use crate::error::{Error, Result};

/// What the text begins with: the kind of token, and the version of its form.
const PREFIX: &str = "feed1-";

/// Digits of the engine's id and of the time.
const ID_DIGITS: usize = 32;
const TIME_DIGITS: usize = 16;

/// Where a feed stood. Its text is one word that is kept beside what the transactions were applied
/// to, and given back as it is; what it is made of is in `docs/format/feed-token.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResumeToken {
    engine: EngineId,
    position: Timestamp,
}

impl ResumeToken {
    pub(crate) fn new(engine: EngineId, position: Timestamp) -> Self {
        Self { engine, position }
    }

    /// The database that it is of.
    pub fn engine(self) -> EngineId {
        self.engine
    }

    /// All transactions at or below this time are behind it.
    pub fn position(self) -> Timestamp {
        self.position
    }

    /// The position, if it is one that this engine has come to.
    ///
    /// # Errors
    /// [`Error::ResumeToken`] for a token of another database, or of a state of this one that is lost.
    pub fn position_in(self, engine: &Engine) -> Result<Timestamp> {
        let refuse = |reason| {
            Err(Error::ResumeToken {
                token: self.to_string(),
                reason,
            })
        };
        if self.engine != engine.id() {
            let fork = match engine.forked_from() {
                Some(from) if from == self.engine => ", which is a checkpoint of it",
                _ => "",
            };
            let (of, here) = (self.engine, engine.id());
            return refuse(format!(
                "it is of database {of}, and this one is {here}{fork}"
            ));
        }
        let visible = engine.visible();
        if self.position > visible {
            let position = self.position;
            return refuse(format!(
                "it stands at {position}, and the database has come to {visible} only: a later state of it was lost"
            ));
        }
        Ok(self.position)
    }
}

impl fmt::Display for ResumeToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(PREFIX)?;
        for byte in self.engine.as_bytes() {
            write!(f, "{byte:02x}")?;
        }
        write!(f, "-{:016x}", self.position.nanos())
    }
}

impl FromStr for ResumeToken {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let refuse = |reason: &str| Error::ResumeToken {
            token: text.chars().take(80).collect(),
            reason: reason.to_owned(),
        };
        let damaged = || refuse("it is not a token as a feed gives it");
        let Some(rest) = text.strip_prefix(PREFIX) else {
            return Err(match text.starts_with("feed") {
                true => refuse("its version is not one that this program knows"),
                false => damaged(),
            });
        };
        let is_hex = |part: &str, digits| {
            part.len() == digits && part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        };
        let (id, time) = rest
            .split_once('-')
            .filter(|(id, time)| is_hex(id, ID_DIGITS) && is_hex(time, TIME_DIGITS))
            .ok_or_else(damaged)?;
        Ok(Self {
            engine: id.parse().map_err(|_| damaged())?,
            position: u64::from_str_radix(time, 16)
                .map(Timestamp::from_nanos)
                .map_err(|_| damaged())?,
        })
    }
}

impl Serialize for ResumeToken {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ResumeToken {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As on the page on its format.
    const TEXT: &str = "feed1-7f3b0a529c1d4e6f8a210b5c6d7e8f90-000000e8d4a51002";

    #[test]
    fn the_page_has_this_text() {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/format/feed-token.md");
        assert!(std::fs::read_to_string(page).unwrap().contains(TEXT));
        let token: ResumeToken = TEXT.parse().unwrap();
        assert_eq!(token.position(), Timestamp::from_nanos(1_000_000_000_002));
        assert_eq!(
            token.engine().to_string(),
            "7f3b0a52-9c1d-4e6f-8a21-0b5c6d7e8f90"
        );
        assert_eq!(token.to_string(), TEXT);
        let json = serde_json::to_string(&token).unwrap();
        assert_eq!(json, format!("{TEXT:?}"));
        assert_eq!(serde_json::from_str::<ResumeToken>(&json).unwrap(), token);
    }

    #[test]
    fn what_was_cut_or_changed_is_refused() {
        for cut in 0..TEXT.len() {
            assert!(TEXT[..cut].parse::<ResumeToken>().is_err(), "{cut}");
        }
        for text in [
            &format!("{TEXT}0"),
            &TEXT.to_uppercase(),
            &TEXT.replace("feed1", "feed2"),
            &TEXT.replace("-7f", "-+f"),
            " ",
        ] {
            assert!(text.parse::<ResumeToken>().is_err(), "{text}");
        }
    }
}
