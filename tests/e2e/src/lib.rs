//! End-to-end tests of `baton-host`; see the `tests` folder.
