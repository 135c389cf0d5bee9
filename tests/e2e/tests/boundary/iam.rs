//! IAM takes GET and POST for every action: a filter by method once let a
//! read-only plugin make itself an administrator.

use serde_json::json;

use crate::lab::{Lab, form, form_here, get, iam};
use crate::page::Room;

const FORM: &str = "application/x-www-form-urlencoded; charset=utf-8";

pub async fn room() -> Room {
    let attach = "Action=AttachRolePolicy&Version=2010-05-08&RoleName=developers&PolicyArn=arn%3Aaws%3Aiam%3A%3Aaws%3Apolicy%2FAdministratorAccess";
    let list = "Action=ListRoles&Version=2010-05-08";
    let ideas = vec![
        (
            "A change by GET, or plainly",
            vec![
                get("iam", &format!("/?{attach}")),
                get("iam", &format!("/?{list}")),
                iam(attach),
            ],
        ),
        (
            "Two actions, of which each side reads another one",
            vec![
                form_here(&format!("/?{attach}"), list),
                form_here("/?Action=AttachRolePolicy", list),
                iam(&format!("{list}&{attach}")),
                iam(&format!("{attach}&{list}")),
                iam("Action=ListRoles&Version=2010-05-08&Version=2010-05-08"),
                iam("Action=ListRoles&Version=2010-05-08&Action=ListRoles"),
                iam("Action=ListRoles&Version=2010-05-08&%41ction=AttachRolePolicy"),
                iam("Action=ListRoles&Version=2010-05-08&RoleName=developers"),
            ],
        ),
        (
            "Other spellings",
            vec![
                iam("action=AttachRolePolicy&Action=ListRoles&Version=2010-05-08"),
                iam("Action=%41ttachRolePolicy&Version=2010-05-08"),
                iam("Action=listroles&Version=2010-05-08"),
                iam("Action=ListRoles%00&Version=2010-05-08"),
                iam("Action=ListRoles%26Action=AttachRolePolicy&Version=2010-05-08"),
                iam("Action=ListRoles;Action=AttachRolePolicy&Version=2010-05-08"),
                iam("Action=+ListRoles&Version=2010-05-08"),
                iam("&Action=ListRoles&Version=2010-05-08"),
                iam("Action=&Version=2010-05-08"),
                iam("Action=ListRoles"),
                iam("Action=ListRoles&Version=2011-06-15"),
                iam(""),
            ],
        ),
        (
            "Another content type, another way to say it",
            vec![
                form("/", "text/plain", list),
                form("/", "application/json", r#"{"Action":"ListRoles"}"#),
                form("/", "multipart/form-data; boundary=x", list),
                form("/", "application/x-www-form-urlencoded; charset=utf-7", list),
                form_here("//", list),
                form_here("/iam", list),
                form_here("/?", list),
                json!({ "method": "PUT", "authority": "iam", "path": "/", "headers": [["content-type", FORM]], "body": list }),
                json!({ "method": "POST", "authority": "iam", "path": "/", "body": list }),
                json!({ "method": "POST", "authority": "iam", "path": "/", "headers": [["content-type", FORM], ["content-type", "text/plain"]], "body": list }),
                json!({ "method": "POST", "authority": "iam", "path": "/", "headers": [["content-type", FORM], ["x-amz-target", "AttachRolePolicy"]], "body": list }),
            ],
        ),
        (
            "Reads by their name that make or tell credentials, or are simply not on the list",
            vec![
                iam("Action=GetSessionToken&Version=2011-06-15"),
                iam("Action=GetSessionToken&Version=2010-05-08"),
                iam("Action=GetFederationToken&Version=2010-05-08&Name=x"),
                iam("Action=AssumeRole&Version=2010-05-08&RoleArn=x&RoleSessionName=x"),
                iam("Action=AssumeRole&Version=2011-06-15&RoleArn=x&RoleSessionName=x"),
                iam("Action=CreateAccessKey&Version=2010-05-08"),
                iam("Action=PutRolePolicy&Version=2010-05-08"),
                iam("Action=GetRole&Version=2010-05-08&RoleName=developers"),
                iam("Action=ListUsers&Version=2010-05-08"),
                iam("Action=GetCredentialReport&Version=2010-05-08"),
            ],
        ),
    ];
    let mut groups = Lab::everything().await.refuses(ideas).await;
    let declared = vec![(
        "A right that the plugin declares and nobody approved",
        vec![iam("Action=GetAccountAuthorizationDetails&Version=2010-05-08")],
    )];
    groups.extend(Lab::reader().await.refuses(declared).await);
    Room {
        title: "IAM takes GET for everything (R1)",
        about: "IAM and STS take GET and POST for every action, so neither a method nor the word `Get` says what a request does. The host takes one form, reads one action in it, looks it up by its exact name, and writes the form that is sent itself.",
        columns: crate::lab::COLUMNS,
        groups,
    }
}
