//! The sync engine: drives a connector and writes what it lists.
