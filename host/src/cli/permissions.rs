//! `permissions`: what to create in AWS and in the cluster, for this plugin
//! and this cluster, from the same list that the boundary enforces. Asks
//! nobody.

use super::args::Invocation;
use super::exit::{CliError, Exit};
use super::output::{Printer, plain};
use super::sync::job;
use crate::job;
use crate::upstream::permissions::{
    Scope, Trusted, access_entry_command, iam_policy, manifest, trust_policy,
};

/// The Kubernetes group that the reader's access entry puts it into.
const GROUP: &str = "baton-host-reader";
/// Where the account is not known.
const ACCOUNT: &str = "ACCOUNT_ID";

pub(super) fn permissions(
    invocation: &Invocation,
    config_maps: bool,
    account: Option<&str>,
    printer: Printer,
) -> Result<Exit, CliError> {
    let job = job(invocation)?;
    let declared = job::declared(job.plugin.component.descriptor()).map_err(job::JobError::from)?;
    let (region, cluster) = job::place(&job, &declared)?;
    let rights = job::rights(&job::granted(&job.plugin, &declared));
    let partition = crate::credentials::endpoints::partition(&region).name;
    let role = job.aws.role_arn.clone();
    if let Some(account) = account
        && !(account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit()))
    {
        return Err(CliError::new(
            Exit::Usage,
            format!("`{}` is no account id, which has 12 digits", plain(account)),
        ));
    }
    let account = account
        .map(str::to_owned)
        .or_else(|| {
            role.as_deref()
                .and_then(|arn| arn.split(':').nth(4))
                .map(str::to_owned)
        })
        .unwrap_or_else(|| ACCOUNT.to_owned());
    let role = role.unwrap_or_else(|| format!("arn:{partition}:iam::{account}:role/baton-reader"));
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
    let policy = iam_policy(&rights, &scope);
    let trust = trust_policy(Trusted::Principal {
        arn: &trusted,
        external_id,
    });
    let entry = access_entry_command(&scope, &role, GROUP);
    let yaml = manifest(&rights, config_maps, GROUP, &[]);
    if printer.json {
        let parse = |text: &str| {
            serde_json::from_str::<serde_json::Value>(text).unwrap_or_else(|_| text.into())
        };
        printer.value(&serde_json::json!({
            "iam_policy": parse(&policy),
            "trust_policy": parse(&trust),
            "access_entry_command": entry,
            "kubernetes_manifest": yaml,
        }));
        return Ok(Exit::Success);
    }
    let others = format!(
        "# With Pod Identity the principal is the service pods.eks.amazonaws.com; other ways: docs/permissions.md.\n# {} allows everybody in the account whom their own policies allow.",
        trusted
    );
    printer.text(&format!(
        "# 1. IAM policy of the role {role}\n{policy}\n\n\
         # 2. Trust policy of the role\n{others}\n{trust}\n\n\
         # 3. Make the role known to the cluster\n{entry}\n\n\
         # 4. Its rights in the cluster: kubectl apply -f -\n{yaml}"
    ));
    Ok(Exit::Success)
}
