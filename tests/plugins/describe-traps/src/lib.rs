//! Traps while it describes itself.

use guest::{Descriptor, Plugin};

struct DescribeTraps;

guest::export!(DescribeTraps with_types_in guest);

impl Plugin for DescribeTraps {
    fn describe() -> Descriptor {
        panic!("as asked")
    }
}
