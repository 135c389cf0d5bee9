//! `check`: credentials, STS, EKS, TLS, token and RBAC, in the order in which
//! a sync meets them; says who we are, what is missing, and the line that
//! gives it.

use serde::Serialize;

use super::args::Invocation;
use super::exit::{CliError, Exit};
use super::output::{Printer, hanging, plain};
use super::sync::job;
use crate::job::{self, JobError};
use crate::upstream::rights::{Kind, Right, Shape};
use crate::upstream::{Access, UpstreamError, Upstreams};

#[derive(Serialize)]
struct Step {
    name: &'static str,
    ok: bool,
    /// A failure that does not fail the check.
    optional: bool,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
}

struct Report {
    printer: Printer,
    steps: Vec<Step>,
    /// Of the first step that failed.
    exit: Exit,
}

impl Report {
    /// A person sees each step as it is done: some wait for a network.
    fn push(&mut self, step: Step) {
        if !self.printer.json {
            let mark = match (step.ok, step.optional) {
                (true, _) => "ok     ",
                (false, true) => "missing",
                (false, false) => "FAILED ",
            };
            let line = format!("{mark} {:<12} {}", step.name, plain(&step.message));
            self.printer.text(&hanging(&line, 21));
            if let Some(hint) = &step.hint {
                let line = format!("{:21}hint: {}", "", plain(hint));
                self.printer.text(&hanging(&line, 21));
            }
        }
        self.steps.push(step);
    }

    fn ok(&mut self, name: &'static str, message: impl Into<String>) {
        self.push(Step {
            name,
            ok: true,
            optional: false,
            message: message.into(),
            hint: None,
        });
    }

    fn failed(&mut self, name: &'static str, error: CliError) {
        if self.exit == Exit::Success {
            self.exit = error.exit;
        }
        self.push(Step {
            name,
            ok: false,
            optional: false,
            message: error.message,
            hint: error.hint,
        });
    }
}

pub(super) async fn check(invocation: &Invocation, printer: Printer) -> Result<Exit, CliError> {
    let job = job(invocation)?;
    let mut report = Report {
        printer,
        steps: Vec::new(),
        exit: Exit::Success,
    };
    go(&job, &mut report).await;
    if printer.json {
        printer.value(&serde_json::json!({
            "ok": report.exit == Exit::Success,
            "steps": report.steps,
        }));
    }
    Ok(report.exit)
}

async fn go(job: &job::Job, report: &mut Report) {
    let connection = match job::connect(job).await {
        Ok(connection) => connection,
        Err(error) => return report.failed("credentials", error.into()),
    };
    report.ok("credentials", connection.session.describe());
    report.ok(
        "identity",
        format!(
            "{} in account {}{}",
            connection.caller.arn,
            connection.caller.account,
            if connection.session.is_narrowed() {
                ", narrowed to the plugin's rights by a session policy"
            } else {
                ", not narrowed: no role is assumed"
            }
        ),
    );
    let upstreams = &connection.upstreams;
    match upstreams.describe_cluster().await {
        Ok(cluster) => report.ok(
            "cluster",
            format!(
                "{} ({}), Kubernetes {}, authentication mode {}",
                cluster.arn, cluster.status, cluster.version, cluster.authentication_mode
            ),
        ),
        Err(error) => return report.failed("cluster", error.into()),
    }
    match upstreams.version().await {
        Ok(body) => {
            let version: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
            let version = version
                .get("gitVersion")
                .and_then(|v| v.as_str())
                .unwrap_or("unknown");
            report.ok(
                "API server",
                format!("TLS and token are good; version {version}"),
            );
        }
        Err(error @ UpstreamError::Unauthenticated { .. }) => {
            let role = &connection.caller.arn;
            return report.failed(
                "API server",
                CliError::from(error).hint(format!(
                    "the cluster maps no user to {role}: `baton-host permissions` prints the access entry to create"
                )),
            );
        }
        // Known, but not even allowed to see the version: the rest will say.
        Err(UpstreamError::NotPermitted { .. }) => {
            report.ok("API server", "TLS and token are good")
        }
        Err(error) => return report.failed("API server", error.into()),
    }
    rbac(job, upstreams, report).await;
}

/// Asks the API server for each right of the plugin in the cluster.
async fn rbac(job: &job::Job, upstreams: &Upstreams, report: &mut Report) {
    let declared = match job::declared(job.plugin.component.descriptor()) {
        Ok(declared) => declared,
        Err(error) => return report.failed("RBAC", JobError::from(error).into()),
    };
    let rights = job::rights(&job::granted(&job.plugin, &declared));
    let mut held = 0;
    for right in rights.iter().filter(|right| right.kind == Kind::Cluster) {
        let Shape::Rule {
            verb,
            group,
            resource,
            object,
            ..
        } = right.shape
        else {
            continue;
        };
        let (namespace, name) = object.unwrap_or(("", ""));
        let access = Access {
            verb,
            group,
            resource,
            namespace,
            name,
        };
        match upstreams.self_subject_access_review(&access).await {
            Ok(true) => held += 1,
            Ok(false) => report.missing(right, group, resource, verb),
            Err(error) => return report.failed("RBAC", error.into()),
        }
    }
    report.ok(
        "RBAC",
        format!("{held} rights of the plugin are held in the cluster"),
    );
}

impl Report {
    fn missing(&mut self, right: &Right, group: &str, resource: &str, verb: &str) {
        let optional = right.words == "list configmaps";
        if !optional && self.exit == Exit::Success {
            self.exit = Exit::Denied;
        }
        self.push(Step {
            name: "RBAC",
            ok: false,
            optional,
            message: format!(
                "`{}` is not held{}",
                right.words,
                if optional { "; config maps will not be listed" } else { "" }
            ),
            hint: Some(format!(
                "add the rule {{apiGroups: [\"{group}\"], resources: [{resource}], verbs: [{verb}]}}; `baton-host permissions` prints all of them"
            )),
        });
    }
}
