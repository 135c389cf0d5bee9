//! What grants and revokes do: by rule, and by chance against the evaluator.

mod apply;
mod model;
mod rules;
