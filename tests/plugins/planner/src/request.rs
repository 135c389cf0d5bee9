//! One GET to an upstream, for its status.

use guest::wasi::http::outgoing_handler::handle;
use guest::wasi::http::types::{Fields, OutgoingRequest, Scheme};
use guest::{Error, error};

/// The status that a GET answers.
///
/// # Errors
/// `unavailable` where there is no answer.
pub fn status(upstream: &str, path: &str) -> Result<u16, Error> {
    let request = OutgoingRequest::new(Fields::new());
    let written = request.set_scheme(Some(&Scheme::Http)).is_ok()
        && request.set_authority(Some(upstream)).is_ok()
        && request.set_path_with_query(Some(path)).is_ok();
    if !written {
        return Err(error(
            "invalid-config",
            format!("{upstream} {path} is no request"),
        ));
    }
    let refused = |problem: &dyn std::fmt::Debug| error("unavailable", format!("{problem:?}"));
    let future = handle(request, None).map_err(|problem| refused(&problem))?;
    loop {
        match future.get() {
            Some(Ok(Ok(answer))) => return Ok(answer.status()),
            Some(problem) => return Err(refused(&problem)),
            None => future.subscribe().block(),
        }
    }
}
