//! STS: who am I, and may I become somebody else.

use serde_json::Value;

use crate::auth::authenticate;
use crate::aws::{Route, query_error, query_refusal, query_result};
use crate::http::{Reply, Request};
use crate::policy::{self, Asker, Trust};
use crate::text::{find, rfc3339, xml};
use crate::world::{Caller, World};

const VERSION: &str = "2011-06-15";

fn error(status: u16, code: &str, message: &str) -> Reply {
    query_error("sts", status, code, message)
}

pub(crate) fn answer(world: &mut World, request: &Request, route: &Route) -> Reply {
    let action = find(&route.params, "Action").unwrap_or_default();
    if find(&route.params, "Version") != Some(VERSION) {
        let version = find(&route.params, "Version").unwrap_or("NO_VERSION_SPECIFIED");
        return error(
            400,
            "InvalidAction",
            &format!("Could not find operation {action} for version {version}"),
        );
    }
    if action == "AssumeRoleWithWebIdentity" {
        return with_web_identity(world, &route.params);
    }
    let caller = match authenticate(world, request, "sts") {
        Ok((caller, _)) => caller,
        Err(refusal) => return query_refusal("sts", refusal),
    };
    match action {
        "GetCallerIdentity" => query_result("sts", action, &identity(&caller)),
        "AssumeRole" => assume_role(world, &caller, &route.params),
        _ => error(
            400,
            "InvalidAction",
            &format!("Could not find operation {action} for version {VERSION}"),
        ),
    }
}

fn identity(caller: &Caller) -> String {
    format!(
        "<Arn>{}</Arn>\n<UserId>{}</UserId>\n<Account>{}</Account>\n",
        xml(&caller.arn),
        xml(&caller.user_id),
        caller.principal.account
    )
}

fn assume_role(world: &mut World, caller: &Caller, params: &[(String, String)]) -> Reply {
    let wish = match Wish::read(params) {
        Ok(wish) => wish,
        Err(reply) => return reply,
    };
    let denied = || {
        let message = format!(
            "User: {} is not authorized to perform: sts:AssumeRole on resource: {}",
            caller.arn, wish.role_arn
        );
        error(403, "AccessDenied", &message)
    };
    let external_id = find(params, "ExternalId");
    if external_id.is_some_and(|id| id.len() < 2 || id.len() > 1224) {
        return invalid(
            "externalId",
            external_id.unwrap_or_default(),
            "Member must have length between 2 and 1224",
        );
    }
    let mut context = vec![
        ("aws:PrincipalArn", caller.principal.arn()),
        ("aws:PrincipalAccount", caller.principal.account.clone()),
        ("sts:RoleSessionName", wish.session.clone()),
    ];
    if let Some(id) = external_id {
        context.push(("sts:ExternalId", id.to_owned()));
    }
    let Some(role) = world.role(&wish.role_arn) else {
        return denied();
    };
    let Some(document) = trust_document(&role.spec.trust) else {
        return denied();
    };
    let asker = Asker::Iam {
        principal: &caller.principal,
        session_arn: &caller.arn,
    };
    // A principal that the trust policy names needs no policy of its own, unless
    // it comes from another account; a session policy narrows in either case.
    let trust = policy::trust(&document, "sts:AssumeRole", &asker, &context);
    let same_account = caller.principal.account == role.principal.account;
    let own = world.permit(caller, "sts:AssumeRole", &wish.role_arn, &context);
    let explicit = world.identity_allows(
        &caller.principal,
        "sts:AssumeRole",
        &wish.role_arn,
        &context,
    ) == Some(false);
    let session_ok = caller.policy.as_ref().is_none_or(|p| {
        policy::decide(p, "sts:AssumeRole", &wish.role_arn, &context) == Some(true)
    });
    let permitted = match trust {
        Trust::Refused => false,
        Trust::Named if same_account => !explicit && session_ok,
        Trust::Named | Trust::Delegated => own.is_ok(),
    };
    if !permitted {
        return denied();
    }
    let chained = caller.session_name.is_some();
    if wish.seconds > role.spec.max_session {
        return error(
            400,
            "ValidationError",
            "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.",
        );
    }
    if chained && wish.seconds > 3600 {
        return error(
            400,
            "ValidationError",
            "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining.",
        );
    }
    let role = role.principal.clone();
    grant(world, "AssumeRole", &role, &wish, "")
}

fn with_web_identity(world: &mut World, params: &[(String, String)]) -> Reply {
    let wish = match Wish::read(params) {
        Ok(wish) => wish,
        Err(reply) => return reply,
    };
    let token = find(params, "WebIdentityToken").unwrap_or_default();
    let Some(identity) = world.web_identity.iter().find(|w| w.token == token) else {
        return error(
            400,
            "InvalidIdentityToken",
            "Couldn't retrieve verification key from your identity provider,  please reference AssumeRoleWithWebIdentity documentation for requirements",
        );
    };
    if identity.expired {
        return error(
            400,
            "ExpiredTokenException",
            "Token expired: current date/time must be before the expiration date/time",
        );
    }
    let denied = || {
        error(
            403,
            "AccessDenied",
            "Not authorized to perform sts:AssumeRoleWithWebIdentity",
        )
    };
    let Some(role) = world.role(&wish.role_arn) else {
        return denied();
    };
    let Some(document) = trust_document(&role.spec.trust) else {
        return denied();
    };
    let issuer = identity.issuer.trim_start_matches("https://").to_owned();
    let provider = format!(
        "arn:{}:iam::{}:oidc-provider/{issuer}",
        world.partition, role.principal.account
    );
    let (sub, aud) = (format!("{issuer}:sub"), format!("{issuer}:aud"));
    let context = [
        (sub.as_str(), identity.subject.clone()),
        (aud.as_str(), identity.audience.clone()),
    ];
    if policy::trust(
        &document,
        "sts:AssumeRoleWithWebIdentity",
        &Asker::Federated(&provider),
        &context,
    ) != Trust::Named
    {
        return denied();
    }
    let extra = format!(
        "<SubjectFromWebIdentityToken>{}</SubjectFromWebIdentityToken>\n<Audience>{}</Audience>\n<Provider>{}</Provider>\n",
        xml(&identity.subject),
        xml(&identity.audience),
        xml(&provider)
    );
    let role = role.principal.clone();
    grant(world, "AssumeRoleWithWebIdentity", &role, &wish, &extra)
}

/// The parameters that both ways of assuming a role share.
struct Wish {
    role_arn: String,
    session: String,
    seconds: i64,
    policy: Option<(Value, usize)>,
}

impl Wish {
    fn read(params: &[(String, String)]) -> Result<Wish, Reply> {
        let role_arn = find(params, "RoleArn").unwrap_or_default().to_owned();
        if role_arn.len() < 20 {
            return Err(invalid(
                "roleArn",
                &role_arn,
                "Member must have length greater than or equal to 20",
            ));
        }
        let session = find(params, "RoleSessionName")
            .unwrap_or_default()
            .to_owned();
        let legal = |c: char| c.is_ascii_alphanumeric() || "_+=,.@-".contains(c);
        if !(2..=64).contains(&session.len()) || !session.chars().all(legal) {
            return Err(invalid(
                "roleSessionName",
                &session,
                "Member must satisfy regular expression pattern: [\\w+=,.@-]*",
            ));
        }
        let text = find(params, "DurationSeconds").unwrap_or("3600");
        let seconds = text.parse::<i64>().unwrap_or(-1);
        if !(900..=43200).contains(&seconds) {
            return Err(invalid(
                "durationSeconds",
                text,
                "Member must have value between 900 and 43200",
            ));
        }
        let policy = match find(params, "Policy") {
            None => None,
            Some(text) if text.len() > 2048 => {
                return Err(invalid(
                    "policy",
                    "***",
                    "Member must have length less than or equal to 2048",
                ));
            }
            Some(text) => match policy::parse_session_policy(text) {
                Ok(document) => Some((document, text.len() * 100 / 2048)),
                Err(message) => return Err(error(400, "MalformedPolicyDocument", &message)),
            },
        };
        Ok(Wish {
            role_arn,
            session,
            seconds,
            policy,
        })
    }
}

fn grant(
    world: &mut World,
    action: &str,
    role: &crate::arn::Principal,
    wish: &Wish,
    extra: &str,
) -> Reply {
    let policy = wish.policy.as_ref().map(|(p, _)| p.clone());
    let (id, key) = world.issue(role, &wish.session, wish.seconds, policy);
    let caller = world.caller(&id, &key);
    let Some(session) = &key.session else {
        return error(500, "InternalFailure", "no session");
    };
    let packed = wish.policy.as_ref().map_or_else(String::new, |(_, size)| {
        format!("<PackedPolicySize>{}</PackedPolicySize>\n", (*size).max(1))
    });
    let result = format!(
        "<AssumedRoleUser>\n<AssumedRoleId>{}</AssumedRoleId>\n<Arn>{}</Arn>\n</AssumedRoleUser>\n<Credentials>\n<AccessKeyId>{id}</AccessKeyId>\n\
         <SecretAccessKey>{}</SecretAccessKey>\n<SessionToken>{}</SessionToken>\n<Expiration>{}</Expiration>\n</Credentials>\n{packed}{extra}",
        xml(&caller.user_id),
        xml(&caller.arn),
        xml(&key.secret),
        xml(&session.token),
        rfc3339(session.expires)
    );
    query_result("sts", action, &result)
}

/// A trust policy as a document; `None` where its text does not parse.
pub(crate) fn trust_document(trust: &Value) -> Option<Value> {
    match trust {
        Value::String(text) => serde_json::from_str(text).ok(),
        document => Some(document.clone()),
    }
}

fn invalid(member: &str, value: &str, rule: &str) -> Reply {
    let message = format!(
        "1 validation error detected: Value '{value}' at '{member}' failed to satisfy constraint: {rule}"
    );
    error(400, "ValidationError", &message)
}
