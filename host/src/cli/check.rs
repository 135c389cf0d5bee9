//! `check`: credentials, STS, EKS, TLS, token and RBAC, in the order in which
//! a sync meets them; says who we are, what is missing, and the line that
//! gives it.

use serde::Serialize;

use super::args::Invocation;
use super::exit::{CliError, Exit};
use super::output::{Printer, hanging, plain};
use super::permissions::{approve_command, grantable as roles, reads_only};
use super::sync::job;
use crate::job::{self, JobError};
use crate::sandbox::World;
use crate::upstream::permissions::{Grantable, Manifest, Mode, Need, needs};
use crate::upstream::rights::{Group, Kind, Right, Shape};
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

/// `grantable` are the roles that may be granted, where changes are checked.
pub(super) async fn check(
    invocation: &Invocation,
    grantable: &[String],
    printer: Printer,
) -> Result<Exit, CliError> {
    let job = job(invocation)?;
    let changes = if invocation.switch("provisioning")? {
        Some(roles(grantable)?)
    } else if grantable.is_empty() {
        None
    } else {
        return Err(CliError::new(Exit::Usage, "--grantable is about changes")
            .hint("add --provisioning, or leave it out"));
    };
    let mut report = Report {
        printer,
        steps: Vec::new(),
        exit: Exit::Success,
    };
    go(&job, changes.as_deref(), &mut report).await;
    if printer.json {
        printer.value(&serde_json::json!({
            "ok": report.exit == Exit::Success,
            "steps": report.steps,
        }));
    }
    Ok(report.exit)
}

async fn go(job: &job::Job, changes: Option<&[Grantable]>, report: &mut Report) {
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
    let mode = match upstreams.describe_cluster().await {
        Ok(cluster) => {
            report.ok(
                "cluster",
                format!(
                    "{} ({}), Kubernetes {}, authentication mode {}",
                    cluster.arn, cluster.status, cluster.version, cluster.authentication_mode
                ),
            );
            Mode::parse(&cluster.authentication_mode).unwrap_or(Mode::Any)
        }
        Err(error) => return report.failed("cluster", error.into()),
    };
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
    if let Some(grantable) = changes {
        let changing = match job::connect_to_provision(job, "check").await {
            Ok(changing) => changing,
            Err(error) => return report.failed("changes", error.into()),
        };
        report.ok("changes", format!("made as {}", changing.caller.arn));
        provisioning(job, &changing.upstreams, mode, grantable, report).await;
    }
}

/// What changes take beyond reading: an approval, and rights in the cluster.
/// What IAM allows cannot be asked without more rights, and EKS has no dry run.
async fn provisioning(
    job: &job::Job,
    upstreams: &Upstreams,
    mode: Mode,
    grantable: &[Grantable],
    report: &mut Report,
) {
    let declared = match job::declared(job.plugin.component.descriptor()) {
        Ok(declared) => declared,
        Err(error) => return report.failed("changes", JobError::from(error).into()),
    };
    if job.plugin.component.world() != World::Provisioning {
        return report.failed("changes", reads_only(job));
    }
    if job.plugin.approval.groups.contains("provision") {
        report.ok("changes", "the group provision is approved for this plugin");
    } else {
        let error = CliError::new(
            Exit::Plugin,
            "the group provision is not approved for this plugin",
        );
        report.failed("changes", error.hint(format!("`{}`", approve_command(job))));
    }
    let rights: Vec<&'static Right> = declared
        .iter()
        .flat_map(|upstream| &upstream.rights)
        .copied()
        .filter(|right| right.group == Group::Provision && mode.needs(right))
        .collect();
    let asked = needs(&Manifest {
        rights: &rights,
        config_maps: false,
        group: "",
        grantable,
    });
    let (mut held, mut locks) = (0_usize, true);
    for need in &asked {
        let access = Access {
            verb: need.verb,
            group: need.group,
            resource: need.resource,
            namespace: &need.namespace,
            name: &need.name,
        };
        match upstreams.self_subject_access_review(&access).await {
            Ok(true) => held += 1,
            Ok(false) if need.resource == "leases" => locks = false,
            Ok(false) => report.lacks(need),
            Err(error) => return report.failed("changes", error.into()),
        }
    }
    if !locks {
        report.push(Step {
            name: "changes",
            ok: false,
            optional: true,
            message: "the locks (leases in kube-system) are not held: let one host only change this cluster".to_owned(),
            hint: Some(format!("`{PERMISSIONS}` prints the rule")),
        });
    }
    report.ok(
        "changes",
        format!("{held} rights that changes take are held in the cluster; what IAM allows is seen at the first change"),
    );
}

/// What prints all that is missing for changes.
const PERMISSIONS: &str = "baton-host permissions --provisioning";

/// Asks the API server for each right of the plugin in the cluster.
async fn rbac(job: &job::Job, upstreams: &Upstreams, report: &mut Report) {
    let declared = match job::declared(job.plugin.component.descriptor()) {
        Ok(declared) => declared,
        Err(error) => return report.failed("RBAC", JobError::from(error).into()),
    };
    let rights = job::rights(&job::granted(&job.plugin, &declared));
    let mut held = 0;
    let reads = |right: &&&Right| right.kind == Kind::Cluster && right.group != Group::Provision;
    for right in rights.iter().filter(reads) {
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

    /// A right that changes take.
    fn lacks(&mut self, need: &Need) {
        if self.exit == Exit::Success {
            self.exit = Exit::Denied;
        }
        let Need {
            group,
            resource,
            verb,
            namespace,
            name,
        } = need;
        let place = match namespace.as_str() {
            "" => "everywhere".to_owned(),
            namespace => format!("in {namespace}"),
        };
        let names = match name.as_str() {
            "" => String::new(),
            name => format!(", resourceNames: [{name}]"),
        };
        let what = if *verb == "bind" {
            format!("`{name}` cannot be granted {place}: `bind` on it is not held")
        } else {
            format!(
                "`{verb} {resource}{}` is not held {place}",
                if name.is_empty() {
                    String::new()
                } else {
                    format!(" {name}")
                }
            )
        };
        self.push(Step {
            name: "changes",
            ok: false,
            optional: false,
            message: what,
            hint: Some(format!(
                "add the rule {{apiGroups: [\"{group}\"], resources: [{resource}], verbs: [{verb}]{names}}}; `{PERMISSIONS}` prints all of them"
            )),
        });
    }
}
