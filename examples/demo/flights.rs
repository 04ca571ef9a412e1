//! One flight: its row, its key, and what of it is known when.
//!
//! The key is `DATE/CARRIER/FLIGHT/ORIGIN/SCHEDULE`, such as `2013-12-24/UA/1545/EWR/0515`: the
//! flights of a day lie together, days in order. No two of the 336,776 rows share one, so nothing
//! had to be added; the demo counts the rows at its end to prove it.

use std::fmt::Display;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, de::Error as _};

use crate::error::Result;

/// How the tables write a value that is not known.
const UNKNOWN: &str = "NA";

/// A row of the table, and, as JSON in this order, the value that is stored. Times of day are
/// local, as `hhmm`; delays are minutes, negative for early.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Flight {
    year: u16,
    pub(crate) month: u8,
    pub(crate) day: u8,
    #[serde(deserialize_with = "known")]
    dep_time: Option<u16>,
    sched_dep_time: u16,
    #[serde(deserialize_with = "known")]
    pub(crate) dep_delay: Option<i16>,
    #[serde(deserialize_with = "known")]
    arr_time: Option<u16>,
    sched_arr_time: u16,
    #[serde(deserialize_with = "known")]
    arr_delay: Option<i16>,
    carrier: String,
    flight: u16,
    #[serde(deserialize_with = "known")]
    tailnum: Option<String>,
    origin: String,
    dest: String,
    #[serde(deserialize_with = "known")]
    air_time: Option<u16>,
    distance: u16,
    hour: u8,
    minute: u8,
    time_hour: String,
}

impl Flight {
    /// Its key.
    pub(crate) fn key(&self) -> String {
        let Self {
            year,
            month,
            day,
            carrier,
            flight,
            origin,
            sched_dep_time,
            ..
        } = self;
        format!("{year}-{month:02}-{day:02}/{carrier}/{flight}/{origin}/{sched_dep_time:04}")
    }

    /// Its value.
    pub(crate) fn json(&self) -> Result<Vec<u8>> {
        Ok(serde_json::to_vec(self)?)
    }

    /// Whether it never left.
    pub(crate) fn is_cancelled(&self) -> bool {
        self.dep_time.is_none()
    }

    /// As it is known before the flight.
    pub(crate) fn scheduled(&self) -> Self {
        Self {
            dep_time: None,
            dep_delay: None,
            arr_time: None,
            arr_delay: None,
            air_time: None,
            ..self.clone()
        }
    }
}

/// A field that may be unknown.
fn known<'de, D, T>(deserializer: D) -> std::result::Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: Display>,
{
    let text = <&str>::deserialize(deserializer)?;
    if text == UNKNOWN {
        return Ok(None);
    }
    text.parse().map(Some).map_err(D::Error::custom)
}
