//! The container of an access file: magic bytes and one zstd frame.
//!
//! Decoding is capped twice: the window, so that a small file cannot ask for
//! gigabytes of memory, and the decoded size, so that it cannot fill the disk.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::Error;

const MAGIC: &[u8; 5] = b"C1ZF\0";
const PEBBLE_MAGIC: &[u8; 5] = b"C1Z3\0";
const DATABASE_MAGIC: &[u8; 16] = b"SQLite format 3\0";

/// Decoded bytes that are accepted where the caller does not say: 10 GiB, as
/// newer SDKs do.
pub const MAX_DECODED_BYTES: u64 = 10 << 30;

/// Decoded bytes that the released `baton` accepts: 3 GiB.
pub const RELEASED_READER_MAX_BYTES: u64 = 3 << 30;

/// Two to the power of this is the largest window that readers accept: 128 MiB.
const WINDOW_LOG_MAX: u32 = 27;

const LEVEL: i32 = 3;

/// What was found where an access file is expected.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// No file, or an empty one: nothing was written yet.
    Nothing,
    /// A database, decoded to where it was asked for.
    Database,
}

/// Decodes the access file `path` into the new file `database` (mode 0600).
pub(super) fn decode(path: &Path, database: &Path, max_bytes: u64) -> Result<Found, Error> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
        Err(error) => return Err(Error::io("opening", path)(error)),
    };
    let length = file.metadata().map_err(Error::io("reading", path))?.len();
    if length == 0 {
        return Ok(Found::Nothing);
    }
    let mut magic = [0u8; 5];
    match file.read_exact(&mut magic) {
        Ok(()) if &magic == MAGIC => {}
        Ok(()) if &magic == PEBBLE_MAGIC => {
            return Err(Error::Pebble {
                path: path.to_owned(),
            });
        }
        Ok(()) => {
            return Err(Error::NotAnAccessFile {
                path: path.to_owned(),
            });
        }
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            return Err(Error::NotAnAccessFile {
                path: path.to_owned(),
            });
        }
        Err(error) => return Err(Error::io("reading", path)(error)),
    }
    let damaged = |reason: String| Error::Damaged {
        path: path.to_owned(),
        reason,
    };
    let mut decoder =
        zstd::Decoder::with_buffer(BufReader::new(file)).map_err(Error::io("decoding", path))?;
    decoder
        .window_log_max(WINDOW_LOG_MAX)
        .map_err(Error::io("decoding", path))?;

    let mut out = BufWriter::with_capacity(1 << 20, create_private(database)?);
    let mut buffer = vec![0u8; 1 << 17];
    let mut total = 0u64;
    let mut head: Vec<u8> = Vec::with_capacity(DATABASE_MAGIC.len());
    loop {
        let read = decoder
            .read(&mut buffer)
            .map_err(|error| damaged(error.to_string()))?;
        let Some(chunk) = buffer.get(..read).filter(|chunk| !chunk.is_empty()) else {
            break;
        };
        total += read as u64;
        if total > max_bytes {
            return Err(Error::TooLarge {
                path: path.to_owned(),
                limit: max_bytes,
            });
        }
        let wanted = DATABASE_MAGIC.len().saturating_sub(head.len());
        head.extend(chunk.iter().take(wanted));
        out.write_all(chunk)
            .map_err(Error::io("writing", database))?;
    }
    out.flush().map_err(Error::io("writing", database))?;
    if total == 0 {
        return Err(damaged("it holds nothing".to_owned()));
    }
    if head != DATABASE_MAGIC {
        return Err(damaged("its content is no SQLite database".to_owned()));
    }
    Ok(Found::Database)
}

/// Encodes `database` into `out`, all of it, and syncs it to the disk.
/// Returns the length of the result in bytes.
pub(super) fn encode(database: &Path, out: &File, out_path: &Path) -> Result<u64, Error> {
    let mut source = File::open(database).map_err(Error::io("opening", database))?;
    let length = source
        .metadata()
        .map_err(Error::io("reading", database))?
        .len();
    let writing = || Error::io("writing", out_path);

    let mut buffered = BufWriter::with_capacity(1 << 20, out);
    buffered.write_all(MAGIC).map_err(writing())?;
    let mut encoder = zstd::Encoder::new(buffered, LEVEL).map_err(writing())?;
    encoder.include_checksum(true).map_err(writing())?;
    encoder
        .set_pledged_src_size(Some(length))
        .map_err(writing())?;
    io::copy(&mut source, &mut encoder).map_err(writing())?;
    let mut buffered = encoder.finish().map_err(writing())?;
    buffered.flush().map_err(writing())?;
    out.sync_all().map_err(writing())?;
    Ok(out.metadata().map_err(writing())?.len())
}

/// Creates a file that only its owner can read.
pub(super) fn create_private(path: &Path) -> Result<File, Error> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(Error::io("creating", path))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, reason = "tests")]
mod tests {
    use super::*;

    fn decode_bytes(bytes: &[u8], max: u64) -> Result<Found, Error> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.c1z");
        std::fs::write(&path, bytes).unwrap();
        decode(&path, &folder.path().join("db"), max)
    }

    fn framed(content: &[u8]) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend(zstd::encode_all(content, LEVEL).unwrap());
        bytes
    }

    fn content(length: usize) -> Vec<u8> {
        let mut content = DATABASE_MAGIC.to_vec();
        content.resize(length, 7);
        content
    }

    #[test]
    fn missing_and_empty_files_are_nothing_yet() {
        let folder = tempfile::tempdir().unwrap();
        let missing = decode(&folder.path().join("no.c1z"), &folder.path().join("db"), 10);
        assert_eq!(missing.unwrap(), Found::Nothing);
        assert_eq!(decode_bytes(b"", 10).unwrap(), Found::Nothing);
    }

    #[test]
    fn other_files_are_named_for_what_they_are() {
        for bytes in [&b"PK\x03\x04 a zip file"[..], b"C1", b"C1ZF"] {
            let error = decode_bytes(bytes, 10).unwrap_err();
            assert!(matches!(error, Error::NotAnAccessFile { .. }), "{error}");
        }
        let error = decode_bytes(b"C1Z3\0\0\0\0\x10", 10).unwrap_err();
        assert!(
            error.to_string().contains("--storage-engine sqlite"),
            "{error}"
        );
    }

    #[test]
    fn damaged_files_are_refused() {
        let whole = framed(&content(50_000));
        assert_eq!(decode_bytes(&whole, 50_000).unwrap(), Found::Database);
        let mut flipped = whole.clone();
        *flipped.last_mut().unwrap() ^= 0xff;
        let checksum = {
            let mut encoder = zstd::Encoder::new(MAGIC.to_vec(), LEVEL).unwrap();
            encoder.include_checksum(true).unwrap();
            encoder.write_all(&content(50_000)).unwrap();
            let mut bytes = encoder.finish().unwrap();
            *bytes.last_mut().unwrap() ^= 0xff;
            bytes
        };
        for bytes in [
            &whole[..whole.len() - 3],
            MAGIC,
            &checksum,
            &framed(b""),
            &framed(b"not a database, no"),
        ] {
            let error = decode_bytes(bytes, 1 << 20).unwrap_err();
            assert!(matches!(error, Error::Damaged { .. }), "{error}");
        }
    }

    #[test]
    fn a_bomb_stops_at_the_limit() {
        let bomb = framed(&content(20 << 20));
        assert!(bomb.len() < 10_000);
        let error = decode_bytes(&bomb, 1 << 20).unwrap_err();
        assert!(matches!(error, Error::TooLarge { .. }), "{error}");
    }

    #[test]
    fn a_window_above_128_mib_is_refused() {
        let mut encoder = zstd::Encoder::new(MAGIC.to_vec(), 1).unwrap();
        encoder.window_log(28).unwrap();
        encoder.write_all(&content(1000)).unwrap();
        let bytes = encoder.finish().unwrap();
        let error = decode_bytes(&bytes, 1 << 20).unwrap_err();
        assert!(matches!(error, Error::Damaged { .. }), "{error}");
    }

    #[test]
    fn a_full_disk_is_an_error_that_names_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("source");
        std::fs::write(&source, content(3 << 20)).unwrap();
        // A device that is always full.
        let full = Path::new("/dev/full");
        let out = OpenOptions::new().write(true).open(full).unwrap();
        let error = encode(&source, &out, full).unwrap_err();
        assert!(
            error.to_string().starts_with("writing /dev/full: "),
            "{error}"
        );
        let Error::Io { source, .. } = error else {
            panic!("{error}")
        };
        assert_eq!(source.kind(), io::ErrorKind::StorageFull);
    }

    #[test]
    fn what_is_encoded_decodes_to_the_same_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let (source, out, back) = (
            folder.path().join("source"),
            folder.path().join("out.c1z"),
            folder.path().join("back"),
        );
        std::fs::write(&source, content(3 << 20)).unwrap();
        let length = encode(&source, &create_private(&out).unwrap(), &out).unwrap();
        let bytes = std::fs::read(&out).unwrap();
        assert_eq!(bytes.len() as u64, length);
        // Frame header descriptor (RFC 8878, 3.1.1.1.1): content size present, checksum on.
        let descriptor = bytes[5 + 4];
        assert_ne!(descriptor >> 6, 0, "content size field");
        assert_eq!(descriptor & 0b100, 0b100, "checksum flag");
        assert_eq!(decode(&out, &back, 3 << 20).unwrap(), Found::Database);
        assert_eq!(std::fs::read(&back).unwrap(), content(3 << 20));
    }
}
