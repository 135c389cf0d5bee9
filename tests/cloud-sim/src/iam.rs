//! IAM over the Query protocol, by GET and by POST.
//!
//! The real service takes both methods for every action; a simulator that took
//! only POST would hide the hole that this opens. Reads are answered from the
//! scenario. Changes are checked, recorded and answered, but not carried out:
//! what a test wants to know of them is that none arrived.

use serde_json::Value;

use crate::arn::Principal;
use crate::auth::authenticate;
use crate::aws::{Route, query_error, query_refusal, query_result};
use crate::http::{Reply, Request};
use crate::scenario::GroupSpec;
use crate::text::{find, millis, opaque, rfc3339, transparent, unique_id, uri_encode, xml};
use crate::world::{Account, Caller, Role, User, World};

const VERSION: &str = "2010-05-08";

fn error(status: u16, code: &str, message: &str) -> Reply {
    query_error("iam", status, code, message)
}

pub(crate) fn answer(world: &mut World, request: &Request, route: &Route) -> Reply {
    let caller = match authenticate(world, request, "iam") {
        Ok((caller, _)) => caller,
        Err(refusal) => return query_refusal("iam", refusal),
    };
    let params = route.params.as_slice();
    let action = find(params, "Action").unwrap_or_default().to_owned();
    let version = find(params, "Version").unwrap_or("NO_VERSION_SPECIFIED");
    let unknown = || {
        error(
            400,
            "InvalidAction",
            &format!("Could not find operation {action} for version {version}"),
        )
    };
    if version != VERSION || action.is_empty() {
        return unknown();
    }
    let resource = resource(&caller, params);
    if let Err(message) = world.permit(&caller, &format!("iam:{action}"), &resource, &[]) {
        return error(403, "AccessDenied", &message);
    }
    let Some(account) = world.accounts.get(&caller.principal.account) else {
        return unknown();
    };
    let page = match Page::read(params, &action, world.pages.iam) {
        Ok(page) => page,
        Err(reply) => return reply,
    };
    let under = find(params, "PathPrefix").unwrap_or("/");
    let result = match action.as_str() {
        "ListRoles" => {
            let all = account
                .roles
                .values()
                .filter(|r| r.spec.path.starts_with(under))
                .map(|r| (r.spec.name.as_str(), member(&role(r, false))));
            page.list("Roles", all)
        }
        "ListUsers" => {
            let all = account
                .users
                .values()
                .filter(|u| u.spec.path.starts_with(under))
                .map(|u| (u.spec.name.as_str(), member(&user(u))));
            page.list("Users", all)
        }
        "ListGroups" => {
            let all = account
                .groups
                .values()
                .filter(|g| g.path.starts_with(under))
                .map(|g| (g.name.as_str(), member(&group(&caller, g))));
            page.list("Groups", all)
        }
        "GetRole" => match account
            .roles
            .get(find(params, "RoleName").unwrap_or_default())
        {
            Some(found) => format!("<Role>\n{}</Role>\n", role(found, true)),
            None => return missing("role", find(params, "RoleName")),
        },
        "GetUser" => match account
            .users
            .get(find(params, "UserName").unwrap_or(&caller.principal.name))
        {
            Some(found) => format!("<User>\n{}</User>\n", user(found)),
            None => return missing("user", find(params, "UserName")),
        },
        "GetGroup" => match account
            .groups
            .get(find(params, "GroupName").unwrap_or_default())
        {
            Some(found) => {
                let mut members: Vec<&User> = found
                    .members
                    .iter()
                    .filter_map(|m| account.users.get(m))
                    .collect();
                members.sort_by(|a, b| a.spec.name.cmp(&b.spec.name));
                let members = members
                    .into_iter()
                    .map(|u| (u.spec.name.as_str(), member(&user(u))));
                format!(
                    "<Group>\n{}</Group>\n{}",
                    group(&caller, found),
                    page.list("Users", members)
                )
            }
            None => return missing("group", find(params, "GroupName")),
        },
        "ListGroupsForUser" => {
            let name = find(params, "UserName").unwrap_or_default();
            let all = account
                .groups
                .values()
                .filter(|g| g.members.iter().any(|m| m == name))
                .map(|g| (g.name.as_str(), member(&group(&caller, g))));
            page.list("Groups", all)
        }
        "ListOpenIDConnectProviders" => {
            let issuers = world
                .clusters
                .iter()
                .filter(|c| c.account == caller.principal.account);
            let arns = issuers.map(|c| {
                member(&format!(
                    "<Arn>{}</Arn>\n",
                    provider_arn(&world.partition, &c.account, &c.issuer)
                ))
            });
            format!(
                "<OpenIDConnectProviderList>\n{}</OpenIDConnectProviderList>\n",
                arns.collect::<String>()
            )
        }
        "GetAccountAuthorizationDetails" => match details(account, &caller, params, &page) {
            Ok(result) => result,
            Err(reply) => return reply,
        },
        name if changes(name) => {
            world.mutations.push(format!("iam:{name}"));
            String::new()
        }
        _ => return unknown(),
    };
    query_result("iam", &action, &result)
}

/// Actions that change something, by the verbs IAM uses.
fn changes(action: &str) -> bool {
    const VERBS: [&str; 15] = [
        "Add",
        "Attach",
        "Change",
        "Create",
        "Deactivate",
        "Delete",
        "Detach",
        "Enable",
        "Put",
        "Remove",
        "Reset",
        "Set",
        "Tag",
        "Untag",
        "Update",
    ];
    VERBS.iter().any(|v| action.starts_with(v))
}

fn resource(caller: &Caller, params: &[(String, String)]) -> String {
    let (kind, name) = [
        ("role", "RoleName"),
        ("user", "UserName"),
        ("group", "GroupName"),
    ]
    .iter()
    .find_map(|(kind, key)| find(params, key).map(|name| (*kind, name)))
    .unwrap_or(("role", ""));
    format!(
        "arn:{}:iam::{}:{kind}/{name}",
        caller.principal.partition, caller.principal.account
    )
}

fn missing(kind: &str, name: Option<&str>) -> Reply {
    let name = name.unwrap_or_default();
    error(
        404,
        "NoSuchEntity",
        &format!("The {kind} with name {name} cannot be found."),
    )
}

/// One page of a list: where it begins and how long it may be.
struct Page<'a> {
    action: &'a str,
    after: Option<String>,
    size: usize,
}

impl<'a> Page<'a> {
    fn read(
        params: &[(String, String)],
        action: &'a str,
        ceiling: usize,
    ) -> Result<Page<'a>, Reply> {
        let asked = match find(params, "MaxItems").map(str::parse::<usize>) {
            None => 100,
            Some(Ok(n @ 1..=1000)) => n,
            Some(_) => {
                let message = "1 validation error detected: Value at 'maxItems' failed to satisfy constraint: Member must have value between 1 and 1000";
                return Err(error(400, "ValidationError", message));
            }
        };
        let after = match find(params, "Marker") {
            None => None,
            Some(marker) => match transparent(action, marker) {
                Some(key) => Some(key),
                None => return Err(error(400, "ValidationError", "Invalid Marker.")),
            },
        };
        Ok(Page {
            action,
            after,
            size: asked.min(ceiling.max(1)),
        })
    }

    /// The page's items, and the fields that lead to the next one.
    fn slice<K: AsRef<str>, T>(&self, all: impl Iterator<Item = (K, T)>) -> (Vec<T>, String) {
        let mut rest = all.filter(|(key, _)| {
            self.after
                .as_deref()
                .is_none_or(|after| key.as_ref() > after)
        });
        let mut items = Vec::new();
        let mut last = String::new();
        for (key, item) in rest.by_ref().take(self.size) {
            key.as_ref().clone_into(&mut last);
            items.push(item);
        }
        let tail = match rest.next() {
            Some(_) => format!(
                "<IsTruncated>true</IsTruncated>\n<Marker>{}</Marker>\n",
                xml(&opaque(self.action, &last))
            ),
            None => "<IsTruncated>false</IsTruncated>\n".to_owned(),
        };
        (items, tail)
    }

    fn list<K: AsRef<str>>(&self, name: &str, all: impl Iterator<Item = (K, String)>) -> String {
        let (items, tail) = self.slice(all);
        format!("{tail}<{name}>\n{}</{name}>\n", items.concat())
    }
}

fn member(content: &str) -> String {
    format!("<member>\n{content}</member>\n")
}

fn tags(tags: &std::collections::BTreeMap<String, String>) -> String {
    let items: String = tags
        .iter()
        .map(|(k, v)| {
            member(&format!(
                "<Key>{}</Key>\n<Value>{}</Value>\n",
                xml(k),
                xml(v)
            ))
        })
        .collect();
    if items.is_empty() {
        items
    } else {
        format!("<Tags>\n{items}</Tags>\n")
    }
}

/// `full` adds what `ListRoles` leaves out.
fn role(role: &Role, full: bool) -> String {
    let spec = &role.spec;
    let trust = match &spec.trust {
        Value::String(text) => text.clone(),
        document => document.to_string(),
    };
    let description = if spec.description.is_empty() {
        String::new()
    } else {
        format!("<Description>{}</Description>\n", xml(&spec.description))
    };
    let more = if full {
        let used = match &spec.last_used {
            Some(time) => format!(
                "<RoleLastUsed>\n<LastUsedDate>{}</LastUsedDate>\n</RoleLastUsed>\n",
                xml(time)
            ),
            None => "<RoleLastUsed/>\n".to_owned(),
        };
        format!("{}{used}", tags(&spec.tags))
    } else {
        String::new()
    };
    format!(
        "<Path>{}</Path>\n<RoleName>{}</RoleName>\n<RoleId>{}</RoleId>\n<Arn>{}</Arn>\n<CreateDate>{}</CreateDate>\n\
         <AssumeRolePolicyDocument>{}</AssumeRolePolicyDocument>\n{description}<MaxSessionDuration>{}</MaxSessionDuration>\n{more}",
        xml(&spec.path),
        xml(&spec.name),
        role.id,
        xml(&role.principal.arn()),
        rfc3339(role.created),
        uri_encode(&trust, false),
        spec.max_session
    )
}

fn user(user: &User) -> String {
    format!(
        "<Path>{}</Path>\n<UserName>{}</UserName>\n<UserId>{}</UserId>\n<Arn>{}</Arn>\n<CreateDate>{}</CreateDate>\n",
        xml(&user.spec.path),
        xml(&user.spec.name),
        user.id,
        xml(&user.principal.arn()),
        rfc3339(millis(&user.spec.created))
    )
}

fn group(caller: &Caller, group: &GroupSpec) -> String {
    let p = Principal {
        kind: "group".into(),
        path: group.path.clone(),
        name: group.name.clone(),
        ..caller.principal.clone()
    };
    format!(
        "<Path>{}</Path>\n<GroupName>{}</GroupName>\n<GroupId>{}</GroupId>\n<Arn>{}</Arn>\n<CreateDate>2024-01-01T00:00:00Z</CreateDate>\n",
        xml(&group.path),
        xml(&group.name),
        unique_id("AGPA", &p.arn()),
        xml(&p.arn())
    )
}

fn provider_arn(partition: &str, account: &str, issuer: &str) -> String {
    format!(
        "arn:{partition}:iam::{account}:oidc-provider/{}",
        issuer.trim_start_matches("https://")
    )
}

fn inline_policies(name: &str, document: &Value) -> String {
    let document = uri_encode(&document.to_string(), false);
    format!(
        "<{name}>\n{}</{name}>\n<AttachedManagedPolicies/>\n",
        member(&format!(
            "<PolicyName>rights</PolicyName>\n<PolicyDocument>{document}</PolicyDocument>\n"
        ))
    )
}

/// The document that decides for an identity.
fn deciding(policy: Option<&Value>, allow: Option<&Vec<String>>, deny: &[String]) -> Value {
    let lists = || World::document(allow, deny);
    let Some(policy) = policy else { return lists() };
    // What is denied by name is denied besides.
    let mut whole = policy.clone();
    let denied = World::document(Some(&Vec::new()), deny);
    if let (Some(Value::Array(own)), Some(Value::Array(more))) =
        (whole.get_mut("Statement"), denied.get("Statement"))
    {
        own.extend(more.iter().cloned());
    }
    whole
}

fn details(
    account: &Account,
    caller: &Caller,
    params: &[(String, String)],
    page: &Page,
) -> Result<String, Reply> {
    let filters: Vec<&str> = params
        .iter()
        .filter(|(k, _)| k.starts_with("Filter.member."))
        .map(|(_, v)| v.as_str())
        .collect();
    if let Some(bad) = filters.iter().find(|f| {
        ![
            "User",
            "Role",
            "Group",
            "LocalManagedPolicy",
            "AWSManagedPolicy",
        ]
        .contains(f)
    }) {
        return Err(error(
            400,
            "ValidationError",
            &format!(
                "1 validation error detected: Value '[{bad}]' at 'filter' failed to satisfy constraint"
            ),
        ));
    }
    let wants = |kind: &str| filters.is_empty() || filters.contains(&kind);
    let mut all: Vec<(String, (&str, String))> = Vec::new();
    if wants("Group") {
        for g in account.groups.values() {
            all.push((
                format!("1{}", g.name),
                (
                    "GroupDetailList",
                    format!(
                        "{}{}",
                        group(caller, g),
                        match &g.policy {
                            Some(policy) => inline_policies("GroupPolicyList", policy),
                            None => "<GroupPolicyList/>\n<AttachedManagedPolicies/>\n".to_owned(),
                        }
                    ),
                ),
            ));
        }
    }
    if wants("Role") {
        for r in account.roles.values() {
            let policies = inline_policies(
                "RolePolicyList",
                &deciding(r.spec.policy.as_ref(), r.spec.allow.as_ref(), &r.spec.deny),
            );
            all.push((
                format!("2{}", r.spec.name),
                (
                    "RoleDetailList",
                    format!("{}<InstanceProfileList/>\n{policies}", role(r, true)),
                ),
            ));
        }
    }
    if wants("User") {
        for u in account.users.values() {
            let groups = account
                .groups
                .values()
                .filter(|g| g.members.contains(&u.spec.name));
            let groups: String = groups
                .map(|g| format!("<member>{}</member>\n", xml(&g.name)))
                .collect();
            let policies = inline_policies(
                "UserPolicyList",
                &deciding(u.spec.policy.as_ref(), u.spec.allow.as_ref(), &u.spec.deny),
            );
            let text = format!(
                "{}<GroupList>\n{groups}</GroupList>\n{}{policies}",
                user(u),
                tags(&u.spec.tags)
            );
            all.push((format!("3{}", u.spec.name), ("UserDetailList", text)));
        }
    }
    let (items, tail) = page.slice(all.into_iter());
    let mut result = tail;
    for list in ["UserDetailList", "GroupDetailList", "RoleDetailList"] {
        let members: String = items
            .iter()
            .filter(|(l, _)| *l == list)
            .map(|(_, text)| member(text))
            .collect();
        result.push_str(&format!("<{list}>\n{members}</{list}>\n"));
    }
    Ok(result + "<Policies/>\n")
}
