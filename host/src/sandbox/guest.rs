//! What a store holds, and the linker: exactly `wasi:io`, `wasi:http`, `log`
//! and `progress`. There is no WASI context: no files, sockets, environment,
//! clock or randomness exist in this process for a guest.
//!
//! What a guest keeps on the host's side is bounded as its own memory is: so
//! many handles, and so many bytes behind each. wasi-http bounds headers; the
//! other parts of a request that is never sent are bounded here.

use std::time::Instant;
use wasmtime::StoreContextMut;
use wasmtime::component::Resource;

use wasmtime::component::{HasSelf, Linker, ResourceTable};
use wasmtime::{Engine, Store, UpdateDeadline};
use wasmtime_wasi_http::p2::bindings::http::types::{HostOutgoingRequest as _, Method, Scheme};
use wasmtime_wasi_http::p2::types::HostOutgoingRequest;
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};
use wasmtime_wasi_io::IoView;

use super::contract::baton::connector::{log, progress};
use super::http::Hooks;
use super::imports::{Log, SharedObserver};
use super::limits::{Limits, MemoryLimiter};

/// Bytes that one call may pass into the host or return, in sum.
const CALL_BYTES: usize = 8 << 20;
/// The name under which wasmtime-wasi-http 48 links its types.
const HTTP_TYPES: &str = "wasi:http/types@0.2.12";
/// Handles and table entries of one store. A request in flight takes a few,
/// and so does each answer that was refused until the guest drops it: a guest
/// that sends 10,000 requests at once gets its 10,000 answers.
const HANDLES: usize = 16 << 10;
/// Headers of one request as the host holds them, in bytes.
const FIELDS: usize = 4 << 10;
/// Path and query of a request, in bytes.
const PATH: usize = 8 << 10;
/// Method, scheme and authority of a request, in bytes each.
const NAME: usize = 256;

pub(super) struct State {
    table: ResourceTable,
    http: WasiHttpCtx,
    pub(super) hooks: Hooks,
    pub(super) log: Log,
    pub(super) observer: SharedObserver,
    /// When progress was last passed on.
    pub(super) reported: Option<Instant>,
    pub(super) memory: MemoryLimiter,
    /// Slices of guest CPU left for the current call.
    pub(super) slices: u64,
    /// Slices used by all calls.
    pub(super) used: u64,
}

impl IoView for State {
    fn table(&mut self) -> &mut ResourceTable {
        &mut self.table
    }
}

impl WasiHttpView for State {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView {
            hooks: &mut self.hooks,
            table: &mut self.table,
            ctx: &mut self.http,
        }
    }
}

pub(super) fn linker(engine: &Engine) -> wasmtime::Result<Linker<State>> {
    let mut linker = Linker::new(engine);
    wasmtime_wasi_io::add_to_linker_async(&mut linker)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)?;
    short_parts(&mut linker)?;
    log::add_to_linker::<_, HasSelf<State>>(&mut linker, |state| state)?;
    progress::add_to_linker::<_, HasSelf<State>>(&mut linker, |state| state)?;
    Ok(linker)
}

type Set<T> = (Resource<HostOutgoingRequest>, T);
type Done = wasmtime::Result<(Result<(), ()>,)>;

/// Puts a limit before the four setters of a request, which take text of any
/// length: thousands of requests with megabytes in each would be the host's.
fn short_parts(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    let mut types = linker.instance(HTTP_TYPES)?;
    types.func_wrap(
        "[method]outgoing-request.set-method",
        |mut store: StoreContextMut<'_, State>, (request, method): Set<Method>| -> Done {
            match &method {
                Method::Other(name) if name.len() > NAME => Ok((Err(()),)),
                _ => Ok((store.data_mut().http().set_method(request, method)?,)),
            }
        },
    )?;
    types.func_wrap(
        "[method]outgoing-request.set-scheme",
        |mut store: StoreContextMut<'_, State>, (request, scheme): Set<Option<Scheme>>| -> Done {
            match &scheme {
                Some(Scheme::Other(name)) if name.len() > NAME => Ok((Err(()),)),
                _ => Ok((store.data_mut().http().set_scheme(request, scheme)?,)),
            }
        },
    )?;
    types.func_wrap(
        "[method]outgoing-request.set-authority",
        |mut store: StoreContextMut<'_, State>, (request, name): Set<Option<String>>| -> Done {
            match &name {
                Some(name) if name.len() > NAME => Ok((Err(()),)),
                _ => Ok((store.data_mut().http().set_authority(request, name)?,)),
            }
        },
    )?;
    types.func_wrap(
        "[method]outgoing-request.set-path-with-query",
        |mut store: StoreContextMut<'_, State>, (request, path): Set<Option<String>>| -> Done {
            match &path {
                Some(path) if path.len() > PATH => Ok((Err(()),)),
                _ => Ok((store.data_mut().http().set_path_with_query(request, path)?,)),
            }
        },
    )?;
    linker.allow_shadowing(false);
    Ok(())
}

pub(super) fn store(
    engine: &Engine,
    limits: &Limits,
    hooks: Hooks,
    connector: &str,
    observer: SharedObserver,
) -> Store<State> {
    let mut table = ResourceTable::new();
    table.set_max_capacity(HANDLES);
    let mut http = WasiHttpCtx::new();
    http.set_field_size_limit(FIELDS);
    let mut store = Store::new(
        engine,
        State {
            table,
            http,
            hooks,
            log: Log::new(connector.to_owned(), limits.log_records),
            observer,
            reported: None,
            memory: MemoryLimiter::new(limits.memory),
            slices: limits.slices,
            used: 0,
        },
    );
    store.limiter(|state| &mut state.memory);
    store.set_hostcall_fuel(CALL_BYTES);
    store.set_max_component_handles(HANDLES);
    store.set_epoch_deadline(1);
    // One slice a tick that the guest itself meets: time spent waiting in the
    // host costs at most one.
    store.epoch_deadline_callback(|mut context| {
        let state = context.data_mut();
        state.used += 1;
        match state.slices.checked_sub(1) {
            None => Ok(UpdateDeadline::Interrupt),
            Some(left) => {
                state.slices = left;
                Ok(UpdateDeadline::YieldCustom(
                    1,
                    Box::pin(tokio::task::yield_now()),
                ))
            }
        }
    });
    store
}
