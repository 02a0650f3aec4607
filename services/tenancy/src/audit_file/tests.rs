use baton_merkle::Signer;

use super::*;
use crate::activity::tests::sample_entry;

const ROWS: i64 = 40;

fn account() -> Uuid {
    sample_entry(1).activity.account_id
}

fn signer() -> Signer {
    Signer::from_seed("test/activity", &[7; 32]).unwrap()
}

/// A file of which the first `deleted` rows are gone.
fn file(deleted: usize) -> Vec<String> {
    let entries: Vec<LogEntry> = (1..=ROWS).map(sample_entry).collect();
    let mut tree = Frontier::default();
    let _: Vec<_> = tree.append(entries.iter().take(deleted).map(|entry| entry.leaf_hash));
    let prefix = to_hex(&tree.to_bytes());
    let _: Vec<_> = tree.append(entries.iter().skip(deleted).map(|entry| entry.leaf_hash));
    let checkpoint = Checkpoint::new(&format!("test/activity/{}", account()), tree.size(), tree.root()).unwrap();
    let header = Header {
        format: Header::FORMAT,
        account_id: account(),
        tree_from: 1,
        prefix,
        checkpoint: checkpoint.sign(&signer()).to_string(),
        keys: vec![signer().verifier().to_string()],
    };
    let lines = entries.iter().skip(deleted).map(|entry| Line::new(entry, &entry.leaf_hash).encode().unwrap());
    let lines = std::iter::once(header.encode().unwrap()).chain(lines);
    lines.map(|line| String::from_utf8(line).unwrap().trim_end().to_owned()).collect()
}

fn check(lines: &[String], keys: &[String]) -> anyhow::Result<VerifiedLog> {
    verify(lines.join("\n").as_bytes(), keys)
}

#[test]
fn a_log_is_verified_whole_and_without_its_first_rows() {
    for deleted in [0, 1, 7, 39, 40] {
        let verified = check(&file(deleted), &[]).unwrap();
        let rows = (deleted < 40).then_some((deleted as i64 + 1, 40));
        assert_eq!(verified, VerifiedLog { account_id: account(), size: 40, rows, unverified_until: None });
    }
    assert!(check(&file(0), &[signer().verifier().to_string()]).is_ok());
    let with_blank_line = [file(0), vec![String::new(), String::new()]].concat();
    assert_eq!(check(&with_blank_line, &[]).unwrap(), check(&file(0), &[]).unwrap());
    let other = Signer::from_seed("test/activity", &[8; 32]).unwrap().verifier().to_string();
    assert!(check(&file(0), &[other]).is_err(), "another key");
}

#[test]
fn a_changed_row_is_named() {
    // A flipped bit of every byte of a row that is part of its content.
    let lines = file(3);
    for (needle, row) in
        [("task.", 4), ("\"sequence\":9", 9), ("leaf_hash", 20), ("tree_hash", 20), ("origin_hash", 30)]
    {
        let at = row - 3;
        let mut changed = lines.clone();
        let place = changed[at].find(needle).unwrap() + needle.len() + if needle.ends_with("hash") { 3 } else { 0 };
        let mut bytes = changed[at].clone().into_bytes();
        bytes[place] ^= if needle.contains("sequence") { 0x1c } else { 1 };
        changed[at] = String::from_utf8(bytes).unwrap();
        if changed[at] == lines[at] {
            continue;
        }
        let error = format!("{:#}", check(&changed, &[]).unwrap_err());
        assert!(error.contains(&format!("row {row} ")), "{needle}: {error}");
    }
}

#[test]
fn removed_added_and_swapped_rows_are_named() {
    let lines = file(0);
    let mut removed = lines.clone();
    removed.remove(10);
    assert!(check(&removed, &[]).unwrap_err().to_string().contains("row 10 is missing"));
    let mut shortened = lines.clone();
    shortened.pop();
    assert!(check(&shortened, &[]).unwrap_err().to_string().contains("ends with row 39"));
    let mut swapped = lines.clone();
    swapped.swap(10, 11);
    assert!(check(&swapped, &[]).unwrap_err().to_string().contains("row 10 is missing"));
    let mut doubled = lines;
    doubled.insert(10, doubled[10].clone());
    assert!(check(&doubled, &[]).unwrap_err().to_string().contains("row 11 is missing"));
}

#[test]
fn a_row_cannot_pretend_to_be_of_the_version_that_is_not_verified() {
    let mut lines = file(0);
    let forged = lines[20].replace("\"leaf_version\":2", "\"leaf_version\":1").replace("task.assigned", "task.deleted");
    assert_ne!(forged, lines[20]);
    lines[20] = forged;
    let error = check(&lines, &[]).unwrap_err().to_string();
    assert!(error.contains("row 20 was changed: it is of version 1"), "{error}");
    // At the beginning of a log, where such rows are, they are named.
    let mut lines = file(0);
    lines[1] = lines[1].replace("\"leaf_version\":2", "\"leaf_version\":1");
    assert_eq!(check(&lines, &[]).unwrap().unverified_until, Some(1));
}
