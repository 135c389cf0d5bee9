//! What one request and one task cost, each beside a baseline of the same run.
//!
//! `cargo bench --workspace --bench costs`; docs/performance.md says what the
//! figures mean.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    missing_docs,
    reason = "a benchmark"
)]

use std::hint::black_box;
use std::sync::Arc;
use std::time::SystemTime;

use aws_credential_types::Credentials;
use baton_host::credentials::sign::sign_request;
use baton_host::sandbox::{Component, Limits, NoEgress, Sandbox, SandboxConfig, Task};
use baton_host::upstream::operation::decide;
use baton_host::upstream::rights::{Approval, Declared, Granted};
use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use http::Request;
use sha2::{Digest as _, Sha256};

const BODY: usize = 2048;

fn iam() -> Granted {
    let service = [("service".to_owned(), "iam".to_owned())];
    Declared::check("iam", "aws", &service, [("read", "iam:ListRoles")])
        .unwrap()
        .approved(&Approval::profile())
}

/// The next page of a list of roles, with a marker that fills the body.
fn request() -> Request<Bytes> {
    let start = "Action=ListRoles&Version=2010-05-08&Marker=";
    let body = format!("{start}{}", "m".repeat(BODY - start.len()));
    Request::post("http://iam/")
        .header(
            "content-type",
            "application/x-www-form-urlencoded; charset=utf-8",
        )
        .body(Bytes::from(body))
        .unwrap()
}

fn outbound(criterion: &mut Criterion) {
    let (granted, request) = (iam(), request());
    let credentials =
        Credentials::new("AKIDEXAMPLE", "secret", Some("token".into()), None, "bench");
    let rebuilt = |request: &Request<Bytes>| {
        let operation = decide(&granted, "prod", request).unwrap();
        Request::builder()
            .method(operation.method.clone())
            .uri(format!(
                "https://iam.amazonaws.com{}",
                operation.path_and_query()
            ))
            .header("content-type", operation.content_type().unwrap())
            .body(operation.body())
            .unwrap()
    };
    let mut group = criterion.benchmark_group("outbound request of 2 KiB");
    group.throughput(Throughput::Elements(1));
    group.bench_function("baseline: SHA-256 of the body", |bench| {
        bench.iter(|| Sha256::digest(black_box(request.body())));
    });
    group.bench_function("parse and decide", |bench| {
        bench.iter(|| decide(&granted, "prod", black_box(&request)).unwrap());
    });
    group.bench_function("parse, decide and rebuild", |bench| {
        bench.iter(|| rebuilt(black_box(&request)));
    });
    group.bench_function("parse, decide, rebuild and sign", |bench| {
        bench.iter(|| {
            let mut signed = rebuilt(black_box(&request));
            let now = SystemTime::now();
            sign_request(&mut signed, &credentials, "iam", "us-east-1", now).unwrap();
            signed
        });
    });
    group.finish();
}

fn task(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let sandbox = Sandbox::new(SandboxConfig::default()).unwrap();
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../target/components/baton_eks.wasm"
    );
    let Ok(bytes) = std::fs::read(path) else {
        panic!("{path} is missing: run `just component` first");
    };
    let component = runtime
        .block_on(Component::load(&sandbox, bytes, |_| false))
        .unwrap();
    let other = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .build()
        .unwrap();
    let mut group = criterion.benchmark_group("task");
    group.bench_function("baseline: to another thread and back", |bench| {
        bench.iter(|| runtime.block_on(async { other.spawn(async {}).await.unwrap() }));
    });
    group.bench_function("a store, made, instantiated and dropped", |bench| {
        bench.iter(|| {
            runtime
                .block_on(Task::start(
                    &sandbox,
                    &component,
                    Arc::new(NoEgress),
                    Limits::default(),
                    Arc::new(()),
                ))
                .unwrap()
        });
    });
    group.finish();
}

criterion_group!(costs, outbound, task);
criterion_main!(costs);
