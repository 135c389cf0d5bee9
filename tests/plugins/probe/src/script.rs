//! Requests as a test writes them, sent without any library between.

use guest::wasi::http::outgoing_handler::handle;
use guest::wasi::http::types::{
    ErrorCode, Fields, FutureIncomingResponse, IncomingBody, IncomingResponse, Method,
    OutgoingBody, OutgoingRequest, Scheme,
};
use guest::wasi::io::streams::StreamError;

/// Bytes of an answer that an outcome shows.
const SHOWN: usize = 400;

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    #[serde(default = "get")]
    method: String,
    #[serde(default = "http")]
    scheme: String,
    authority: String,
    path: String,
    #[serde(default)]
    headers: Vec<(String, String)>,
    body: Option<String>,
}

fn get() -> String {
    "GET".into()
}

fn http() -> String {
    "http".into()
}

impl Request {
    /// `status 200 BODY`, the name of an error code, or which part of the
    /// request could not even be written.
    pub fn send(&self) -> String {
        let body = self.body.as_deref().map(str::as_bytes);
        self.try_send(body).unwrap_or_else(|refusal| refusal)
    }

    fn try_send(&self, body: Option<&[u8]>) -> Result<String, String> {
        let fields = Fields::new();
        for (name, value) in &self.headers {
            fields
                .append(name, value.as_bytes())
                .map_err(|refusal| format!("header {name}: {}", name_of(&refusal)))?;
        }
        let request = OutgoingRequest::new(fields);
        request
            .set_method(&method(&self.method))
            .map_err(|()| "method refused")?;
        request
            .set_scheme(Some(&scheme(&self.scheme)))
            .map_err(|()| "scheme refused")?;
        request
            .set_authority(Some(&self.authority))
            .map_err(|()| "authority refused")?;
        request
            .set_path_with_query(Some(&self.path))
            .map_err(|()| "path refused")?;
        exchange(request, body)
    }
}

/// Sends a request with a body and reads the answer.
pub fn exchange(request: OutgoingRequest, body: Option<&[u8]>) -> Result<String, String> {
    let out = match body {
        Some(_) => Some(request.body().map_err(|()| "body refused")?),
        None => None,
    };
    let future = handle(request, None).map_err(|code| name_of(&code))?;
    let mut trouble = "";
    if let (Some(out), Some(body)) = (out, body) {
        if write(&out, body).is_err() {
            trouble = "stream closed; ";
        }
        let _ = OutgoingBody::finish(out, None);
    }
    Ok(format!("{trouble}{}", outcome(&wait(&future))))
}

pub fn write(out: &OutgoingBody, body: &[u8]) -> Result<(), StreamError> {
    let Ok(stream) = out.write() else {
        return Err(StreamError::Closed);
    };
    for chunk in body.chunks(4096) {
        stream.blocking_write_and_flush(chunk)?;
    }
    Ok(())
}

pub fn wait(future: &FutureIncomingResponse) -> Result<IncomingResponse, ErrorCode> {
    loop {
        match future.get() {
            Some(Ok(answer)) => return answer,
            Some(Err(())) => return Err(ErrorCode::InternalError(Some("taken twice".into()))),
            None => future.subscribe().block(),
        }
    }
}

pub fn outcome(answer: &Result<IncomingResponse, ErrorCode>) -> String {
    match answer {
        Ok(response) => {
            let status = response.status();
            match read(response) {
                Ok(body) => {
                    let shown = body.get(..SHOWN).unwrap_or(&body);
                    format!("status {status} {}", String::from_utf8_lossy(shown))
                }
                Err(problem) => format!("status {status}, then {problem}"),
            }
        }
        Err(code) => name_of(code),
    }
}

fn read(response: &IncomingResponse) -> Result<Vec<u8>, String> {
    let body: IncomingBody = response.consume().map_err(|()| "no body")?;
    let stream = body.stream().map_err(|()| "no stream")?;
    let mut bytes = Vec::new();
    loop {
        match stream.blocking_read(64 << 10) {
            Ok(chunk) => bytes.extend(chunk),
            Err(StreamError::Closed) => return Ok(bytes),
            Err(problem) => return Err(name_of(&problem)),
        }
    }
}

/// `ErrorCode::HttpRequestDenied` is `HttpRequestDenied` to a test.
pub fn name_of(problem: &impl std::fmt::Debug) -> String {
    let text = format!("{problem:?}");
    match text.split_once("::") {
        Some((_, name)) => name.to_owned(),
        None => text,
    }
}

fn method(name: &str) -> Method {
    match name {
        "GET" => Method::Get,
        "HEAD" => Method::Head,
        "POST" => Method::Post,
        "PUT" => Method::Put,
        "DELETE" => Method::Delete,
        "CONNECT" => Method::Connect,
        "OPTIONS" => Method::Options,
        "TRACE" => Method::Trace,
        "PATCH" => Method::Patch,
        other => Method::Other(other.into()),
    }
}

fn scheme(name: &str) -> Scheme {
    match name {
        "http" => Scheme::Http,
        "https" => Scheme::Https,
        other => Scheme::Other(other.into()),
    }
}
