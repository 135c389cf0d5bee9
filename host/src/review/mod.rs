//! Reads access files for a reviewer: who can do what, and through what.
//!
//! RBAC rules (`rules`) and the rules of EKS access policies (`policies`) turn
//! roles into what they allow.

pub mod policies;
pub mod rules;
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
pub(crate) mod testing;
