//! Behaviour against canned upstreams.
