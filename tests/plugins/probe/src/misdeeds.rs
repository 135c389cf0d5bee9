//! One misdeed for each limit of the contract and each trick that we know.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};

use guest::baton::connector::{log::log, progress};
use guest::wasi::http::outgoing_handler::handle;
use guest::wasi::http::types::{
    Fields, FutureIncomingResponse, Method, OutgoingBody, OutgoingRequest, RequestOptions, Scheme,
};
use guest::{Error, ObjectPage, error, page, thing};

use crate::script::{exchange, name_of, outcome, wait, write};

pub fn run(name: &str, n: usize, token: Option<String>) -> Result<ObjectPage, Error> {
    match name {
        "" => Ok(page(vec![thing("one")])),

        // Limits of the machine.
        "spin" => spin(),
        "allocate" => allocate(),
        "grow" => Ok(report(grow())),
        "recurse" => Ok(report(recurse(n))),
        "panic" => panic!("as asked"),
        "late-panic" if token.is_some() => panic!("as asked"),
        "late-panic" => Ok(ObjectPage {
            next: Some("second".into()),
            ..page(vec![thing("first")])
        }),
        "handles" => {
            // Nothing of it is ever dropped.
            for _ in 0..n {
                std::mem::forget(Fields::new());
            }
            Ok(page(vec![]))
        }
        "count" => Ok(report(CALLS.fetch_add(1, Ordering::Relaxed) + 1)),
        "search" => Ok(report(search())),

        // Limits of the contract.
        "items" => Ok(page((0..n).map(|i| thing(&i.to_string())).collect())),
        "bytes" => Ok(page(
            (0..n.div_ceil(4096))
                .map(|i| {
                    let mut item = thing(&i.to_string());
                    item.display_name = "x".repeat(4096);
                    item
                })
                .collect(),
        )),
        "profile" => {
            let mut item = thing("one");
            item.profile = Some(format!("{{\"a\":\"{}\"}}", "x".repeat(n)));
            Ok(page(vec![item]))
        }
        "string" => Ok(page(vec![thing(&"x".repeat(n))])),
        "attribute" => {
            let mut item = thing("one");
            item.attributes.push(("description".into(), "x".repeat(n)));
            Ok(page(vec![item]))
        }
        "token" => Ok(ObjectPage {
            next: Some("x".repeat(n)),
            ..page(vec![])
        }),
        "same-token" => Ok(ObjectPage {
            next: Some("again".into()),
            ..page(vec![thing(token.as_deref().unwrap_or("first"))])
        }),

        "growing-token" => {
            let length = token.map_or(1, |token| 2 * token.len());
            Ok(ObjectPage {
                next: Some("x".repeat(length)),
                ..page(vec![])
            })
        }
        "endless-pages" => {
            let next = token.map_or(0, |token| token.parse::<u64>().unwrap_or(0)) + 1;
            Ok(ObjectPage {
                next: Some(next.to_string()),
                ..page(vec![])
            })
        }

        // Text.
        "log" => {
            for i in 0..n {
                log("info", &format!("record {i}"), &[]);
            }
            Ok(page(vec![]))
        }
        "hostile-log" => {
            log(
                "info\n",
                "first\r\n2026-01-01 INFO forged\u{1b}[2J\u{202e}",
                &[("k\n".into(), "v\u{7}".into())],
            );
            log("info", &"y".repeat(n), &[]);
            Ok(page(vec![]))
        }
        "hostile-error" => Err(Error {
            kind: "other\u{1b}[2J".into(),
            message: "bad\r\nthing\u{1b}[31m".into(),
            retry_after_ms: Some(u32::MAX),
            attributes: vec![("code\n".into(), "a\u{1b}b".into())],
        }),
        "progress" => {
            for i in 0..n {
                progress::report(i as u64, None, &format!("busy\u{1b}[2J{}", "z".repeat(200)));
            }
            Ok(page(vec![]))
        }

        // Requests.
        "burst" => {
            let sent: Vec<_> = (0..n).map(|_| handle(request("GET"), None)).collect();
            progress::report(n as u64, None, "sent");
            Ok(tally(sent.iter().map(|sent| match sent {
                Ok(future) => outcome(&wait(future)),
                Err(code) => name_of(code),
            })))
        }
        "abandon" => {
            for _ in 0..n {
                drop(handle(request("GET"), None));
            }
            Ok(page(vec![]))
        }
        "hoard" => {
            let answers: Vec<_> = (0..n)
                .map(|_| handle(request("GET"), None).and_then(|future| wait(&future)))
                .collect();
            Ok(tally(answers.iter().map(|answer| match answer {
                Ok(response) => format!("status {}", response.status()),
                Err(code) => name_of(code),
            })))
        }
        "forget" => {
            // Answers taken and their handles never dropped.
            let mut last = String::new();
            for _ in 0..n {
                match handle(request("GET"), None).and_then(|future| wait(&future)) {
                    Ok(response) => std::mem::forget(response),
                    Err(code) => last = name_of(&code),
                }
            }
            Ok(report(last))
        }
        "sequence" => Ok(tally((0..n).map(|_| {
            exchange(request("GET"), None).unwrap_or_else(|problem| problem)
        }))),
        "post" => Ok(report(
            exchange(request("POST"), Some(&vec![b'x'; n])).unwrap_or_else(|problem| problem),
        )),
        "endless-post" => {
            let (future, body) = begin_post()?;
            let _ = write(&body, &[b'x'; 1024]);
            let answer = outcome(&wait(&future));
            drop(body);
            Ok(report(answer))
        }
        "broken-post" => {
            let (future, body) = begin_post()?;
            let _ = write(&body, &[b'x'; 1024]);
            drop(body);
            Ok(report(outcome(&wait(&future))))
        }
        "impatient" => Ok(report(impatient())),
        "unsent" => Ok(report(unsent())),
        "long-parts" => Ok(long_parts(n)),

        other => Err(error("invalid-config", format!("no behaviour {other:?}"))),
    }
}

static CALLS: AtomicU64 = AtomicU64::new(0);

/// The last page with one warning.
fn report(text: impl std::fmt::Display) -> ObjectPage {
    let mut page = page(vec![]);
    page.attributes.push(("warning".into(), text.to_string()));
    page
}

/// How often each outcome occurred, as warnings.
fn tally(outcomes: impl Iterator<Item = String>) -> ObjectPage {
    let mut counts = BTreeMap::<String, usize>::new();
    for outcome in outcomes {
        *counts.entry(outcome).or_default() += 1;
    }
    let mut page = page(vec![]);
    page.attributes = counts
        .into_iter()
        .map(|(outcome, count)| ("warning".into(), format!("{count} {outcome}")))
        .collect();
    page
}

fn spin() -> ! {
    progress::report(0, None, "spinning");
    loop {
        black_box(0);
    }
}

fn allocate() -> ! {
    let mut all = Vec::new();
    loop {
        all.push(vec![1_u8; 1 << 20]);
        black_box(&all);
    }
}

/// Grows memory page by page until it is refused; how many pages there are.
fn grow() -> usize {
    while core::arch::wasm32::memory_grow(0, 16) != usize::MAX {}
    core::arch::wasm32::memory_size(0)
}

#[expect(unconditional_recursion, reason = "that is the misdeed")]
fn recurse(n: usize) -> usize {
    let deeper = black_box(n).wrapping_add(1);
    black_box(recurse(deeper)).wrapping_add(deeper)
}

/// Counts what stands anywhere in this instance's memory: the setting
/// `canary`, which is written backwards so that it is not itself a hit.
fn search() -> usize {
    let backwards = crate::value("canary").unwrap_or_default();
    let wanted = backwards.as_bytes();
    let end = core::arch::wasm32::memory_size(0) << 16;
    if wanted.is_empty() {
        return usize::MAX;
    }
    (1..end - wanted.len())
        .filter(|&at| {
            wanted.iter().rev().enumerate().all(|(i, byte)| {
                // Any address below `end` is memory of this instance.
                let address = (at + i) as *const u8;
                unsafe { address.read_volatile() == *byte }
            })
        })
        .count()
}

fn request(method: &str) -> OutgoingRequest {
    let request = OutgoingRequest::new(Fields::new());
    let method = match method {
        "POST" => Method::Post,
        _ => Method::Get,
    };
    let _ = request.set_method(&method);
    let _ = request.set_scheme(Some(&Scheme::Http));
    let _ = request.set_authority(Some("kubernetes"));
    let _ = request.set_path_with_query(Some("/api/v1/namespaces"));
    request
}

fn begin_post() -> Result<(FutureIncomingResponse, OutgoingBody), Error> {
    let request = request("POST");
    let body = request.body().map_err(|()| error("other", "no body"))?;
    let future = handle(request, None).map_err(|code| error("other", name_of(&code)))?;
    Ok((future, body))
}

/// A request whose every timeout is zero.
fn impatient() -> String {
    let options = RequestOptions::new();
    let set = [
        options.set_connect_timeout(Some(0)),
        options.set_first_byte_timeout(Some(0)),
        options.set_between_bytes_timeout(Some(0)),
    ];
    if set.contains(&Err(())) {
        return "refused".into();
    }
    match handle(request("GET"), Some(options)) {
        Ok(future) => outcome(&wait(&future)),
        Err(code) => name_of(&code),
    }
}

/// Bytes that the host holds for a request that is never sent.
fn unsent() -> usize {
    let request = request("POST");
    let (Ok(body), mut held) = (request.body(), 0) else {
        return usize::MAX;
    };
    let Ok(stream) = body.write() else {
        return usize::MAX;
    };
    while let Ok(room @ 1..) = stream.check_write() {
        let room = room as usize;
        if stream.write(&vec![b'x'; room]).is_err() {
            break;
        }
        held += room;
    }
    held
}

/// Which parts of a request may have `n` bytes.
fn long_parts(n: usize) -> ObjectPage {
    let request = request("GET");
    let long = "a".repeat(n);
    tally(
        [
            (
                "method",
                request
                    .set_method(&Method::Other(long.to_uppercase()))
                    .is_ok(),
            ),
            (
                "scheme",
                request
                    .set_scheme(Some(&Scheme::Other(long.clone())))
                    .is_ok(),
            ),
            ("authority", request.set_authority(Some(&long)).is_ok()),
            (
                "path",
                request
                    .set_path_with_query(Some(&format!("/{long}")))
                    .is_ok(),
            ),
        ]
        .into_iter()
        .filter(|(_, accepted)| *accepted)
        .map(|(part, _)| part.to_owned()),
    )
}
