//! Plugin files: find, verify, describe, and what they may do.
