//! Export of the activity log as newline-delimited JSON or CSV.

use std::{borrow::Cow, collections::BTreeMap};

use baton_errors::{Error, Result};
use chrono::{NaiveDate, SecondsFormat};
use serde::Serialize;
use uuid::Uuid;

use crate::activity::{Activity, LogEntry};

/// File format of an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    NdJson,
    Csv,
}

/// Marks the file as UTF-8 (Unicode 3.9, D95).
const BYTE_ORDER_MARK: char = '\u{feff}';

/// Columns of a CSV file.
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

/// A row with the fields and formats of the API.
#[derive(Serialize)]
struct ExportRow<'a> {
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
    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Self::NdJson => "application/x-ndjson",
            Self::Csv => "text/csv; charset=utf-8; header=present",
        }
    }

    /// The file name. It omits the account's name, because file names end up in logs and histories.
    pub(crate) fn file_name(self, account_id: Uuid, day: NaiveDate) -> String {
        let extension = match self {
            Self::NdJson => "ndjson",
            Self::Csv => "csv",
        };
        format!("activity-log-{account_id}-{day}.{extension}")
    }

    /// The header of a file. Without a byte order mark, Excel reads CSV in the local code page.
    pub(crate) fn header(self) -> Vec<u8> {
        match self {
            Self::NdJson => Vec::new(),
            Self::Csv => format!("{BYTE_ORDER_MARK}{}", join_cells(&COLUMNS.map(Cow::Borrowed))).into_bytes(),
        }
    }

    /// Encodes rows.
    ///
    /// # Errors
    /// INTERNAL when a row cannot be serialized.
    pub(crate) fn encode(self, rows: &[LogEntry]) -> Result<Vec<u8>> {
        let mut text = Vec::new();
        for row in rows {
            match self {
                Self::NdJson => {
                    serde_json::to_writer(&mut text, &export_row(row)).map_err(Error::internal)?;
                    text.push(b'\n');
                }
                Self::Csv => text.extend(csv_record(row)?.into_bytes()),
            }
        }
        Ok(text)
    }
}

fn export_row(row: &LogEntry) -> ExportRow<'_> {
    let Activity { details, changed_fields, .. } = &row.activity;
    ExportRow {
        id: row.activity.id.to_string(),
        account_id: row.activity.account_id.to_string(),
        sequence: row.position.seq,
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
        leaf_hash: to_hex(&row.leaf_hash),
    }
}

fn csv_record(row: &LogEntry) -> Result<String> {
    let line = export_row(row);
    let details = if line.details.is_empty() {
        String::new()
    } else {
        serde_json::to_string(line.details).map_err(Error::internal)?
    };
    let or_empty = |text: Option<&str>| Cow::Owned(text.unwrap_or_default().to_owned());
    Ok(join_cells(&[
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

/// Joins cells to a record (RFC 4180).
fn join_cells(cells: &[Cow<'_, str>]) -> String {
    let cells: Vec<String> = cells.iter().map(|cell| escape_cell(cell)).collect();
    cells.join(",") + "\r\n"
}

/// Escapes a cell. Prefixes formulas with an apostrophe (OWASP, CSV injection), since clients choose their user agent.
/// Spreadsheets ignore spaces before a formula, and some read full-width signs as plain ones.
fn escape_cell(cell: &str) -> String {
    let is_formula = cell.trim_start().starts_with(['=', '+', '-', '@', '＝', '＋', '－', '＠']);
    let apostrophe = if is_formula || cell.starts_with(['\t', '\r', '\n']) { "'" } else { "" };
    if cell.contains([',', '"', '\r', '\n']) {
        format!("\"{apostrophe}{}\"", cell.replace('"', "\"\""))
    } else {
        format!("{apostrophe}{cell}")
    }
}

/// Encodes bytes as lower-case hexadecimal.
pub(crate) fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::activity::tests::sample_entry;

    #[test]
    fn formulas_are_escaped() {
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
            assert_eq!(escape_cell(cell), shown);
        }
    }

    #[test]
    fn a_file_name_has_account_and_day_and_csv_has_a_byte_order_mark() {
        let day = NaiveDate::from_ymd_opt(2026, 11, 29).unwrap();
        let name = |format: Format| format.file_name(Uuid::from_u128(7), day);
        assert_eq!(name(Format::Csv), "activity-log-00000000-0000-0000-0000-000000000007-2026-11-29.csv");
        assert_eq!(name(Format::NdJson), "activity-log-00000000-0000-0000-0000-000000000007-2026-11-29.ndjson");
        assert!(Format::Csv.header().starts_with(b"\xef\xbb\xbfsequence,"));
        assert!(Format::NdJson.header().is_empty());
    }

    #[test]
    fn an_ndjson_file_has_one_api_object_per_line() {
        let text = String::from_utf8(Format::NdJson.encode(&[sample_entry(1), sample_entry(2)]).unwrap()).unwrap();
        let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[1]["sequence"], 2);
        assert_eq!(lines[0]["action"], "task.assigned");
        assert_eq!(lines[0]["occurred_at"], "2026-11-22T01:02:03.000004Z");
        assert_eq!(lines[0]["leaf_hash"].as_str().unwrap().len(), 64);
    }

    proptest! {
        /// Cells parsed by RFC 4180 equal the input, except for the apostrophe.
        #[test]
        fn cells_round_trip(cells in prop::collection::vec("[ -~\r\n\t]{0,12}", 1..5)) {
            let line = join_cells(&cells.iter().map(|cell| Cow::Borrowed(cell.as_str())).collect::<Vec<_>>());
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
