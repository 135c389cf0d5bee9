//! The components of `tests/plugins`, and a sandbox that runs them.

use std::path::PathBuf;
use std::sync::Arc;

use baton_host::sandbox::connector::Connector as _;
use baton_host::sandbox::contract::ObjectPage;
use baton_host::sandbox::contract::types::Setting;
use baton_host::sandbox::{
    CallError, Component, Limits, Observer, Precompile, Sandbox, SandboxConfig, Task,
};
use baton_host::upstream::Egress;
use tokio::sync::OnceCell;

/// The root of the workspace.
#[must_use]
pub fn root() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
        .canonicalize()
        .unwrap()
}

/// Where a built component is.
///
/// # Panics
/// When the components are not built.
#[must_use]
pub fn path(name: &str) -> PathBuf {
    let path = root().join("target/components").join(name);
    assert!(
        path.is_file(),
        "{} is missing: run `just test-plugins` first",
        path.display()
    );
    path
}

/// The bytes of a built component.
#[must_use]
pub fn bytes(name: &str) -> Vec<u8> {
    std::fs::read(path(&format!("{name}.wasm"))).unwrap()
}

/// The program, for what it does in a child of its own.
///
/// # Panics
/// When it is not built.
#[must_use]
pub fn program() -> PathBuf {
    let program = root().join("target/debug/baton-host");
    assert!(
        program.is_file(),
        "{} is missing: run `cargo build -p baton-host` first",
        program.display()
    );
    program
}

/// The component `declares` with a descriptor of its own: JSON as
/// `tests/plugins/declares` reads it.
///
/// # Panics
/// When the JSON has no room.
#[must_use]
pub fn declares(json: &str) -> Vec<u8> {
    const MARK: &[u8] = b"@declares@ ";
    const ROOM: usize = (16 << 10) - MARK.len();
    let mut bytes = bytes("declares");
    let at = bytes
        .windows(MARK.len())
        .position(|window| window == MARK)
        .expect("no mark in declares.wasm")
        + MARK.len();
    assert!(json.len() < ROOM, "no room for {} bytes", json.len());
    bytes[at..at + json.len()].copy_from_slice(json.as_bytes());
    bytes
}

/// A sandbox of so many slots that trusts its files.
#[must_use]
pub fn sandbox(slots: u32) -> Sandbox {
    Sandbox::new(SandboxConfig {
        slots,
        precompile: Precompile::Trusted,
    })
    .unwrap()
}

/// One sandbox and one compiled probe for all tests of a program.
pub async fn shared() -> &'static (Sandbox, Component) {
    static SHARED: OnceCell<(Sandbox, Component)> = OnceCell::const_new();
    SHARED
        .get_or_init(|| async {
            let sandbox = sandbox(16);
            let probe = load(&sandbox, "probe").await;
            (sandbox, probe)
        })
        .await
}

/// Loads a component that must load.
///
/// # Panics
/// When it does not.
pub async fn load(sandbox: &Sandbox, name: &str) -> Component {
    Component::load(sandbox, bytes(name), |_| false)
        .await
        .unwrap()
}

/// One run of the probe.
pub struct Probe {
    settings: Vec<(&'static str, String)>,
    egress: Arc<dyn Egress>,
    /// Bounds of the task.
    pub limits: Limits,
    /// Who hears its progress.
    pub observer: Arc<dyn Observer>,
}

impl Probe {
    /// A probe whose `list-objects` does this (`tests/plugins/probe`).
    #[must_use]
    pub fn behaves(behaviour: &str) -> Probe {
        Probe {
            settings: vec![("behaviour", behaviour.to_owned())],
            egress: Arc::new(baton_host::sandbox::NoEgress),
            limits: Limits::default(),
            observer: Arc::new(()),
        }
    }

    /// A probe whose `validate` sends these requests.
    #[must_use]
    pub fn sends(script: &serde_json::Value) -> Probe {
        let mut probe = Probe::behaves("");
        probe.settings.push(("script", script.to_string()));
        probe
    }

    /// Adds a setting.
    #[must_use]
    pub fn set(mut self, name: &'static str, value: &str) -> Probe {
        self.settings.push((name, value.to_owned()));
        self
    }

    /// The way out of its sandbox.
    #[must_use]
    pub fn through(mut self, egress: impl Egress) -> Probe {
        self.egress = Arc::new(egress);
        self
    }

    /// The same for a way out that is shared already.
    #[must_use]
    pub fn through_shared(mut self, egress: Arc<dyn Egress>) -> Probe {
        self.egress = egress;
        self
    }

    /// Who hears its progress.
    #[must_use]
    pub fn heard_by(mut self, observer: impl Observer + 'static) -> Probe {
        self.observer = Arc::new(observer);
        self
    }

    /// Other bounds.
    #[must_use]
    pub fn limited(mut self, change: impl FnOnce(&mut Limits)) -> Probe {
        change(&mut self.limits);
        self
    }

    /// Starts and opens it in the shared sandbox.
    ///
    /// # Panics
    /// When it does not open.
    pub async fn open(self) -> Task {
        let (sandbox, component) = shared().await;
        self.open_in(sandbox, component).await
    }

    /// Starts it in the shared sandbox, not opened.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start(self) -> Task {
        let (sandbox, component) = shared().await;
        Task::start(sandbox, component, self.egress, self.limits, self.observer)
            .await
            .unwrap()
    }

    /// Starts and opens it.
    ///
    /// # Panics
    /// When it does not open.
    pub async fn open_in(self, sandbox: &Sandbox, component: &Component) -> Task {
        let mut task = Task::start(sandbox, component, self.egress, self.limits, self.observer)
            .await
            .unwrap();
        let settings = self
            .settings
            .into_iter()
            .map(|(name, value)| Setting {
                name: name.into(),
                value,
            })
            .collect();
        task.open(settings).await.unwrap();
        task
    }

    /// Opens it and lists objects once.
    ///
    /// # Errors
    /// What the call ended in.
    pub async fn list(self) -> Result<ObjectPage, CallError> {
        self.open().await.list_objects("thing", None, None).await
    }

    /// The warnings of the page that it lists.
    ///
    /// # Panics
    /// When the call fails.
    pub async fn warnings(self) -> Vec<String> {
        warnings(&self.list().await.unwrap())
    }

    /// Sends its requests, then counts how often the setting `canary`, read
    /// backwards, is anywhere in its memory.
    ///
    /// # Panics
    /// When a call fails.
    pub async fn found(mut self) -> usize {
        self.settings.retain(|(name, _)| *name != "behaviour");
        let mut task = self.set("behaviour", "search").open().await;
        task.validate().await.unwrap();
        let page = task.list_objects("thing", None, None).await.unwrap();
        warnings(&page)[0].parse().unwrap()
    }

    /// What came of its requests, in order.
    ///
    /// # Panics
    /// When the call fails.
    pub async fn outcomes(self) -> Vec<String> {
        let outcomes = self.open().await.validate().await.unwrap();
        outcomes.into_iter().map(|(_, outcome)| outcome).collect()
    }
}

/// The warnings of a page.
#[must_use]
pub fn warnings(page: &ObjectPage) -> Vec<String> {
    page.attributes
        .iter()
        .filter(|(key, _)| key == "warning")
        .map(|(_, text)| text.clone())
        .collect()
}
