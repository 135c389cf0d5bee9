//! Imports nothing that is not allowed, but calls a function of an interface
//! that is there for its types only.

use guest::wasi::clocks::monotonic_clock;
use guest::{Descriptor, Plugin};

struct CallsClock;

guest::export!(CallsClock with_types_in guest);

impl Plugin for CallsClock {
    fn describe() -> Descriptor {
        let mut descriptor = guest::descriptor("calls-clock");
        let now = monotonic_clock::now().to_string();
        descriptor.attributes.push(("display-name".into(), now));
        descriptor
    }
}
