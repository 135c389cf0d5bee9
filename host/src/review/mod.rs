//! Reads access files for a reviewer: who can do what, and through what.
//!
//! Everything here reads `.c1z` files of any writer through [`crate::c1z`] and
//! nothing else: no connector, no network. [`load`] makes a [`model`] of one
//! or several files; `paths` finds every way from a person to what it has.
//! RBAC rules (`rules`) and the rules of EKS access policies (`policies`) turn
//! roles into what they allow; `query` answers questions.

pub mod diff;
pub mod find;
pub mod findings;
mod load;
pub mod model;
pub mod paths;
pub mod policies;
pub mod query;
pub mod report;
pub mod rules;
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
pub(crate) mod testing;
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests;
pub mod words;

pub use load::{LoadError, Source, expand, load};
