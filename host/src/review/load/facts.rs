//! What a review needs of a row.

use serde_json::{Map, Value};

use super::super::model::{About, Facts, Sort, arn, known_rules};
use crate::c1z::{annotations, pb};

/// Principals of AWS are the same in every file.
pub(super) fn is_global(kind: &str, id: &str) -> bool {
    id.starts_with("arn:") && kind != "access_policy"
}

pub(super) fn sort(kind: &str, id: &str, traits: &[i32], account: i32) -> Sort {
    use pb::resource_type::Trait;
    use pb::user_trait::AccountType;
    let has = |wanted: Trait| traits.contains(&i32::from(wanted));
    match kind {
        "iam_user" | "sso_user" => Sort::Person,
        "group" | "sso_group" => Sort::Group,
        "role" if arn(id).is_some() => Sort::IamRole,
        "service_account" => Sort::Workload,
        "kube_group" | "kube_user" => Sort::StandIn,
        "cluster_role" | "namespace_role" | "access_policy" => Sort::Role,
        _ if has(Trait::User) => {
            let program = [AccountType::Service, AccountType::System].map(i32::from);
            if program.contains(&account) {
                Sort::Workload
            } else {
                Sort::Person
            }
        }
        _ if has(Trait::Group) => Sort::Group,
        _ if has(Trait::Role) => Sort::Role,
        _ => Sort::Other,
    }
}

/// What a review needs of a row, and its account type.
pub(super) fn facts(row: &pb::Resource, kind: &str, id: &str) -> (Facts, i32) {
    use pb::user_trait::status::Status;
    let user = annotations::find::<pb::UserTrait>(&row.annotations);
    let profile = user
        .as_ref()
        .and_then(|user| user.profile.clone())
        .or_else(|| annotations::find::<pb::GroupTrait>(&row.annotations).and_then(|t| t.profile))
        .or_else(|| annotations::find::<pb::RoleTrait>(&row.annotations).and_then(|t| t.profile))
        .map(|profile| annotations::json(&profile))
        .unwrap_or_default();
    let text = |key: &str| profile.get(key).and_then(Value::as_str).map(str::to_owned);
    let flag = |key: &str, wanted: bool| profile.get(key).and_then(Value::as_bool) == Some(wanted);
    let mut facts = Facts {
        rules_truncated: flag("rules_truncated", true),
        missing: flag("exists", false),
        external: flag("external", true),
        bootstrap: profile
            .get("labels")
            .and_then(|labels| labels.get("kubernetes.io/bootstrapping"))
            .is_some(),
        people_behind: text("people_behind"),
        service: text("service"),
        ..Facts::default()
    };
    if matches!(kind, "cluster_role" | "namespace_role") {
        let rules = profile.get("rules").filter(|rules| rules.is_array());
        facts.rules = rules.and_then(|rules| serde_json::from_value(rules.clone()).ok());
    }
    if facts.rules.is_none()
        && let Some(known) = known_rules(kind, id)
    {
        facts.rules_by_name = !known.published;
        facts.rules = Some(known.rules);
    }
    if let Some(Value::Array(trusted)) = profile.get("trusted_by") {
        let texts = trusted.iter().filter_map(Value::as_str);
        facts.trusted_by = texts.map(str::to_owned).collect();
    }
    facts.about = about(&profile);
    let mut account = 0;
    if let Some(user) = user {
        account = user.account_type;
        let state = user.status.as_ref().map_or(0, |status| status.status);
        facts.disabled = [Status::Disabled, Status::Deleted]
            .map(i32::from)
            .contains(&state);
        let mails = user.emails.iter().map(|mail| mail.address.clone());
        facts.logins = [user.login.clone()]
            .into_iter()
            .chain(user.login_aliases)
            .chain(mails)
            .collect();
        for key in ["user_name", "username", "userName"] {
            facts.logins.extend(text(key));
        }
        facts.logins.retain(|login| !login.is_empty());
        facts.logins.sort();
        facts.logins.dedup();
    }
    (facts, account)
}

/// What a profile says of ages and tags.
fn about(profile: &Map<String, Value>) -> Option<Box<About>> {
    let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
    let tags = |value: Option<&Value>| {
        let map = value.and_then(Value::as_object).into_iter().flatten();
        map.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
            .collect()
    };
    let entry = profile.get("access_entry");
    let entry = |key: &str| entry.and_then(|entry| entry.get(key));
    let about = About {
        created: text(profile.get("create_date")),
        last_used: text(profile.get("last_used")),
        entry_created: text(entry("created")),
        entry_modified: text(entry("modified")),
        tags: tags(profile.get("tags").or_else(|| profile.get("aws_tags"))),
        entry_tags: tags(entry("tags")),
    };
    (about != About::default()).then(|| Box::new(about))
}
