//! The access file (`.c1z`): reading and writing it.
