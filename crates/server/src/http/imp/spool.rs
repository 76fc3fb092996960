//! An upload on the disk: a file without a name in the data directory, gone with the request or the process.

use std::{
    fs::File,
    io::{Read, Seek, Write},
};

use axum::http::StatusCode;

use crate::http::{ApiError, App};

/// Read at a time.
const PIECE_BYTES: usize = 256 << 10;

/// How often it is looked whether the disk has room.
const LOOK_BYTES: u64 = 8 << 20;

/// What has come so far.
pub(super) struct Spool {
    file: File,
    bytes: u64,
    bytes_max: u64,
    free_bytes_min: u64,
    looked: u64,
}

impl Spool {
    /// An empty one.
    ///
    /// # Errors
    /// The data directory takes no file.
    pub(super) fn new(app: &App) -> Result<Spool, ApiError> {
        let raw = &app.config.raw;
        Ok(Spool {
            file: tempfile::tempfile_in(&app.config.data).map_err(|error| unusable(&error))?,
            bytes: 0,
            bytes_max: raw.http.import_spool_bytes_max,
            free_bytes_min: raw.disk.free_bytes_min,
            looked: 0,
        })
    }

    /// Adds a piece.
    ///
    /// # Errors
    /// There are too many, or the disk has no room for it.
    pub(super) fn put(&mut self, piece: &[u8]) -> Result<(), ApiError> {
        self.bytes += piece.len() as u64;
        if self.bytes > self.bytes_max {
            let message = format!(
                "the file has more than {} bytes, which is the most with atomicity=abort; nothing was written",
                self.bytes_max
            );
            let error = ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, message);
            return Err(
                error.hint("send it in parts, with atomicity=skipRow, or raise http.import_spool_bytes_max")
            );
        }
        if self.bytes >= self.looked {
            self.looked = self.bytes + LOOK_BYTES;
            if let Ok(disk) = rustix::fs::fstatvfs(&self.file) {
                let free = disk.f_bavail.saturating_mul(disk.f_frsize);
                if free < self.free_bytes_min.saturating_add(LOOK_BYTES) {
                    let message = format!("the disk has {free} bytes left, too few; nothing was written");
                    let error = ApiError::new(StatusCode::INSUFFICIENT_STORAGE, message);
                    return Err(error.hint("make room, lower disk.free_bytes_min, or send the file in parts"));
                }
            }
        }
        self.file.write_all(piece).map_err(|error| unusable(&error))
    }

    /// The pieces from the first on.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(super) fn rewind(mut self) -> Result<Pieces, ApiError> {
        self.file.rewind().map_err(|error| unusable(&error))?;
        Ok(Pieces { file: self.file, piece: vec![0; PIECE_BYTES] })
    }
}

/// What was put, in order.
pub(super) struct Pieces {
    file: File,
    piece: Vec<u8>,
}

impl Pieces {
    /// The next piece; `None` behind the last.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(super) fn next(&mut self) -> Result<Option<&[u8]>, ApiError> {
        let read = self.file.read(&mut self.piece).map_err(|error| unusable(&error))?;
        Ok((read > 0).then(|| &self.piece[..read]))
    }
}

fn unusable(error: &std::io::Error) -> ApiError {
    let message = format!("the upload cannot be kept on the disk: {error}");
    ApiError::new(StatusCode::INSUFFICIENT_STORAGE, message).hint("look at the disk of the data directory")
}
