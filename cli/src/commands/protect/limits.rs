//! How long and how much a record may hold back, as arguments.

use std::time::Duration;

use clap::Args;
use icecore_gc::{Limits, OnBreach};
use icecore_mvcc::parse_duration;

#[derive(Debug, Args)]
pub(super) struct LimitArguments {
    /// Its time may lie so far back: 30d
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    max_age: Option<Duration>,
    /// It may hold back so many bytes: 500MB, 10GiB
    #[arg(long, value_name = "BYTES", value_parser = parse_bytes)]
    max_bytes: Option<u64>,
    /// What happens beyond a limit: warn, release or refuse-writes
    #[arg(long, value_name = "POLICY")]
    on_breach: Option<OnBreach>,
}

impl LimitArguments {
    /// What they make of limits that there are.
    pub(super) fn over(&self, present: Limits) -> Limits {
        Limits {
            max_age: self.max_age.or(present.max_age),
            max_bytes: self.max_bytes.or(present.max_bytes),
            on_breach: self.on_breach.unwrap_or(present.on_breach),
        }
    }

    pub(super) const fn is_none(&self) -> bool {
        self.max_age.is_none() && self.max_bytes.is_none() && self.on_breach.is_none()
    }
}

/// A number of bytes: `1000`, `10GB` (powers of 1000), `10GiB` (of 1024).
fn parse_bytes(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is no number of bytes: write it as 1000000, 500MB or 10GiB");
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = text.get(digits.len()..).unwrap_or_default();
    let units = ["", "K", "M", "G", "T", "P"];
    let power = |unit: &str| units.iter().position(|u| u.eq_ignore_ascii_case(unit));
    let (base, power) = match unit {
        "" | "B" | "b" => (1000_u64, Some(0)),
        unit if unit.ends_with("iB") => (1024, power(unit.trim_end_matches("iB"))),
        unit => (1000, power(unit.trim_end_matches(['B', 'b']))),
    };
    let power = u32::try_from(power.ok_or_else(wrong)?).map_err(|_| wrong())?;
    let number: u64 = digits.parse().map_err(|_| wrong())?;
    base.checked_pow(power)
        .and_then(|unit| number.checked_mul(unit))
        .ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::parse_bytes;

    #[test]
    fn bytes_with_and_without_units() {
        for (text, bytes) in [
            ("0", 0),
            ("1000", 1000),
            ("7B", 7),
            ("10kB", 10_000),
            ("500MB", 500_000_000),
            ("10GiB", 10 << 30),
            ("2T", 2_000_000_000_000),
        ] {
            assert_eq!(parse_bytes(text), Ok(bytes), "{text}");
        }
        for text in ["", "GB", "1.5GB", "-1", "1XB", "99999PB", "1 GB"] {
            let error = parse_bytes(text).unwrap_err();
            assert!(error.contains("is no number of bytes"), "{text}: {error}");
        }
    }
}
