//! What grants and revokes do: by rule, and by chance against the evaluator.

mod apply;
mod asked;
mod bindings;
mod identity;
mod input;
mod model;
mod policies;
