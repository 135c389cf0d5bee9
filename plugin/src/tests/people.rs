//! `identities aws`: IAM's users and groups, in one pass with the roles.

use serde_json::json;

use super::cloud::*;

const AWS: &[(&str, &str)] = &[("identities", "aws")];

fn cloud() -> Cloud {
    let ada = user("team/ada");
    let mut cloud = Cloud::default().with_role(
        "dev",
        &trust(json!([{"Effect": "Allow", "Principal": {"AWS": ada}, "Action": "sts:AssumeRole"}])),
    );
    let ops = format!("arn:aws:iam::{ACCOUNT}:group/ops");
    cloud.people = format!(
        "<UserDetailList><member><Path>/team/</Path><UserName>ada</UserName><UserId>AIDAADA</UserId><Arn>{ada}</Arn>\
         <CreateDate>2023-01-01T00:00:00Z</CreateDate><GroupList><member>ops</member><member>gone</member></GroupList>\
         <Tags><member><Key>team</Key><Value>blue</Value></member></Tags></member>\
         <member><UserName>bob</UserName><Arn>{}</Arn><GroupList/></member></UserDetailList>\
         <GroupDetailList><member><Path>/</Path><GroupName>ops</GroupName><GroupId>AGPAOPS</GroupId><Arn>{ops}</Arn></member>\
         <member><GroupName>odd</GroupName><Arn>arn:aws:iam::1:policy/odd</Arn></member></GroupDetailList>",
        user("bob"),
    );
    cloud
}

#[test]
fn users_groups_and_members_come_with_the_roles() {
    let file = try_sync(cloud(), AWS).unwrap();
    let ada = user("team/ada");
    assert_eq!(
        file.profile("iam_user", &ada),
        json!({"aws_arn": ada, "aws_path": "/team/", "aws_user_id": "AIDAADA", "aws_user_type": "iam",
            "aws_tags": {"team": "blue"}, "create_date": "2023-01-01T00:00:00Z"})
    );
    assert!(file.has("iam_user", &user("bob")));
    let ops = format!("arn:aws:iam::{ACCOUNT}:group/ops");
    assert_eq!(file.profile("group", &ops)["aws_group_name"], "ops");
    assert_eq!(
        file.holders(&format!("group:{ops}:member")),
        [format!("iam_user:{ada}")]
    );
    let member = format!("group:{ops}:member:iam_user:{ada}");
    assert_eq!(file.metadata(&member)["paths"][0]["via"], "iam-group");
    assert_eq!(
        file.holders(&format!("role:{}:assignment", role("dev"))),
        [format!("iam_user:{ada}")]
    );
    assert_eq!(
        file.warnings,
        ["IAM listed a role, user or group whose ARN makes no sense: arn:aws:iam::1:policy/odd"]
    );
}

#[test]
fn nobody_asks_for_them_unless_told_to() {
    let file = sync(cloud());
    assert!(file.objects.iter().all(|o| o.id.kind != "iam_user"));
    assert!(
        file.seen
            .borrow()
            .calls
            .iter()
            .all(|(call, _)| call != "iam:GetAccountAuthorizationDetails")
    );
}

#[test]
fn the_way_that_roles_are_read_changes_nothing_about_them() {
    let cloud = || {
        let mut cloud = cloud();
        for number in 0..30 {
            cloud = cloud.with_role(&format!("r{number}"), &no_trust());
        }
        cloud.page = 5;
        cloud
    };
    let (plain, whole) = (sync(cloud()), try_sync(cloud(), AWS).unwrap());
    let roles = |file: &File| -> Vec<String> {
        let roles = file.objects.iter().filter(|o| o.id.kind == "role");
        roles.map(|o| format!("{o:?}")).collect()
    };
    assert_eq!(roles(&plain), roles(&whole));
    assert_eq!(roles(&plain).len(), 31);
}
