//! What the engine asks of a connector, whatever runs it.

use std::future::Future;

use super::contract::types::{Attributes, Error, Grant, ObjectId, Setting};
use super::contract::{EntitlementPage, GrantPage, ObjectPage, Plan};

/// Why a call into a connector gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The connector answered with an error of the contract.
    #[error("{}", .0.message)]
    Connector(Error),
    /// The connector broke a limit of the contract; its instance is gone.
    #[error("the connector exceeded a limit: {0}")]
    Limit(String),
    /// The connector trapped; its instance is gone.
    #[error("the connector failed: {0}")]
    Trap(String),
    /// The call took longer than it may; its instance is gone.
    #[error("the connector did not return within {0} s")]
    Timeout(u64),
    /// The task was stopped from outside.
    #[error("stopped")]
    Cancelled,
}

/// One open connector: the calls of the contract, in its order.
///
/// The sandbox's task is the real one; tests of the engine use a fake.
pub trait Connector: Send {
    /// `session.open`.
    fn open(
        &mut self,
        settings: Vec<Setting>,
    ) -> impl Future<Output = Result<(), CallError>> + Send;
    /// `sync.validate`.
    fn validate(&mut self) -> impl Future<Output = Result<Attributes, CallError>> + Send;
    /// `sync.list-objects`.
    fn list_objects(
        &mut self,
        kind: &str,
        parent: Option<ObjectId>,
        page: Option<&str>,
    ) -> impl Future<Output = Result<ObjectPage, CallError>> + Send;
    /// `sync.list-entitlements`.
    fn list_entitlements(
        &mut self,
        kind: &str,
        page: Option<&str>,
    ) -> impl Future<Output = Result<EntitlementPage, CallError>> + Send;
    /// `sync.list-grants`.
    fn list_grants(
        &mut self,
        kind: &str,
        page: Option<&str>,
    ) -> impl Future<Output = Result<GrantPage, CallError>> + Send;
}

/// The calls of a connector that also plans changes.
pub trait Planner: Connector {
    /// `provision.plan-grant`.
    fn plan_grant(&mut self, wish: Grant) -> impl Future<Output = Result<Plan, CallError>> + Send;
    /// `provision.plan-revoke`.
    fn plan_revoke(&mut self, wish: Grant) -> impl Future<Output = Result<Plan, CallError>> + Send;
}
