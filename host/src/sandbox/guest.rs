//! What a store holds, and the linker: exactly `wasi:io`, `wasi:http`, `log`
//! and `progress`. There is no WASI context: no files, sockets, environment,
//! clock or randomness exist in this process for a guest.

use wasmtime::component::{HasSelf, Linker, ResourceTable};
use wasmtime::{Engine, Store, UpdateDeadline};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};
use wasmtime_wasi_io::IoView;

use super::contract::baton::connector::{log, progress};
use super::http::Hooks;
use super::imports::{Log, SharedObserver};
use super::limits::{Limits, MemoryLimiter};

/// Bytes that one call may pass into the host or return, in sum.
const CALL_BYTES: usize = 8 << 20;
/// Handles and table entries of one store. A request in flight takes a few.
const HANDLES: usize = 4096;

pub(super) struct State {
    table: ResourceTable,
    http: WasiHttpCtx,
    pub(super) hooks: Hooks,
    pub(super) log: Log,
    pub(super) observer: SharedObserver,
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
    log::add_to_linker::<_, HasSelf<State>>(&mut linker, |state| state)?;
    progress::add_to_linker::<_, HasSelf<State>>(&mut linker, |state| state)?;
    Ok(linker)
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
    http.set_field_size_limit(16 << 10);
    let mut store = Store::new(
        engine,
        State {
            table,
            http,
            hooks,
            log: Log::new(connector.to_owned(), limits.log_records),
            observer,
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
