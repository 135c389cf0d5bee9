//! Behaviour against canned upstreams, one test per promise. Every sync here
//! also checks what must hold for any cluster: see [`file::sync`].
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::field_reassign_with_default,
    clippy::cloned_ref_to_slice_refs
)]

mod calls;
mod cloud;
mod edit;
mod errors;
mod faults;
mod file;
mod identity;
mod oracle;
mod people;
mod plan;
mod rights;
mod rows;
mod rules;
mod scale;
mod trust;
