//! Rows of CSV files.

use std::collections::BTreeSet;

use super::number::is_json_number;
use super::reader::{Input, Row};
use crate::error::{Error, Result};

pub(super) struct CsvRows {
    reader: csv::Reader<Input>,
    record: csv::StringRecord,
    file: String,
    /// For each column its name as a JSON string and a colon.
    labels: Vec<String>,
    /// The places of the key columns.
    key: Vec<usize>,
}

impl CsvRows {
    /// Reads the header.
    pub(super) fn new(input: Input, file: &str, key: &[String]) -> Result<Self> {
        let wrong = |reason: String| Error::Input {
            file: file.to_owned(),
            reason,
        };
        let mut reader = csv::Reader::from_reader(input);
        let header = reader
            .headers()
            .map_err(|e| {
                wrong(format!(
                    "its header cannot be read: {e}; check that the file is what its name says"
                ))
            })?
            .clone();
        let mut seen = BTreeSet::new();
        if let Some(twice) = header.iter().find(|name| !seen.insert(*name)) {
            return Err(wrong(format!(
                "its header has the column {twice:?} twice; rename one of them"
            )));
        }
        let place = |column: &String| {
            header
                .iter()
                .position(|name| name == column)
                .ok_or_else(|| {
                    let columns: Vec<&str> = header.iter().collect();
                    wrong(format!(
                        "it has no column {column:?}; its columns are {}",
                        columns.join(", ")
                    ))
                })
        };
        let key = key.iter().map(place).collect::<Result<Vec<usize>>>()?;
        let labels = header
            .iter()
            .map(|name| format!("{}:", json_string(name)))
            .collect();
        Ok(Self {
            reader,
            record: csv::StringRecord::new(),
            file: file.to_owned(),
            labels,
            key,
        })
    }

    pub(super) fn next_row(&mut self) -> Result<Option<Row>> {
        let more = self.reader.read_record(&mut self.record).map_err(|e| {
            let line = e
                .position()
                .map_or_else(|| self.reader.position().line(), csv::Position::line);
            Error::Row {
                file: self.file.clone(),
                line,
                reason: reason(&e),
            }
        })?;
        if !more {
            return Ok(None);
        }
        let fields: Vec<&str> = self
            .key
            .iter()
            .filter_map(|&place| self.record.get(place))
            .collect();
        Ok(Some(Row {
            key: fields.join("/"),
            json: self.object(),
        }))
    }

    /// The record as a JSON object.
    fn object(&self) -> Vec<u8> {
        let mut json = String::with_capacity(self.record.as_slice().len() * 2);
        let mut separator = '{';
        for (label, field) in self.labels.iter().zip(&self.record) {
            json.push(separator);
            json.push_str(label);
            if is_json_number(field) {
                json.push_str(field);
            } else {
                json.push_str(&json_string(field));
            }
            separator = ',';
        }
        json.push('}');
        json.into_bytes()
    }
}

fn json_string(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// What is wrong, without the position that the caller gives.
fn reason(error: &csv::Error) -> String {
    match error.kind() {
        csv::ErrorKind::UnequalLengths {
            expected_len, len, ..
        } => format!("it has {len} fields where the header has {expected_len}; mend that line"),
        csv::ErrorKind::Utf8 { err, .. } => format!("{err}; convert the file to UTF-8"),
        csv::ErrorKind::Io(e) => e.to_string(),
        _ => error.to_string(),
    }
}
