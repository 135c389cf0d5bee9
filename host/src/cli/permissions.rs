//! `permissions`: what to create in AWS and in the cluster, for this plugin
//! and this cluster, from the same list that the boundary enforces. Asks
//! nobody.

use serde_json::json;

use super::args::Invocation;
use super::command::Permissions;
use super::exit::{CliError, Exit};
use super::output::{Printer, plain};
use super::sync::job;
use crate::job::{self, Job};
use crate::provision::protect::{DEFAULTS, Protect};
use crate::upstream::permissions::{
    Grantable, Manifest, Mode, Scope, Trusted, access_entry_command, iam_policy, manifest,
    provisioning_policy, trust_policy,
};
use crate::upstream::rights::{Declared, Group, Right};

/// The Kubernetes groups that the access entries of the roles put them into.
const READER: &str = "baton-host-reader";
const PROVISIONER: &str = "baton-host-provisioner";
/// Where the account is not known.
const ACCOUNT: &str = "ACCOUNT_ID";
/// What may be granted where nobody says otherwise: the roles that every
/// cluster has for people.
const USUAL: [&str; 3] = ["view", "edit", "admin"];

/// What is to be created for one role.
struct Documents {
    role: String,
    policy: String,
    trust: String,
    trusted: String,
    entry: String,
    manifest: String,
}

pub(super) fn permissions(
    invocation: &Invocation,
    wanted: Permissions,
    printer: Printer,
) -> Result<Exit, CliError> {
    let job = job(invocation)?;
    let declared = job::declared(job.plugin.component.descriptor()).map_err(job::JobError::from)?;
    if invocation.switch("provisioning")? {
        let protect = protect(invocation)?;
        let rights = changing(&job, &declared, &wanted)?;
        let documents = documents(&job, &declared, &wanted, &rights, Some(&protect))?;
        return Ok(provisioning(&job, &documents, &protect, printer));
    }
    if !wanted.grantable.is_empty() {
        return Err(CliError::new(Exit::Usage, "--grantable is about changes")
            .hint("add --provisioning, or leave it out"));
    }
    let mut rights = job::rights(&job::granted(&job.plugin, &declared));
    rights.retain(|right| right.group != Group::Provision && mode(&wanted).needs(right));
    let documents = documents(&job, &declared, &wanted, &rights, None)?;
    if printer.json {
        printer.value(&values(&documents));
    } else {
        printer.text(&sections(&documents));
    }
    Ok(Exit::Success)
}

/// The patterns of `--protect` and `--unprotect`.
pub(super) fn protect(invocation: &Invocation) -> Result<Protect, CliError> {
    Protect::new(
        &invocation.values("protect"),
        &invocation.values("unprotect"),
    )
    .map_err(|message| CliError::new(Exit::Usage, message))
}

/// The cluster's authentication mode, as far as it was said.
fn mode(wanted: &Permissions) -> Mode {
    let named = wanted.mode.as_deref().and_then(Mode::parse);
    named.unwrap_or(Mode::Any)
}

/// What reading and changing takes in this mode: what is approved, and all
/// that the plugin declares for changes, as nobody approves those before.
fn changing(
    job: &Job,
    declared: &[Declared],
    wanted: &Permissions,
) -> Result<Vec<&'static Right>, CliError> {
    let mut rights = job::rights(&job::granted(&job.plugin, declared));
    let changes = declared
        .iter()
        .flat_map(|upstream| &upstream.rights)
        .filter(|right| right.group == Group::Provision);
    for right in changes {
        if !rights.contains(right) {
            rights.push(right);
        }
    }
    if !rights.iter().any(|right| right.writes()) {
        return Err(reads_only(job));
    }
    rights.retain(|right| mode(wanted).needs(right));
    Ok(rights)
}

/// A connector that declares no right to change anything.
pub(super) fn reads_only(job: &Job) -> CliError {
    CliError::new(
        Exit::Usage,
        format!(
            "{} only reads: it declares no right of the group provision",
            plain(&job.plugin.component.descriptor().name)
        ),
    )
}

/// With `protect` for a role that changes something.
fn documents(
    job: &Job,
    declared: &[Declared],
    wanted: &Permissions,
    rights: &[&'static Right],
    protect: Option<&Protect>,
) -> Result<Documents, CliError> {
    let (region, cluster) = job::place(job, declared)?;
    let partition = crate::credentials::endpoints::partition(&region).name;
    if let Some(account) = &wanted.account
        && !(account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit()))
    {
        return Err(CliError::new(
            Exit::Usage,
            format!("`{}` is no account id, which has 12 digits", plain(account)),
        ));
    }
    let reader = job.aws.role_arn.clone();
    let known = job
        .aws
        .provisioning_role_arn
        .clone()
        .filter(|_| protect.is_some());
    let known = known.or_else(|| reader.clone());
    let account = wanted
        .account
        .clone()
        .or_else(|| {
            known
                .as_deref()
                .and_then(|arn| arn.split(':').nth(4))
                .map(str::to_owned)
        })
        .unwrap_or_else(|| ACCOUNT.to_owned());
    let (group, name) = match protect {
        Some(_) => (PROVISIONER, "baton-provisioner"),
        None => (READER, "baton-reader"),
    };
    let role = known.unwrap_or_else(|| format!("arn:{partition}:iam::{account}:role/{name}"));
    let scope = Scope {
        partition,
        region: &region,
        account: &account,
        cluster: &cluster,
    };
    // Who assumes the role: the operator of two hops, or somebody of the account.
    let trusted = job
        .aws
        .global_role_arn
        .clone()
        .unwrap_or_else(|| format!("arn:{partition}:iam::{account}:root"));
    let external_id = job.aws.external_id.as_ref().map(|_| "YOUR_EXTERNAL_ID");
    let grantable = match protect {
        Some(_) => grantable(&wanted.grantable)?,
        None => Vec::new(),
    };
    let policy = match protect {
        Some(protect) => {
            let administrators = !protect
                .patterns()
                .any(|pattern| pattern.contains("/AmazonEKSClusterAdminPolicy:"));
            let mut own = vec![role.as_str()];
            own.extend(reader.as_deref().filter(|reader| *reader != role));
            provisioning_policy(rights, &scope, &own, administrators)
        }
        None => iam_policy(rights, &scope),
    };
    Ok(Documents {
        policy,
        trust: trust_policy(Trusted::Principal {
            arn: &trusted,
            external_id,
        }),
        trusted,
        entry: access_entry_command(&scope, &role, group),
        manifest: manifest(&Manifest {
            rights,
            config_maps: wanted.config_maps,
            group,
            grantable: &grantable,
        }),
        role,
    })
}

pub(super) fn grantable(texts: &[String]) -> Result<Vec<Grantable>, CliError> {
    let usual = USUAL.map(str::to_owned);
    let texts = if texts.is_empty() { &usual } else { texts };
    texts
        .iter()
        .map(|text| {
            Grantable::parse(text).ok_or_else(|| {
                CliError::new(
                    Exit::Usage,
                    format!("--grantable `{}` names no role", plain(text)),
                )
                .hint("`view` is a cluster role, `view@dev` the same in one namespace, `dev/deployer` a role of a namespace")
            })
        })
        .collect()
}

fn values(documents: &Documents) -> serde_json::Value {
    let parse = |text: &str| {
        serde_json::from_str::<serde_json::Value>(text).unwrap_or_else(|_| text.into())
    };
    json!({
        "iam_policy": parse(&documents.policy),
        "trust_policy": parse(&documents.trust),
        "access_entry_command": documents.entry,
        "kubernetes_manifest": documents.manifest,
    })
}

fn sections(documents: &Documents) -> String {
    let Documents {
        role,
        policy,
        trust,
        trusted,
        entry,
        manifest,
    } = documents;
    format!(
        "# 1. IAM policy of the role {role}\n{policy}\n\n\
         # 2. Trust policy of the role\n\
         # With Pod Identity the principal is the service pods.eks.amazonaws.com; other ways: docs/permissions.md.\n\
         # {trusted} allows everybody in the account whom their own policies allow.\n{trust}\n\n\
         # 3. Make the role known to the cluster\n{entry}\n\n\
         # 4. Its rights in the cluster: kubectl apply -f -\n{manifest}"
    )
}

fn provisioning(job: &Job, documents: &Documents, protect: &Protect, printer: Printer) -> Exit {
    let patterns: Vec<&str> = protect.patterns().collect();
    if printer.json {
        let mut all = values(documents);
        if let Some(all) = all.as_object_mut() {
            all.insert("protected".to_owned(), json!(patterns));
        }
        printer.value(&all);
        return Exit::Success;
    }
    let mut text = sections(documents);
    text.push_str(&format!(
        "\n# 5. Approve the changes, and switch them on with --provisioning\n{}\n",
        approve_command(job)
    ));
    if job.aws.provisioning_role_arn.is_none() {
        text.push_str(
            "\n# A role of its own for changes: create it as above and name it with --provisioning-role-arn;\n\
             # --role-arn then keeps reading, with the group baton-host-reader.\n",
        );
    }
    text.push_str(
        "\n# The locks (leases) let several hosts work on one cluster; without that right there must be one only.\n\
         # selfsubjectaccessreviews, which `check` asks, need no rule: system:basic-user gives them to everybody.\n\
         \n# Protected: never granted, never revoked. --protect adds, --unprotect takes one away.\n\
         # So is always: the role of the host itself, and the roles of nodes.\n",
    );
    for pattern in patterns {
        let about = DEFAULTS
            .iter()
            .find(|default| default.pattern == pattern)
            .map_or("by --protect", |default| default.about);
        text.push_str(&format!("#   {:<44} {about}\n", plain(pattern)));
    }
    printer.text(&text);
    Exit::Success
}

/// What approves the group `provision`, with all that is approved already.
pub(super) fn approve_command(job: &Job) -> String {
    let mut groups = job.plugin.approval.groups.clone();
    groups.insert("provision".to_owned());
    let groups: String = groups
        .iter()
        .map(|group| format!(" --group {group}"))
        .collect();
    format!(
        "baton-host plugin approve {}{groups}",
        job.plugin.path.display()
    )
}
