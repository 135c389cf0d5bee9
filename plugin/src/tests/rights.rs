//! What identity policies give: roles to assume, and rights that lead into the
//! cluster.

use serde_json::{Value, json};

use super::cloud::*;
use crate::text::encode;

const AWS: &[(&str, &str)] = &[("identities", "aws")];

fn group(name: &str) -> String {
    format!("arn:aws:iam::{ACCOUNT}:group/{name}")
}

fn managed(name: &str) -> String {
    format!("arn:aws:iam::{ACCOUNT}:policy/{name}")
}

fn allow(action: Value, resource: Value) -> Value {
    json!({"Effect": "Allow", "Action": action, "Resource": resource})
}

fn document(statements: &Value) -> String {
    encode(&json!({"Version": "2012-10-17", "Statement": statements}).to_string())
}

/// `what` is `User`, `Group` or `Role`.
fn inline(what: &str, statements: &Value) -> String {
    format!(
        "<{what}PolicyList><member><PolicyName>own</PolicyName><PolicyDocument>{}</PolicyDocument></member></{what}PolicyList>",
        document(statements)
    )
}

fn attach(arns: &[&str]) -> String {
    let members: Vec<String> = arns
        .iter()
        .map(|arn| format!("<member><PolicyArn>{arn}</PolicyArn></member>"))
        .collect();
    format!(
        "<AttachedManagedPolicies>{}</AttachedManagedPolicies>",
        members.concat()
    )
}

fn bounded(name: &str) -> String {
    format!(
        "<PermissionsBoundary><PermissionsBoundaryArn>{}</PermissionsBoundaryArn></PermissionsBoundary>",
        managed(name)
    )
}

#[derive(Default)]
struct Account {
    users: String,
    groups: String,
    policies: String,
}

impl Account {
    fn user(mut self, name: &str, groups: &[&str], more: &str) -> Self {
        let groups: Vec<String> = groups
            .iter()
            .map(|g| format!("<member>{g}</member>"))
            .collect();
        self.users.push_str(&format!(
            "<member><Path>/</Path><UserName>{name}</UserName><Arn>{}</Arn><CreateDate>2023-01-01T00:00:00Z</CreateDate>\
             <GroupList>{}</GroupList>{more}</member>",
            user(name),
            groups.concat()
        ));
        self
    }

    fn group(mut self, name: &str, more: &str) -> Self {
        self.groups.push_str(&format!(
            "<member><Path>/</Path><GroupName>{name}</GroupName><Arn>{}</Arn>{more}</member>",
            group(name)
        ));
        self
    }

    /// Its first version gives everything and does not count.
    fn policy(mut self, arn: &str, statements: &Value) -> Self {
        let old = document(&allow(json!("*"), json!("*")));
        self.policies.push_str(&format!(
            "<member><PolicyName>{}</PolicyName><Arn>{arn}</Arn><DefaultVersionId>v2</DefaultVersionId><PolicyVersionList>\
             <member><Document>{old}</Document><VersionId>v1</VersionId><IsDefaultVersion>false</IsDefaultVersion></member>\
             <member><Document>{}</Document><VersionId>v2</VersionId><IsDefaultVersion>true</IsDefaultVersion></member>\
             </PolicyVersionList></member>",
            arn.rsplit('/').next().unwrap(),
            document(statements)
        ));
        self
    }

    fn xml(&self) -> String {
        format!(
            "<UserDetailList>{}</UserDetailList><GroupDetailList>{}</GroupDetailList><Policies>{}</Policies>",
            self.users, self.groups, self.policies
        )
    }
}

fn synced(mut cloud: Cloud, account: &Account) -> File {
    cloud.people = account.xml();
    try_sync(cloud, AWS).unwrap()
}

/// `account` may assume it, as far as its trust policy goes.
fn trusting_the_account(more: Value) -> String {
    let mut one = json!({"Effect": "Allow", "Principal": {"AWS": format!("arn:aws:iam::{ACCOUNT}:root")}, "Action": "sts:AssumeRole"});
    one.as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    trust(json!([one]))
}

/// The rights of a principal: `action on what (conditions) by statement`.
fn rights(file: &File, principal: &str) -> Vec<String> {
    let pieces = file.evidence.iter();
    let pieces = pieces.filter(|e| e["type"] == "iam-rights" && e["principal"] == principal);
    let mut out = Vec::new();
    for group in pieces.flat_map(|e| e["rights"].as_array().unwrap()) {
        for right in group["does"].as_array().unwrap() {
            let targets = right.get("targets").map_or(String::new(), |targets| {
                let names = targets.as_array().unwrap().iter();
                let names = names.map(|t| t.as_str().unwrap().rsplit(':').next().unwrap());
                format!(" {}", names.collect::<Vec<_>>().join(","))
            });
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            let conditions = match text(&group["conditions"]) {
                empty if empty.is_empty() => empty,
                words => format!(" ({words})"),
            };
            out.push(format!(
                "{} on {}{targets}{conditions} by {}",
                text(&right["action"]),
                text(&right["on"]),
                text(&group["by"])
            ));
        }
    }
    out.sort();
    out
}

fn assume(file: &File, name: &str) -> Vec<String> {
    file.holders(&format!("role:{}:assignment", role(name)))
}

#[test]
fn a_group_may_assume_what_its_policy_and_the_role_allow() {
    let cloud = Cloud::default()
        .with_role("dev", &trusting_the_account(json!({})))
        .with_role("ops", &trusting_the_account(json!({})))
        .with_role("closed", &no_trust());
    let account = Account::default()
        .user("ada", &["platform"], "")
        .user(
            "bob",
            &[],
            &inline("User", &allow(json!("sts:*"), json!(role("ops")))),
        )
        .group(
            "platform",
            &inline(
                "Group",
                &allow(json!("sts:AssumeRole"), json!([role("d*"), role("closed")])),
            ),
        );
    let file = synced(cloud, &account);
    assert_eq!(
        assume(&file, "dev"),
        [format!("group:{}", group("platform"))]
    );
    assert_eq!(assume(&file, "ops"), [format!("iam_user:{}", user("bob"))]);
    assert!(
        assume(&file, "closed").is_empty(),
        "its trust policy does not leave it to the account"
    );
    let grant = format!(
        "role:{}:assignment:group:{}",
        role("dev"),
        group("platform")
    );
    let metadata = file.metadata(&grant);
    assert_eq!(metadata["certainty"], "conditional");
    assert_eq!(metadata["paths"][0]["via"], "identity-policy");
    assert_eq!(
        metadata["paths"][0]["mapping"],
        "inline policy own, statement 1"
    );
    let found = file
        .grants
        .iter()
        .find(|g| g.principal.id == group("platform"))
        .unwrap();
    let expands = format!("group:{}:member", group("platform"));
    assert!(found.attributes.contains(&("expandable".into(), expands)));
}

#[test]
fn members_who_differ_from_their_group_stand_for_themselves() {
    let everything = allow(json!("sts:AssumeRole"), json!("*"));
    let deny = json!({"Effect": "Deny", "Action": "sts:*", "Resource": "*"});
    let account = Account::default()
        .user("ada", &["platform"], "")
        .user("bob", &["platform"], &inline("User", &deny))
        .user("cyd", &["platform"], &bounded("tight"))
        .user("dan", &["platform"], &bounded("unknown"))
        .group("platform", &inline("Group", &everything))
        .policy(&managed("tight"), &allow(json!("s3:*"), json!("*")));
    let cloud = Cloud::default().with_role("dev", &trusting_the_account(json!({})));
    let file = synced(cloud, &account);
    let expected = [user("ada"), user("dan")].map(|arn| format!("iam_user:{arn}"));
    assert_eq!(assume(&file, "dev"), expected);
    let words = |name: &str| {
        let grant = format!("role:{}:assignment:iam_user:{}", role("dev"), user(name));
        file.metadata(&grant)["paths"][0]["conditions"].to_string()
    };
    assert_eq!(
        words("ada"),
        "\"unless a service control policy forbids it\""
    );
    assert!(words("dan").contains("boundary unknown was not read"));
    let unread = |e: &&Value| e["type"] == "unread" && e["source"] == "an IAM policy";
    let unread: Vec<&Value> = file.evidence.iter().filter(unread).collect();
    assert_eq!(unread.len(), 1);
    assert!(
        unread[0]["reason"]
            .as_str()
            .unwrap()
            .starts_with(&managed("unknown"))
    );
}

#[test]
fn conditions_and_refusals_of_the_trust_policy_count_too() {
    let mfa = json!({"Condition": {"Bool": {"aws:MultiFactorAuthPresent": "true"}}});
    let mut refusing: Value = serde_json::from_str(&trusting_the_account(json!({}))).unwrap();
    refusing["Statement"].as_array_mut().unwrap().push(
        json!({"Effect": "Deny", "Principal": {"AWS": user("ada")}, "Action": "sts:AssumeRole"}),
    );
    let cloud = Cloud::default()
        .with_role("mfa", &trusting_the_account(mfa))
        .with_role("refusing", &refusing.to_string());
    let account = Account::default()
        .user("ada", &["platform"], "")
        .user("bob", &["platform"], "")
        .group("platform", &inline("Group", &allow(json!("*"), json!("*"))));
    let file = synced(cloud, &account);
    let grant = format!(
        "role:{}:assignment:group:{}",
        role("mfa"),
        group("platform")
    );
    let words = file.metadata(&grant)["paths"][0]["conditions"].to_string();
    assert!(words.contains("with MFA"), "{words}");
    assert_eq!(
        assume(&file, "refusing"),
        [format!("iam_user:{}", user("bob"))]
    );
}

#[test]
fn who_may_change_access_entries_is_told_with_the_statement() {
    let cluster = format!("arn:aws:eks:eu-west-1:{ACCOUNT}:cluster/prod");
    let account = Account::default()
        .user("ada", &["platform"], "")
        .user("bob", &[], &inline("User", &json!([
            {"Effect": "Allow", "Action": "s3:*", "Resource": "*"},
            {"Sid": "Entries", "Effect": "Allow", "Action": "eks:*AccessEntry", "Resource": cluster,
             "Condition": {"StringEquals": {"eks:accessEntryType": "STANDARD"}}},
        ])))
        .user("cyd", &[], &inline("User", &allow(json!("eks:*"), json!(cluster.replace("prod", "dev")))))
        .group("platform", &attach(&[&managed("Eks")]))
        .policy(&managed("Eks"), &allow(json!("eks:Associate*"), json!("*")));
    let file = synced(Cloud::default(), &account);
    assert_eq!(
        rights(&file, &group("platform")),
        [
            "eks:AssociateAccessPolicy on entries by policy Eks, statement 1",
            "eks:AssociateIdentityProviderConfig on cluster by policy Eks, statement 1",
        ]
    );
    assert!(
        rights(&file, &user("ada")).is_empty(),
        "the group stands for her"
    );
    assert_eq!(
        rights(&file, &user("bob")),
        [
            "eks:CreateAccessEntry on cluster (StringEquals eks:accessEntryType = STANDARD) by inline policy own, statement Entries"
        ]
    );
    assert!(rights(&file, &user("cyd")).is_empty(), "another cluster's");
}

#[test]
fn who_may_take_over_roles_and_users_with_access() {
    let mut cloud = Cloud::default()
        .with_role("admin", &no_trust())
        .with_role("idle", &no_trust())
        .with_role("lambda", &trust(json!([{"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}])))
        .with_role("ci", &no_trust());
    cloud.entries = vec![
        entry(&role("admin"), "admin", &["admins"]),
        entry(&role("lambda"), "l", &[]),
        entry(&user("eve"), "eve", &[]),
    ];
    cloud.role_details.insert(
        role("ci"),
        inline(
            "Role",
            &json!([
                allow(
                    json!("iam:UpdateAssumeRolePolicy"),
                    json!([role("admin"), role("idle")])
                ),
                allow(json!("iam:PutRolePolicy"), json!(role("ci"))),
            ]),
        ),
    );
    let own_keys = allow(
        json!("iam:CreateAccessKey"),
        json!("arn:aws:iam::*:user/${aws:username}"),
    );
    let account = Account::default()
        .user("eve", &[], &inline("User", &own_keys))
        .user(
            "ada",
            &[],
            &inline(
                "User",
                &json!([
                    allow(json!("iam:CreateAccessKey"), json!("*")),
                    allow(json!("iam:PassRole"), json!(role("*"))),
                    allow(json!("lambda:*"), json!("*")),
                ]),
            ),
        )
        .user("bob", &[], &attach(&[&managed("Own")]))
        .policy(
            &managed("Own"),
            &allow(json!("iam:CreatePolicyVersion"), json!(managed("*"))),
        );
    let file = synced(cloud, &account);
    assert_eq!(
        rights(&file, &role("ci")),
        [
            "iam:PutRolePolicy on itself by inline policy own, statement 2",
            "iam:UpdateAssumeRolePolicy on these role/admin by inline policy own, statement 1",
        ],
        "what it may do to a role without access leads nowhere"
    );
    assert_eq!(
        rights(&file, &user("ada")),
        [
            "iam:CreateAccessKey on every user by inline policy own, statement 1",
            "iam:PassRole on these role/lambda (if lambda:CreateFunction starts something of its own as the role) by inline policy own, statement 2",
        ]
    );
    assert_eq!(
        rights(&file, &user("bob")),
        ["iam:CreatePolicyVersion on itself by policy Own, statement 1"]
    );
    assert!(
        rights(&file, &user("eve")).is_empty(),
        "keys of her own are hers"
    );
}

#[test]
fn an_administrator_is_one_small_piece_of_evidence() {
    let admin = "arn:aws:iam::aws:policy/AdministratorAccess";
    let mut cloud = Cloud::default().with_role("admin", &no_trust());
    cloud.entries = vec![entry(&role("admin"), "admin", &[])];
    cloud.role_details.insert(role("admin"), attach(&[admin]));
    let account = Account::default().policy(admin, &allow(json!("*"), json!("*")));
    let file = synced(cloud, &account);
    let pieces: Vec<&Value> = file
        .evidence
        .iter()
        .filter(|e| e["type"] == "iam-rights")
        .collect();
    assert_eq!(pieces.len(), 1);
    assert!(pieces[0].to_string().len() < 1_500, "{}", pieces[0]);
    let found = rights(&file, &role("admin"));
    assert!(found.len() >= 10, "{found:?}");
    assert!(
        found
            .iter()
            .all(|r| r.ends_with("by AWS policy AdministratorAccess, statement 1"))
    );
    assert!(
        !file
            .objects
            .iter()
            .any(|o| o.profile.as_ref().is_some_and(|p| p.contains("Statement")))
    );
}

#[test]
fn sessions_on_nodes_are_a_road_too() {
    let mut cloud = Cloud::default();
    let mut node = entry(
        &role("node"),
        "system:node:{{EC2PrivateDNSName}}",
        &["system:nodes"],
    );
    node["type"] = json!("EC2_LINUX");
    cloud = cloud.with_role("node", &no_trust());
    cloud.entries = vec![node];
    let account = Account::default().user(
        "ada",
        &[],
        &inline(
            "User",
            &allow(
                json!("ssm:StartSession"),
                json!("arn:aws:ec2:*:*:instance/*"),
            ),
        ),
    );
    let file = synced(cloud, &account);
    assert_eq!(
        rights(&file, &user("ada")),
        ["ssm:StartSession on instances by inline policy own, statement 1"]
    );
    let file = synced(Cloud::default(), &account);
    assert!(rights(&file, &user("ada")).is_empty(), "there are no nodes");
}

#[test]
fn entries_and_lines_of_users_who_are_gone_or_were_made_again() {
    let mut cloud = Cloud::default()
        .bound(
            "readers",
            "view",
            &["User:eve", "User:gone", "User:old", "User:ghost"],
        )
        .aws_auth(
            "mapUsers",
            &format!(
                "- userarn: {}\n  username: ghost\n  groups: []\n",
                user("ghost")
            ),
        );
    // The entries are of 2024-01-15.
    cloud.entries = ["eve", "gone", "old"]
        .map(|name| entry(&user(name), name, &[]))
        .to_vec();
    let mut account = Account::default().user("eve", &[], "");
    account.users.push_str(&format!(
        "<member><UserName>old</UserName><Arn>{}</Arn><CreateDate>2025-01-01T00:00:00Z</CreateDate></member>",
        user("old")
    ));
    let file = synced(cloud.clone(), &account);
    let dead: Vec<(&str, &str)> = file
        .evidence
        .iter()
        .filter(|e| e["type"] == "dead-entry")
        .map(|e| {
            (
                e["principal"].as_str().unwrap(),
                e["reason"].as_str().unwrap(),
            )
        })
        .collect();
    let (gone, old) = (user("gone"), user("old"));
    assert_eq!(
        dead,
        [
            (gone.as_str(), "the user does not exist"),
            (
                old.as_str(),
                "the user was deleted and made again after the entry"
            ),
        ]
    );
    let view = file.holders("cluster_role:view:all:member");
    assert!(view.contains(&format!("iam_user:{}", user("eve"))));
    assert!(
        !view.contains(&format!("iam_user:{old}")) && !view.contains(&format!("iam_user:{gone}"))
    );
    let ghost = format!("cluster_role:view:all:member:iam_user:{}", user("ghost"));
    assert_eq!(file.metadata(&ghost)["certainty"], "latent");
    assert!(
        file.evidence
            .iter()
            .all(|e| e["type"] != "unverified-entries")
    );
    // Without IAM's users nobody knows.
    let file = sync(cloud);
    assert!(file.evidence.iter().all(|e| e["type"] != "dead-entry"));
    assert!(
        file.evidence
            .iter()
            .any(|e| e["type"] == "unverified-entries")
    );
}

#[test]
fn ages_tags_and_the_last_use() {
    let mut cloud = Cloud::default().with_role("dev", &no_trust());
    let mut own = entry(&role("dev"), "dev", &[]);
    own["tags"] = json!({"team": "blue"});
    cloud.entries = vec![own];
    cloud.role_details.insert(
        role("dev"),
        "<Tags><member><Key>owner</Key><Value>ada</Value></member></Tags>\
         <RoleLastUsed><LastUsedDate>2025-02-03T04:05:06Z</LastUsedDate></RoleLastUsed>"
            .into(),
    );
    let profile = |file: &File| file.profile("role", &role("dev"));
    let whole = profile(&synced(cloud.clone(), &Account::default()));
    assert_eq!(whole["last_used"], "2025-02-03T04:05:06Z");
    assert_eq!(whole["tags"], json!({"owner": "ada"}));
    assert_eq!(
        whole["access_entry"],
        json!({"created": "2024-01-15T12:00:00Z", "tags": {"team": "blue"}})
    );
    let plain = profile(&sync(cloud.clone()));
    assert!(plain.get("last_used").is_none() && plain.get("tags").is_none());
    assert_eq!(plain["access_entry"], whole["access_entry"]);
    cloud
        .role_details
        .insert(role("dev"), "<RoleLastUsed/>".into());
    let never = profile(&synced(cloud, &Account::default()));
    assert_eq!(never["last_used"], "never");
}

#[test]
fn how_the_cluster_is_reached_and_whether_it_keeps_an_audit_log() {
    let told = |cluster: Value| {
        let cloud = Cloud {
            cluster,
            ..Cloud::default()
        };
        let file = sync(cloud);
        let found = file
            .evidence
            .into_iter()
            .find(|e| e["type"] == "cluster")
            .unwrap();
        [
            "endpoint_public",
            "endpoint_private",
            "public_cidrs",
            "audit_log",
        ]
        .map(|key| found[key].clone())
    };
    assert_eq!(
        told(json!({
            "resourcesVpcConfig": {"endpointPublicAccess": true, "endpointPrivateAccess": false, "publicAccessCidrs": ["0.0.0.0/0"]},
            "logging": {"clusterLogging": [{"types": ["api"], "enabled": true}, {"types": ["audit"], "enabled": false}]},
        })),
        [
            json!(true),
            json!(false),
            json!(["0.0.0.0/0"]),
            json!(false)
        ]
    );
    assert_eq!(
        told(json!({})),
        [Value::Null, Value::Null, json!([]), Value::Null]
    );
    let on = json!({"logging": {"clusterLogging": [{"types": ["api", "audit"], "enabled": true}]}});
    assert_eq!(told(on)[3], true);
}
