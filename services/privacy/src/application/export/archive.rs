//! A ZIP archive in a temporary file, written while it is made: memory does not grow with it.

use std::{
    fs::File,
    io::{self, BufWriter, Read as _, Seek as _, Write as _},
};

use anyhow::Context as _;
use aws_lc_rs::digest::{Context as Digest, SHA256};
use tokio::{
    sync::mpsc,
    task::{JoinHandle, spawn_blocking},
};
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

/// Pieces that wait to be written.
const BACKLOG: usize = 8;

/// An archive that is being written, by a thread of its own.
pub(super) struct Archive {
    pieces: mpsc::Sender<Piece>,
    writer: JoinHandle<anyhow::Result<Finished>>,
}

enum Piece {
    /// Begins a file.
    File(String),
    /// Continues it.
    Text(Vec<u8>),
}

/// A complete archive. The file has no name, so nothing is left of it, however the process ends.
pub(super) struct Finished {
    pub(super) file: File,
    pub(super) sha256: Vec<u8>,
}

impl Archive {
    pub(super) fn begin() -> anyhow::Result<Self> {
        let file = tempfile::tempfile().context("no temporary file for an export")?;
        let (pieces, waiting) = mpsc::channel(BACKLOG);
        Ok(Self { pieces, writer: spawn_blocking(move || write(file, waiting)) })
    }

    /// Begins a file of the archive.
    pub(super) async fn file(&self, name: impl Into<String>) -> anyhow::Result<()> {
        self.send(Piece::File(name.into())).await
    }

    /// Continues the file.
    pub(super) async fn text(&self, text: impl Into<Vec<u8>>) -> anyhow::Result<()> {
        self.send(Piece::Text(text.into())).await
    }

    async fn send(&self, piece: Piece) -> anyhow::Result<()> {
        // The thread has failed; `finish` would say why.
        self.pieces.send(piece).await.map_err(|_| anyhow::anyhow!("the archive cannot be written; is the disk full?"))
    }

    /// Completes the archive.
    pub(super) async fn finish(self) -> anyhow::Result<Finished> {
        drop(self.pieces);
        self.writer.await?
    }
}

fn write(file: File, mut pieces: mpsc::Receiver<Piece>) -> anyhow::Result<Finished> {
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated).large_file(true);
    let mut zip = ZipWriter::new(BufWriter::new(file.try_clone()?));
    while let Some(piece) = pieces.blocking_recv() {
        match piece {
            Piece::File(name) => zip.start_file(name, options)?,
            Piece::Text(text) => zip.write_all(&text)?,
        }
    }
    zip.finish()?.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
    let sha256 = hash(&file)?;
    Ok(Finished { file, sha256 })
}

fn hash(mut file: &File) -> io::Result<Vec<u8>> {
    file.rewind()?;
    let (mut digest, mut buffer) = (Digest::new(&SHA256), vec![0; 64 * 1024]);
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(digest.finish().as_ref().to_vec()),
            read => digest.update(buffer.get(..read).unwrap_or_default()),
        }
    }
}
