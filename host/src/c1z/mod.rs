//! The access file (`.c1z`): reading and writing it.
//!
//! A file is five magic bytes and one zstd frame around a SQLite database
//! (`container`, `schema`). A writer works on a decoded copy in a folder of
//! its own and replaces the file on disk in one rename, so that file is always
//! the last complete one; the price is room for one decoded copy. Rows hold
//! protobuf messages (`pb`), which `annotations` helps to build and read.

pub mod annotations;
mod container;
mod error;
pub mod pb;
mod reader;
mod rework;
mod schema;
mod seen;
mod stamp;
#[cfg(test)]
mod tests;
mod writer;

pub use container::{MAX_DECODED_BYTES, RELEASED_READER_MAX_BYTES};
pub use error::Error;
pub use reader::{Asset, GrantRow, Reader, Rows, SyncRun, View};
pub use rework::{StoredGrant, Tally, Which};
pub use writer::{FileOptions, Put, SyncType, Writer, Written};
