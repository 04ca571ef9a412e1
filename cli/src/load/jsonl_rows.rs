//! Rows of JSON-lines files.

use std::io::BufRead;

use serde_json::{Map, Value};

use super::reader::{Input, Row};
use crate::error::{Error, Result};

pub(super) struct JsonlRows {
    input: Input,
    file: String,
    key: Vec<String>,
    line: u64,
    buffer: Vec<u8>,
}

impl JsonlRows {
    pub(super) fn new(input: Input, file: &str, key: &[String]) -> Self {
        Self {
            input,
            file: file.to_owned(),
            key: key.to_vec(),
            line: 0,
            buffer: Vec::new(),
        }
    }

    /// The next row; empty lines are passed over.
    pub(super) fn next_row(&mut self) -> Result<Option<Row>> {
        loop {
            self.buffer.clear();
            self.line += 1;
            let read = self.input.read_until(b'\n', &mut self.buffer);
            if read.map_err(|e| self.wrong(e.to_string()))? == 0 {
                return Ok(None);
            }
            let json = self.buffer.trim_ascii();
            if !json.is_empty() {
                let key = self.key_of(json).map_err(|reason| self.wrong(reason))?;
                return Ok(Some(Row {
                    key,
                    json: json.to_vec(),
                }));
            }
        }
    }

    fn wrong(&self, reason: String) -> Error {
        Error::Row {
            file: self.file.clone(),
            line: self.line,
            reason,
        }
    }

    fn key_of(&self, json: &[u8]) -> Result<String, String> {
        let fields: Map<String, Value> = serde_json::from_slice(json)
            .map_err(|e| format!("it is not a JSON object: {e}; write one object a line"))?;
        let texts: Result<Vec<String>, String> = self
            .key
            .iter()
            .map(|column| match fields.get(column) {
                Some(Value::String(text)) => Ok(text.clone()),
                Some(Value::Bool(value)) => Ok(value.to_string()),
                // A fraction or a number beyond 64 bits has no one text, so it names no row.
                Some(Value::Number(number)) if number.is_i64() || number.is_u64() => {
                    Ok(number.to_string())
                }
                Some(other) => Err(format!(
                    "its key column {column:?} is {other}; a key column must be a string, an integer or a boolean"
                )),
                None => Err(format!("it has no key column {column:?}; add it, or name others with --key")),
            })
            .collect();
        Ok(texts?.join("/"))
    }
}
