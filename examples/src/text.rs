//! Numbers as people read them.

use std::time::Duration;

/// A count with its thousands apart: `336,776`.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (position, digit) in digits.char_indices() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Megabytes (10⁶ bytes), to a tenth where that says something.
pub fn megabytes(bytes: u64) -> String {
    let megabytes = bytes as f64 / 1e6;
    if megabytes < 10.0 {
        format!("{megabytes:.2}")
    } else {
        format!("{megabytes:.1}")
    }
}

/// Seconds, to a hundredth.
pub fn seconds(elapsed: Duration) -> String {
    format!("{:.2}", elapsed.as_secs_f64())
}

/// Megabytes a second; nothing where too little happened to measure.
pub fn rate(bytes: u64, elapsed: Duration) -> String {
    let seconds = elapsed.as_secs_f64();
    if bytes == 0 || seconds < 1e-6 {
        return String::new();
    }
    format!("{:.1}", bytes as f64 / 1e6 / seconds)
}

/// A share in percent: `4.2 %`.
pub fn percent(part: f64, whole: f64) -> String {
    format!("{:.1} %", 100.0 * part / whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        let counts = [0, 7, 999, 1000, 336_776, 1_000_000].map(count);
        assert_eq!(counts, ["0", "7", "999", "1,000", "336,776", "1,000,000"]);
        assert_eq!(megabytes(1_234_567), "1.23");
        assert_eq!(megabytes(98_760_000), "98.8");
        assert_eq!(seconds(Duration::from_millis(1_256)), "1.26");
        assert_eq!(rate(5_000_000, Duration::from_secs(2)), "2.5");
        assert_eq!(rate(0, Duration::from_secs(2)), "");
        assert_eq!(rate(1, Duration::ZERO), "");
        assert_eq!(percent(1.0, 24.0), "4.2 %");
    }
}
