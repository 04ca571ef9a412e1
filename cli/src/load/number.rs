//! Which fields of a CSV file are numbers.

/// Whether a text is exactly a JSON number that a reader of JSON can hold: no blanks around it, no
/// leading zeros or plus, not beyond what a double reaches.
pub(super) fn is_json_number(text: &str) -> bool {
    // The parser makes an error of each text that is none, so ask it about likely ones only.
    let first = text.starts_with(|c: char| c == '-' || c.is_ascii_digit());
    let last = text.ends_with(|c: char| c.is_ascii_digit());
    first && last && serde_json::from_str::<serde_json::Number>(text).is_ok()
}

#[cfg(test)]
mod tests {
    use super::is_json_number;

    #[test]
    fn numbers_and_what_looks_like_them() {
        for yes in [
            "0",
            "-0",
            "42",
            "-1.50",
            "6e23",
            "1E-7",
            "123456789012345678901",
        ] {
            assert!(is_json_number(yes), "{yes}");
        }
        for no in [
            "", "NA", "007", "1.", ".5", "+1", "1e", "0x10", "Infinity", "1_000", "٣", " 1", "1 ",
            "-", "--1", "1-1", "1e700",
        ] {
            assert!(!is_json_number(no), "{no}");
        }
    }
}
