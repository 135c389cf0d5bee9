//! Sends a request, logs and reports progress while it describes itself, and
//! says in its descriptor what came of it.

use guest::baton::connector::{log::log, progress};
use guest::wasi::http::outgoing_handler::handle;
use guest::wasi::http::types::{Fields, OutgoingRequest, Scheme};
use guest::{Descriptor, Plugin};

struct DescribeSends;

guest::export!(DescribeSends with_types_in guest);

impl Plugin for DescribeSends {
    fn describe() -> Descriptor {
        log("error", "describe-sends was here", &[]);
        progress::report(1, None, "describing");
        let request = OutgoingRequest::new(Fields::new());
        let _ = request.set_scheme(Some(&Scheme::Http));
        let _ = request.set_authority(Some("kubernetes"));
        let _ = request.set_path_with_query(Some("/api/v1/namespaces"));
        let outcome = match handle(request, None) {
            Err(code) => format!("{code:?}"),
            Ok(future) => loop {
                match future.get() {
                    Some(Ok(Ok(response))) => break format!("status {}", response.status()),
                    Some(Ok(Err(code))) => break format!("{code:?}"),
                    Some(Err(())) => break "taken twice".into(),
                    None => future.subscribe().block(),
                }
            },
        };
        let mut descriptor = guest::descriptor("describe-sends");
        descriptor.attributes.push(("outcome".into(), outcome));
        descriptor
    }
}
