//! The activity log as a file: newline-delimited JSON, or CSV.

use std::{borrow::Cow, collections::BTreeMap};

use baton_errors::{Error, Result};
use baton_proto::baton::tenancy::v1::ExportFormat;
use chrono::{NaiveDate, SecondsFormat};
use serde::Serialize;
use uuid::Uuid;

use crate::activity::{Activity, Logged};

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    NdJson,
    Csv,
}

/// Says that what follows is UTF-8 (Unicode 3.9, D95).
const BYTE_ORDER_MARK: char = '\u{feff}';

/// The columns of a CSV file.
const COLUMNS: [&str; 14] = [
    "sequence",
    "id",
    "account_id",
    "occurred_at",
    "actor_id",
    "action",
    "resource_type",
    "resource_id",
    "changed_fields",
    "details",
    "address",
    "user_agent",
    "request_id",
    "leaf_hash",
];

/// A row as the API shows it.
#[derive(Serialize)]
struct Line<'a> {
    id: String,
    account_id: String,
    sequence: i64,
    actor_id: Option<String>,
    action: &'a str,
    resource_type: &'a str,
    resource_id: String,
    changed_fields: &'a [String],
    details: &'a BTreeMap<String, String>,
    address: Option<&'a str>,
    user_agent: Option<&'a str>,
    request_id: Option<&'a str>,
    occurred_at: String,
    leaf_hash: String,
}

impl Format {
    /// The format of the request.
    pub(crate) fn of(format: i32) -> Self {
        if format == ExportFormat::Csv as i32 { Self::Csv } else { Self::NdJson }
    }

    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Self::NdJson => "application/x-ndjson",
            Self::Csv => "text/csv; charset=utf-8; header=present",
        }
    }

    /// What to call the file of an account on this day. Names of accounts are no part of it: it gets into logs and
    /// histories.
    pub(crate) fn file_name(self, account_id: Uuid, day: NaiveDate) -> String {
        let extension = match self {
            Self::NdJson => "ndjson",
            Self::Csv => "csv",
        };
        format!("activity-log-{account_id}-{day}.{extension}")
    }

    /// What stands above all rows. Without the mark of UTF-8, Excel reads CSV in the code page of its machine.
    pub(crate) fn head(self) -> Vec<u8> {
        match self {
            Self::NdJson => Vec::new(),
            Self::Csv => format!("{BYTE_ORDER_MARK}{}", record(&COLUMNS.map(Cow::Borrowed))).into_bytes(),
        }
    }

    /// These rows.
    ///
    /// # Errors
    /// INTERNAL when a row has no JSON form, which none has.
    pub(crate) fn rows(self, rows: &[Logged]) -> Result<Vec<u8>> {
        let mut text = Vec::new();
        for row in rows {
            match self {
                Self::NdJson => {
                    serde_json::to_writer(&mut text, &line(row)).map_err(Error::internal)?;
                    text.push(b'\n');
                }
                Self::Csv => text.extend(csv(row)?.into_bytes()),
            }
        }
        Ok(text)
    }
}

fn line(row: &Logged) -> Line<'_> {
    let Activity { details, changed_fields, .. } = &row.activity;
    Line {
        id: row.activity.id.to_string(),
        account_id: row.activity.account_id.to_string(),
        sequence: row.place.seq,
        actor_id: row.activity.actor_id.map(|id| id.to_string()),
        action: &row.activity.action,
        resource_type: &row.activity.resource_type,
        resource_id: row.activity.resource_id.to_string(),
        changed_fields,
        details,
        address: row.activity.address.as_deref(),
        user_agent: row.activity.user_agent.as_deref(),
        request_id: row.activity.request_id.as_deref(),
        occurred_at: row.activity.occurred_at.to_rfc3339_opts(SecondsFormat::AutoSi, true),
        leaf_hash: hex(&row.leaf_hash),
    }
}

fn csv(row: &Logged) -> Result<String> {
    let line = line(row);
    let details = if line.details.is_empty() {
        String::new()
    } else {
        serde_json::to_string(line.details).map_err(Error::internal)?
    };
    let or_empty = |text: Option<&str>| Cow::Owned(text.unwrap_or_default().to_owned());
    Ok(record(&[
        Cow::Owned(line.sequence.to_string()),
        Cow::Owned(line.id),
        Cow::Owned(line.account_id),
        Cow::Owned(line.occurred_at),
        or_empty(line.actor_id.as_deref()),
        Cow::Borrowed(line.action),
        Cow::Borrowed(line.resource_type),
        Cow::Owned(line.resource_id),
        Cow::Owned(line.changed_fields.join(" ")),
        Cow::Owned(details),
        or_empty(line.address),
        or_empty(line.user_agent),
        or_empty(line.request_id),
        Cow::Owned(line.leaf_hash),
    ]))
}

/// Cells as a line (RFC 4180).
fn record(cells: &[Cow<'_, str>]) -> String {
    let cells: Vec<String> = cells.iter().map(|cell| quoted(cell)).collect();
    cells.join(",") + "\r\n"
}

/// A cell. One that a spreadsheet would take for a formula gets an apostrophe in front (OWASP, CSV injection):
/// the user agent is what the client wants it to be. Spreadsheets pass over spaces before a formula, and some of them
/// read full-width signs as the plain ones.
fn quoted(cell: &str) -> String {
    let is_formula = cell.trim_start().starts_with(['=', '+', '-', '@', '＝', '＋', '－', '＠']);
    let apostrophe = if is_formula || cell.starts_with(['\t', '\r', '\n']) { "'" } else { "" };
    if cell.contains([',', '"', '\r', '\n']) {
        format!("\"{apostrophe}{}\"", cell.replace('"', "\"\""))
    } else {
        format!("{apostrophe}{cell}")
    }
}

/// Bytes in lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::activity::tests::logged;

    #[test]
    fn formulas_are_only_text() {
        for (cell, shown) in [
            ("=1+1", "'=1+1"),
            ("+1", "'+1"),
            ("-1", "'-1"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("\t=1", "'\t=1"),
            ("=HYPERLINK(\"http://x\",1)", "\"'=HYPERLINK(\"\"http://x\"\",1)\""),
            (" =1", "' =1"),
            ("\u{a0}@A1", "'\u{a0}@A1"),
            ("＝1", "'＝1"),
            ("a=1", "a=1"),
            ("", ""),
        ] {
            assert_eq!(quoted(cell), shown);
        }
    }

    #[test]
    fn a_file_says_whose_it_is_and_of_which_day_and_csv_that_it_is_utf8() {
        let day = NaiveDate::from_ymd_opt(2026, 11, 29).unwrap();
        let name = |format: Format| format.file_name(Uuid::from_u128(7), day);
        assert_eq!(name(Format::Csv), "activity-log-00000000-0000-0000-0000-000000000007-2026-11-29.csv");
        assert_eq!(name(Format::NdJson), "activity-log-00000000-0000-0000-0000-000000000007-2026-11-29.ndjson");
        assert!(Format::Csv.head().starts_with(b"\xef\xbb\xbfsequence,"));
        assert!(Format::NdJson.head().is_empty());
    }

    #[test]
    fn a_file_of_json_has_a_line_for_each_row_as_the_api_shows_it() {
        let text = String::from_utf8(Format::NdJson.rows(&[logged(1), logged(2)]).unwrap()).unwrap();
        let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[1]["sequence"], 2);
        assert_eq!(lines[0]["action"], "task.assigned");
        assert_eq!(lines[0]["occurred_at"], "2026-11-22T01:02:03.000004Z");
        assert_eq!(lines[0]["leaf_hash"].as_str().unwrap().len(), 64);
    }

    proptest! {
        /// Read back by the rules of RFC 4180, a cell is what it was, but for the apostrophe.
        #[test]
        fn cells_are_read_back(cells in prop::collection::vec("[ -~\r\n\t]{0,12}", 1..5)) {
            let line = record(&cells.iter().map(|cell| Cow::Borrowed(cell.as_str())).collect::<Vec<_>>());
            let read = parse(&line);
            prop_assert_eq!(read.len(), cells.len());
            for (read, cell) in read.iter().zip(&cells) {
                prop_assert!(read == cell || read.strip_prefix('\'') == Some(cell), "{:?} {:?}", read, cell);
                prop_assert!(!read.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']));
            }
        }
    }

    fn parse(line: &str) -> Vec<String> {
        let mut cells = vec![String::new()];
        let (mut quoted, mut chars) = (false, line.strip_suffix("\r\n").unwrap().chars().peekable());
        while let Some(c) = chars.next() {
            let cell = cells.last_mut().unwrap();
            match c {
                '"' if quoted && chars.peek() == Some(&'"') => cell.push(chars.next().unwrap()),
                '"' => quoted = !quoted,
                ',' if !quoted => cells.push(String::new()),
                c => cell.push(c),
            }
        }
        cells
    }
}
