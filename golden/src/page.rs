//! The pages under `docs/format`: what stands on them is what tests compare the code with.

/// What stands between a heading of the second level and the next one.
///
/// # Panics
/// If the page has no such heading.
pub fn section<'a>(page: &'a str, heading: &str) -> &'a str {
    let (_, after) = page
        .split_once(&format!("\n## {heading}\n"))
        .expect(heading);
    after
        .split_once("\n## ")
        .map_or(after, |(section, _)| section)
}

/// The rows of a section's first table, without its head; cells without their backticks.
///
/// # Panics
/// As [`section`].
pub fn rows(page: &str, heading: &str) -> Vec<Vec<String>> {
    let table = section(page, heading)
        .lines()
        .skip_while(|line| !line.starts_with('|'));
    let body = table
        .take_while(|line| line.starts_with('|'))
        .filter(|line| line.starts_with("| "))
        .skip(1);
    let cells = |line: &str| {
        line.trim_matches('|')
            .split('|')
            .map(|cell| cell.trim().trim_matches('`').to_owned())
            .collect()
    };
    body.map(cells).collect()
}

/// The fenced blocks of a language in a section, in order.
///
/// # Panics
/// As [`section`], and if a block has no end.
pub fn blocks<'a>(page: &'a str, heading: &str, language: &str) -> Vec<&'a str> {
    let fence = format!("```{language}\n");
    let pieces = section(page, heading).split(&fence).skip(1);
    pieces
        .map(|piece| piece.split_once("\n```").expect("the end of the block").0)
        .collect()
}

/// The bytes of hexadecimal pairs with spaces between them; `(empty)` for none.
///
/// # Panics
/// If it is something else.
pub fn bytes(hex: &str) -> Vec<u8> {
    if hex == "(empty)" {
        return Vec::new();
    }
    hex.split_whitespace()
        .map(|byte| u8::from_str_radix(byte, 16).expect(hex))
        .collect()
}

/// The bytes in the lines of a block: the hexadecimal pairs that each line begins with. What they mean
/// stands behind them.
///
/// # Panics
/// If a line begins with something else.
pub fn annotated(lines: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for line in lines.lines() {
        let before = bytes.len();
        bytes.extend(line.split_whitespace().map_while(pair));
        assert!(bytes.len() > before, "no bytes: {line}");
    }
    bytes
}

fn pair(word: &str) -> Option<u8> {
    (word.len() == 2)
        .then(|| u8::from_str_radix(word, 16).ok())
        .flatten()
}

/// Bytes as hexadecimal pairs.
pub fn hex(bytes: &[u8]) -> String {
    let pairs: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    pairs.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "# Page\n\n## One\n\n| a | b |\n|---|---|\n| `00 ff` | x |\n\n| other | table |\n\n\
                        ```json\n{}\n```\n\n```text\n  00 01   two\n02      03 add\n```\n\n## Two\n\nno table\n";

    #[test]
    fn parts_of_a_page() {
        assert_eq!(rows(PAGE, "One"), [["00 ff", "x"]]);
        assert_eq!(blocks(PAGE, "One", "json"), ["{}"]);
        assert_eq!(annotated(blocks(PAGE, "One", "text")[0]), [0, 1, 2, 3]);
        assert!(std::panic::catch_unwind(|| annotated("00\nno\n")).is_err());
        assert!(rows(PAGE, "Two").is_empty() && blocks(PAGE, "Two", "json").is_empty());
        assert!(std::panic::catch_unwind(|| section(PAGE, "Three")).is_err());
    }

    #[test]
    fn hexadecimal() {
        assert_eq!(bytes("00 ff"), [0, 255]);
        assert_eq!(bytes("(empty)"), []);
        assert_eq!(hex(&[0, 255]), "00 ff");
        assert!(std::panic::catch_unwind(|| bytes("xy")).is_err());
    }
}
