//! Lists, printed while they are read: a keyspace need not fit in memory.

use std::io::{self, Write};

use comfy_table::{ColumnConstraint, ContentArrangement, Table, Width, presets};
use serde::Serialize;

use crate::arguments::OutputFormat;
use crate::context::Context;
use crate::error::{Error, Result};

/// Rows of one page of a table. Each page has its own column widths, at least those of the page
/// before; a list of up to this many rows is one table.
const PAGE_ROWS: usize = 1000;

/// One row of a list: its members in JSON, its cells in a table.
pub(crate) trait Record: Serialize {
    /// The names of the columns.
    const HEADER: &'static [&'static str];

    /// One cell for each column.
    fn cells(&self) -> Vec<String>;
}

/// Members of a JSON document beside its list.
pub(crate) type Members = serde_json::Map<String, serde_json::Value>;

impl Context {
    /// Prints a list under its plural name.
    pub(crate) fn list<R: Record>(
        &self,
        plural: &str,
        rows: impl IntoIterator<Item = Result<R>>,
    ) -> Result<()> {
        self.list_with(plural, &Members::new(), rows)
    }

    /// As [`Context::list`], with more members in the JSON document.
    pub(crate) fn list_with<R: Record>(
        &self,
        plural: &str,
        members: &Members,
        rows: impl IntoIterator<Item = Result<R>>,
    ) -> Result<()> {
        let mut out = self.stdout();
        match self.format {
            OutputFormat::Json => write_document(&mut out, plural, members, rows)?,
            OutputFormat::Table => write_table(&mut out, rows)?,
        }
        out.flush().map_err(Error::Output)
    }

    /// Prints rows as JSON lines; as a document under a plural name where JSON is asked for.
    pub(crate) fn lines<R: Serialize>(
        &self,
        plural: &str,
        rows: impl IntoIterator<Item = Result<R>>,
    ) -> Result<()> {
        let mut out = self.stdout();
        match self.format {
            OutputFormat::Json => write_document(&mut out, plural, &Members::new(), rows)?,
            OutputFormat::Table => {
                for row in rows {
                    write_json(&mut out, &row?)?;
                    out.write_all(b"\n").map_err(Error::Output)?;
                }
            }
        }
        out.flush().map_err(Error::Output)
    }
}

/// `{"member":…,"plural":[`, one row on each line, `]}`.
fn write_document<R: Serialize>(
    out: &mut impl Write,
    plural: &str,
    members: &Members,
    rows: impl IntoIterator<Item = Result<R>>,
) -> Result<()> {
    out.write_all(b"{").map_err(Error::Output)?;
    for (name, value) in members {
        write_json(out, name)?;
        out.write_all(b":").map_err(Error::Output)?;
        write_json(out, value)?;
        out.write_all(b",").map_err(Error::Output)?;
    }
    write_json(out, plural)?;
    out.write_all(b":[").map_err(Error::Output)?;
    let mut separator: &[u8] = b"\n";
    for row in rows {
        let row = row?;
        out.write_all(separator).map_err(Error::Output)?;
        write_json(out, &row)?;
        separator = b",\n";
    }
    out.write_all(b"\n]}\n").map_err(Error::Output)
}

fn write_json<T: Serialize + ?Sized>(out: &mut impl Write, value: &T) -> Result<()> {
    serde_json::to_writer(out, value).map_err(|e| Error::Output(io::Error::from(e)))
}

fn write_table<R: Record>(
    out: &mut impl Write,
    rows: impl IntoIterator<Item = Result<R>>,
) -> Result<()> {
    let mut table = page(&[]);
    table.set_header(R::HEADER);
    for row in rows {
        table.add_row(row?.cells());
        if table.row_count() == PAGE_ROWS {
            let widths = table.column_max_content_widths();
            writeln!(out, "{}", table.trim_fmt()).map_err(Error::Output)?;
            table = page(&widths);
        }
    }
    if table.row_count() == 0 && table.header().is_none() {
        return Ok(());
    }
    writeln!(out, "{}", table.trim_fmt()).map_err(Error::Output)
}

/// An empty table, with columns at least this wide.
fn page(widths: &[u16]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_content_arrangement(ContentArrangement::Disabled);
    let constraints = widths
        .iter()
        .map(|&width| ColumnConstraint::LowerBoundary(Width::Fixed(width)));
    table.set_constraints(constraints);
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize)]
    struct Pair {
        key: String,
        n: usize,
    }

    impl Record for Pair {
        const HEADER: &'static [&'static str] = &["key", "n"];

        fn cells(&self) -> Vec<String> {
            vec![self.key.clone(), self.n.to_string()]
        }
    }

    fn pairs(count: usize) -> impl Iterator<Item = Result<Pair>> {
        (0..count).map(|n| {
            Ok(Pair {
                key: format!("k{n}"),
                n,
            })
        })
    }

    fn table(count: usize) -> String {
        let mut out = Vec::new();
        write_table(&mut out, pairs(count)).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_table_is_plain() {
        assert_eq!(table(0), " key  n\n");
        assert_eq!(table(2), " key  n\n k0   0\n k1   1\n");
    }

    #[test]
    fn a_long_table_has_one_header_and_every_row() {
        for count in [PAGE_ROWS - 1, PAGE_ROWS, PAGE_ROWS + 1, 2 * PAGE_ROWS] {
            let text = table(count);
            assert_eq!(text.lines().count(), count + 1, "{count}");
            assert_eq!(text.matches("key").count(), 1, "{count}");
        }
    }

    #[test]
    fn a_document_is_json_whatever_the_count() {
        for count in [0, 1, 3] {
            let mut out = Vec::new();
            let members = Members::from_iter([("plan".to_owned(), "scan".into())]);
            write_document(&mut out, "pairs", &members, pairs(count)).unwrap();
            let read: serde_json::Value = serde_json::from_slice(&out).unwrap();
            assert_eq!(read["plan"], "scan");
            assert_eq!(read["pairs"].as_array().unwrap().len(), count);
        }
    }

    #[test]
    fn an_error_among_the_rows_is_not_lost() {
        let rows = pairs(2).chain([Err(Error::NoDatabase)]);
        assert!(write_table(&mut Vec::new(), rows).is_err());
    }
}
