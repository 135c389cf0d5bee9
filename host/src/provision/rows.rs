//! The audit rows of one order.

use super::audit::{Event, Row};
use super::{Applied, Audit, AuditError, Order};

/// What all rows of an order say.
#[derive(Debug)]
pub struct Rows<'a> {
    /// Where they go.
    pub audit: &'a Audit,
    /// The order.
    pub order: &'a Order,
    /// `kind:id`.
    pub principal: String,
    /// The cluster's ARN.
    pub cluster: String,
    /// Who the host is.
    pub caller: String,
    /// The plugin's digest.
    pub plugin: String,
}

impl Rows<'_> {
    fn row<'r>(&'r self, event: Event, message: Option<&'r str>) -> Row<'r> {
        Row {
            operation: &self.order.operation,
            event,
            asked_by: &self.order.asked_by,
            cluster: &self.cluster,
            caller: &self.caller,
            entitlement: &self.order.entitlement,
            principal: &self.principal,
            direction: self.order.direction,
            plugin: &self.plugin,
            upstream: None,
            method: None,
            path: None,
            body: None,
            status: None,
            message,
        }
    }

    /// Something about the whole order.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn event(&self, event: Event, message: Option<&str>) -> Result<(), AuditError> {
        self.audit.row(&self.row(event, message))
    }

    /// A request: without a status it is about to be sent.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn request(
        &self,
        event: Event,
        shown: &Applied,
        status: Option<u16>,
        message: Option<&str>,
    ) -> Result<(), AuditError> {
        self.audit.row(&Row {
            upstream: Some(&shown.upstream),
            method: Some(&shown.method),
            path: Some(&shown.url_path),
            body: shown.body.as_ref(),
            status,
            ..self.row(event, message)
        })
    }
}
