//! What the tests of this module share: the published example key, a fixed
//! time, and a small STS on the loopback interface.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_credential_types::Credentials;

pub const EXAMPLE_SESSION_TOKEN: &str = "FwoGZXIvYXdzEXAMPLE//session+token==";

pub fn example_credentials(session_token: Option<&str>) -> Credentials {
    Credentials::new(
        "AKIDEXAMPLE",
        "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
        session_token.map(str::to_owned),
        None,
        "test",
    )
}

/// 2024-01-15T12:00:00Z.
pub fn example_time() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_705_320_000)
}
