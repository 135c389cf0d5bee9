//! Never finishes describing itself.

use guest::{Descriptor, Plugin};

struct DescribeSpins;

guest::export!(DescribeSpins with_types_in guest);

impl Plugin for DescribeSpins {
    fn describe() -> Descriptor {
        loop {
            std::hint::black_box(0);
        }
    }
}
