//! Replaces what differs from run to run.

use regex::{Captures, Regex};

/// What is numbered in the order in which it appears.
const NUMBERED: [(&str, &str); 8] = [
    ("token", r"\bfeed1-[0-9a-f]{32}-[0-9a-f]{16}\b"),
    ("t", r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z"),
    ("uuid", r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"),
    ("hash", r"\b[0-9a-f]{64}\b"),
    ("print", r"\b[0-9a-f]{32}:\d+\b"),
    ("file", r"\b[0-9a-f]{32}\b"),
    ("inc", r"\b20\d{6}/\d{6}\.\d\d\b"),
    ("full", r"\b20\d\d/\d\d/\d\d-\d{6}\.\d\d\b"),
];

/// What is replaced wherever it stands.
const REPLACED: [(&str, &str); 4] = [
    (r#""seconds": ?[0-9.e-]+"#, r#""seconds": <s>"#),
    (r#""(\w+)_seconds": ?[0-9.e-]+"#, r#""${1}_seconds": <s>"#),
    (r"in [0-9.]+ s\b", "in <s> s"),
    (r"[0-9.]+ [KMG]?i?B/s", "<rate>"),
];

/// What is replaced besides where SST files are made, whose lengths vary a little with their ids.
const SIZES: [(&str, &str); 3] = [
    (r#""(\w*bytes\w*)": ?[0-9]+"#, r#""${1}": <n>"#),
    (r"\b[0-9.]+ (B|[KMG]iB)\b", "<size>"),
    (
        r"\b[0-9a-f]{8}, expected [0-9a-f]{8}\b",
        "<crc>, expected <crc>",
    ),
];

pub(crate) struct Mask {
    numbered: Vec<(&'static str, Regex, Vec<String>)>,
    replaced: Vec<(Regex, &'static str)>,
    folder: String,
}

impl Mask {
    pub(crate) fn new(folder: &str, sizes_vary: bool) -> Self {
        let numbered = NUMBERED
            .iter()
            .map(|(name, pattern)| (*name, Regex::new(pattern).unwrap(), Vec::new()))
            .collect();
        let sizes = SIZES.iter().filter(|_| sizes_vary);
        let replaced = REPLACED
            .iter()
            .chain(sizes)
            .map(|(pattern, by)| (Regex::new(pattern).unwrap(), *by))
            .collect();
        Self {
            numbered,
            replaced,
            folder: folder.to_owned(),
        }
    }

    pub(crate) fn apply(&mut self, text: &str) -> String {
        let mut text = text.replace(&self.folder, "<folder>");
        for (pattern, by) in &self.replaced {
            text = pattern.replace_all(&text, *by).into_owned();
        }
        for (name, pattern, seen) in &mut self.numbered {
            let number = |found: &Captures<'_>| {
                let found = found[0].to_owned();
                let place = seen.iter().position(|s| *s == found).unwrap_or_else(|| {
                    seen.push(found);
                    seen.len() - 1
                });
                format!("<{name}{}>", place + 1)
            };
            text = pattern.replace_all(&text, number).into_owned();
        }
        text
    }
}
