//! Resource usage of processes: memory, CPU time, and output.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

/// `USER_HZ`: Linux counts processor time in hundredths of a second, on every architecture.
const TICKS_PER_SECOND: u64 = 100;

/// Measures the total usage of a set of processes. Clones measure the same set.
#[derive(Debug, Clone)]
pub struct Meter {
    pids: Vec<u32>,
    outputs: Vec<PathBuf>,
}

impl Meter {
    pub(crate) fn new(pids: Vec<u32>, outputs: Vec<PathBuf>) -> Self {
        Self { pids, outputs }
    }

    /// Current private memory in KiB; `None` where the system does not provide it.
    pub fn memory_kib(&self) -> Option<u64> {
        let held = self.pids.iter().map(|pid| {
            let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
            let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
            line.trim().strip_suffix(" kB")?.parse::<u64>().ok()
        });
        held.sum()
    }

    /// CPU time since the processes started; `None` where the system does not provide it.
    pub fn cpu(&self) -> Option<Duration> {
        let used = self.pids.iter().map(|pid| {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            // The second field is the name in parentheses, and may contain anything; utime and stime are 14 and 15.
            let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
            let user: u64 = fields.next()?.parse().ok()?;
            let system: u64 = fields.next()?.parse().ok()?;
            Some(user + system)
        });
        let ticks: u64 = used.sum::<Option<u64>>()?;
        Some(Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND))
    }

    /// Number of bytes printed.
    pub fn printed_bytes(&self) -> u64 {
        self.outputs.iter().filter_map(|path| Some(std::fs::metadata(path).ok()?.len())).sum()
    }

    /// Number of lines printed.
    pub fn printed_lines(&self) -> usize {
        let lines = |path: &PathBuf| Some(std::fs::read(path).ok()?.iter().filter(|byte| **byte == b'\n').count());
        self.outputs.iter().filter_map(lines).sum()
    }

    /// The printed lines, grouped by process; standard error comes last.
    pub fn printed(&self) -> Vec<String> {
        let text = |path: &PathBuf| String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned();
        self.outputs.iter().flat_map(|path| text(path).lines().map(str::to_owned).collect::<Vec<_>>()).collect()
    }
}

/// A file's content for failure messages; of a large file its beginning and end.
pub(crate) fn excerpt(path: &Path) -> String {
    const PART: usize = 32 * 1024;
    let bytes = std::fs::read(path).unwrap_or_default();
    let (Some(begin), Some(end)) =
        (bytes.get(..PART), bytes.len().checked_sub(PART).and_then(|from| bytes.get(from..)))
    else {
        return String::from_utf8_lossy(&bytes).into_owned();
    };
    if bytes.len() <= 2 * PART {
        return String::from_utf8_lossy(&bytes).into_owned();
    }
    let between = bytes.len() - 2 * PART;
    format!("{}\n[{between} bytes more]\n{}", String::from_utf8_lossy(begin), String::from_utf8_lossy(end))
}
